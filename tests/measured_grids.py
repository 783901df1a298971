"""A store as a clean machine would leave it: sizes, contexts, workloads and precisions, with noise and memory."""

from pathlib import Path
from random import Random

from factory import GPU, PHASES, make_record, make_task
from windtunnel.cost.parameters import parameter_count
from windtunnel.records.record import Memory, Record
from windtunnel.records.store import Run, open_store
from windtunnel.spec.model import NAMED_SIZES

SIZES = ("small", "medium", "large")
RATES = {"fp32": 30e12, "bf16": 300e12}
"""FLOP/s that this machine sustains, under the peaks of an H200."""
PASSES = {"forward": 1.0, "forward_backward": 3.0, "train_step": 3.3}
SAMPLES = 12


def clean_record(
    random: Random, size: str, workload: str, context: int, precision: str, steps: int = SAMPLES
) -> Record:
    """Return a record whose step takes its FLOPs over the rate and 0.5 ms a layer, with noise of some per mille."""
    task = make_task(
        size=size, workload=workload, context_length=context, precision=precision, steps=steps, device="cuda:0"
    )
    model = NAMED_SIZES[size]
    work = 2 * parameter_count(model) * 4 * context * PASSES[workload] / RATES[precision]
    step = work + 0.5e-3 * model.num_layers * PASSES[workload]
    weights = 4 * parameter_count(model) * {"forward": 1, "forward_backward": 2, "train_step": 4}[workload]
    peak = weights + 4 * context * model.d_model * model.num_layers * (4 if workload == "forward" else 60)
    parts = len(PHASES[workload]) - 1
    return make_record(
        task,
        milliseconds=[step * 1e3 * (1 + random.gauss(0, 0.003)) for _ in range(steps)],
        shares=(0.33, 0.02, 0.64) if parts == 3 else (0.3, 0.02, 0.6, 0.075),
        memory=Memory(
            built_bytes=weights // 2,
            peak_bytes=peak,
            peak_reserved_bytes=peak + 2**20,
            capacity_bytes=GPU.device_memory_bytes,
            source="CUDA caching allocator",
        ),
    )


def clean_records(seed: int, *, contexts: tuple[int, ...] = (256, 512, 1024), steps: int = SAMPLES) -> list[Record]:
    """Return the records of a grid: every size, context, workload and precision."""
    random = Random(seed)
    return [
        clean_record(random, size, workload, context, precision, steps)
        for precision in RATES
        for size in SIZES
        for context in contexts
        for workload in PASSES
    ]


def write_grid(folder: Path, records: list[Record]) -> Path:
    """Store records as one run."""
    with open_store(folder) as store:
        run = store.begin_run(
            Run(
                started_at="2026-01-02T03:04:05+00:00",
                sweep={"name": "grid", "description": "A clean machine."},
                machine=GPU.machine(),
                summary=None,
            )
        )
        for record in records:
            store.add(record, GPU)
        store.end_run(run, {"seconds": {"measure": 2.5}})
    return folder
