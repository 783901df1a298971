"""Records, environments and stores with known content, for tests that need measurements without measuring."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from random import Random

from windtunnel.analysis.results import Results, Row, load_results
from windtunnel.cost.step import cost_of
from windtunnel.records.environment import Environment
from windtunnel.records.pair import Pairing, PairRecord, PairSide
from windtunnel.records.record import (
    ClockName,
    Failure,
    Kernel,
    Memory,
    PhaseMemory,
    Record,
    Samples,
    Status,
    Telemetry,
    TensorError,
)
from windtunnel.records.store import StoredComparison, StoredRecord, open_store
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.model import NAMED_SIZES, ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import WORKLOADS
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import PairPlan, draw_samples

TINY = ModelSpec(name="tiny", d_model=32, d_ff=64, num_layers=2, num_heads=4, vocab_size=101)

GPU = Environment(
    device="cuda:0",
    device_name="NVIDIA H200",
    device_memory_bytes=150_000_000_000,
    driver="580.1",
    cuda="13.0",
    cudnn="91900",
    torch="2.11.0",
    triton="3.6.0",
    python="3.12.3",
    platform="Linux-x86_64",
    host_cpu="A CPU",
    host_cores=16,
    host_memory_bytes=128 * 2**30,
    windtunnel="0.1.0",
    git_commit=None,
    settings={"float32_matmul_precision": "highest"},
)
CPU = replace(
    GPU, device="cpu", device_name="A CPU", device_memory_bytes=128 * 2**30, driver=None, cuda=None, cudnn=None
)

PHASES = {name: tuple(kind.timed) for name, kind in WORKLOADS.items()}


def make_task(
    *,
    size: str | ModelSpec | OwnModel | AttentionSpec = TINY,
    workload: str = "forward",
    context_length: int = 16,
    batch_size: int = 4,
    warmup: int = 5,
    steps: int = 10,
    processes: int = 1,
    replica: int = 0,
    device: str = "cpu",
    **cell_fields: object,
) -> Task:
    """Return a task; everything not named has a small default."""
    cell = Cell(
        model=NAMED_SIZES[size] if isinstance(size, str) else size,
        workload=workload,
        batch_size=batch_size,
        context_length=context_length,
        device=device,
        **cell_fields,
    )
    return Task(cell=cell, plan=MeasurePlan(warmup=warmup, steps=steps, processes=processes), replica=replica)


def make_record(
    task: Task,
    *,
    milliseconds: Sequence[float] | None = None,
    shares: Sequence[float] = (0.3, 0.02, 0.6, 0.075),
    status: Status = Status.OK,
    failure: Failure | None = None,
    **fields: object,
) -> Record:
    """Return a record whose whole step takes `milliseconds`, split over its phases by `shares`."""
    *parts, total = PHASES[task.cell.workload]
    values = milliseconds if milliseconds is not None else [10.0 + 0.1 * (i % 3) for i in range(task.plan.steps)]
    cost = cost_of(task.cell)
    counts = {"flops": cost.flops, "parameters": cost.parameters} if cost else {"flops": {}, "parameters": 4321}

    def series(phase: str, share: float, clock: ClockName) -> Samples:
        return Samples(phase=phase, clock=clock, nanoseconds=tuple(round(ms * share * 1e6) for ms in values))

    inner = ClockName.DEVICE if task.cell.device.startswith("cuda") else ClockName.HOST
    samples = [series(phase, share, inner) for phase, share in zip(parts, shares, strict=False)]
    record = Record(
        task=task,
        status=status,
        total=total,
        timed={phase: f"what is inside {phase}" for phase in PHASES[task.cell.workload]},
        **counts,
        samples=()
        if status in {Status.OUT_OF_MEMORY, Status.CRASHED, Status.UNSUPPORTED}
        else (*samples, series(total, 1.0, ClockName.HOST)),
        memory=Memory(
            built_bytes=2**20,
            peak_bytes=3 * 2**20,
            peak_reserved_bytes=4 * 2**20,
            capacity_bytes=2**30,
            source="CUDA caching allocator",
        ),
        failure=failure,
        stages={"build": 0.1, "warmup": 0.05, "measure": 0.1, "clean": 0.01},
        warnings=(),
        process=1,
        is_first_in_process=task.plan.is_cold,
        started_at="2026-01-02T03:04:05+00:00",
    )
    return replace(record, **fields)


def with_telemetry(
    record: Record, *, clock_mhz: Sequence[int], period_milliseconds: float = 10.0, **columns: Sequence[float]
) -> Record:
    """Return the record with steps that began one right after the other, and a reading each period from then on."""
    times = record.samples[-1].nanoseconds
    telemetry = Telemetry(
        source="NVML",
        nanoseconds=tuple(round(number * period_milliseconds * 1e6) for number in range(len(clock_mhz))),
        clock_mhz=tuple(clock_mhz),
        **{name: tuple(values) for name, values in columns.items()},
    )
    return replace(record, began_nanoseconds=tuple(accumulate(times, initial=0))[:-1], telemetry=telemetry)


def make_pair(
    a: Task,
    b: Task,
    *,
    ratio: float = 1.0,
    num_pairs: int = 16,
    noise: float = 0.002,
    steps: int = 1,
    status: Status = Status.OK,
    failure: Failure | None = None,
    **fields: object,
) -> PairRecord:
    """Return a comparison in which every phase of B takes `ratio` times as long as that of A, give or take `noise`."""
    draws, order = Random(3), Random(4)
    turns = tuple(turn for pair in range(0, num_pairs, 2) for turn in draw_samples(order, pair))
    if status != Status.OK:
        turns = ()

    def side(name: Side, task: Task) -> PairSide:
        *parts, total = PHASES[task.cell.workload]
        count = steps * sum(turn.side is name for turn in turns)
        whole = [1e7 * (ratio if name is Side.B else 1) * (1 + noise * draws.gauss(0, 1)) for _ in range(count)]
        inner = ClockName.DEVICE if task.cell.device.startswith("cuda") else ClockName.HOST
        shares = (0.3, 0.7) if task.cell.is_attention else (0.3, 0.02, 0.6, 0.075)
        series = [(phase, inner, share) for phase, share in zip(parts, shares, strict=False)]
        whole_clock = inner if task.cell.is_attention else ClockName.HOST
        samples = tuple(
            Samples(phase=phase, clock=clock, nanoseconds=tuple(round(share * value) for value in whole))
            for phase, clock, share in [*series, (total, whole_clock, 1.0)]
        )
        num_turns = sum(turn.side is name for turn in turns)
        return PairSide(task=task, total=total, samples=samples, steps=(steps,) * num_turns, warmup_steps=(5,))

    record = PairRecord(
        pairing=Pairing.TOGETHER,
        a=side(Side.A, a),
        b=side(Side.B, b),
        plan=PairPlan(max_pairs=128, max_seconds=60.0),
        seed=0,
        status=status,
        turns=turns,
        failure=failure,
        failed_side=None,
        block_seconds=None,
        warnings=(),
        started_at="2026-01-02T03:04:05+00:00",
        run_started_at="2026-01-02T03:04:00+00:00",
    )
    return replace(record, **fields)


def compared(*records: PairRecord, environment: Environment = GPU) -> tuple[StoredComparison, ...]:
    """Return the records as a store would give them, both sides in one environment."""
    return tuple(StoredComparison(record=r, environment_a=environment, environment_b=environment) for r in records)


def make_results(folder: Path, records: Iterable[tuple[Record, Environment]]) -> Results:
    """Store the records in `folder` and read them back."""
    with open_store(folder) as store:
        for record, environment in records:
            store.add(record, environment)
    return load_results(folder)


def make_row(record: Record, environment: Environment = GPU, *, repeat: int = 0) -> Row:
    """Return the row that a store would give for the record."""
    return Row(StoredRecord(key=record.task.key(), repeat=repeat, record=record, environment=environment))


def make_processes(*milliseconds: Sequence[float], processes: int | None = None, **task: object) -> list[Record]:
    """Return the records of one cell, one a process with its whole steps; `processes` says if more were asked for."""
    asked = processes or len(milliseconds)
    return [
        make_record(make_task(processes=asked, replica=replica, **task), milliseconds=values, is_first_in_process=True)
        for replica, values in enumerate(milliseconds)
    ]


def make_row_of(*records: Record, environment: Environment = GPU) -> Row:
    """Return the row that a store would give for the records of one cell's processes."""
    return Row(
        *(StoredRecord(key=record.task.key(), repeat=0, record=record, environment=environment) for record in records)
    )


ATTENTION_STEPS = 20


def make_attention_task(
    *,
    seq: int = 256,
    d: int = 64,
    heads: int = 1,
    kv_heads: int | None = None,
    mask: str = "full",
    workload: str = "attention_forward_backward",
    backend: str = "eager",
    batch: int = 8,
    precision: str = "fp32",
    compile: str = "off",
    steps: int = ATTENTION_STEPS,
    device: str = "cuda:0",
    **plan_fields: object,
) -> Task:
    """Return a task of attention alone; everything not named is as in a course's grid."""
    cell = Cell(
        model=AttentionSpec(num_heads=heads, num_kv_heads=kv_heads, d_head=d, mask=mask),
        workload=workload,
        batch_size=batch,
        context_length=seq,
        precision=precision,
        attention=backend,
        compile=compile,
        device=device,
    )
    return Task(cell=cell, plan=MeasurePlan(warmup=5, steps=steps, **plan_fields))


def make_attention_record(
    task: Task,
    *,
    forward: float = 1.0,
    backward: float = 2.5,
    noise: float = 0.002,
    allocated: int | None = None,
    forward_peak: int | None = None,
    backward_peak: int | None = None,
    saved: int | None = None,
    errors: Sequence[float] = (),
    kernels: Sequence[Kernel] = (),
    failure: Failure | None = None,
    **fields: object,
) -> Record:
    """Return a record with phases of so many milliseconds; with a failure, one that ran out of memory.

    `errors` are those of O, dQ, dK and dV, as many as there are. On CUDA all times are on the device's clock.
    """
    trains = task.cell.workload == "attention_forward_backward"
    phases = {"forward": forward} | ({"backward": backward, "forward_backward": forward + backward} if trains else {})
    total = "forward_backward" if trains else "forward"
    is_cuda = task.cell.device.startswith("cuda")
    factors = [1 + noise * ((7 * place) % 11 - 5) / 5 for place in range(task.plan.steps)]

    def series(phase: str, clock: ClockName) -> Samples:
        nanoseconds = tuple(round(phases[phase] * factor * 1e6) for factor in factors)
        return Samples(phase=phase, clock=clock, nanoseconds=nanoseconds)

    samples = [series(phase, ClockName.DEVICE if is_cuda else ClockName.HOST) for phase in phases]
    held = [
        PhaseMemory(phase="forward", allocated_bytes=allocated, peak_bytes=forward_peak, saved_bytes=saved),
        PhaseMemory(phase="backward", allocated_bytes=None, peak_bytes=backward_peak, saved_bytes=None),
    ]
    peak = max((value for value in (forward_peak, backward_peak) if value is not None), default=None)
    status = fields.pop("status", Status.OUT_OF_MEMORY if failure else Status.OK)
    record = Record(
        task=task,
        status=status,
        total=total,
        timed=WORKLOADS[task.cell.workload].timed,
        flops=cost_of(task.cell).flops,
        parameters=0,
        samples=tuple(samples) if status is Status.OK else (),
        memory=Memory(
            built_bytes=0,
            peak_bytes=peak,
            peak_reserved_bytes=None,
            capacity_bytes=GPU.device_memory_bytes,
            source="CUDA caching allocator",
        ),
        failure=failure,
        phase_memory=tuple(held[: 1 + trains])
        if status is Status.OK and (peak or saved is not None or allocated)
        else (),
        errors=tuple(
            TensorError(tensor=tensor, relative_error=error, num_heads=1)
            for tensor, error in zip(("O", "dQ", "dK", "dV"), errors, strict=False)
        ),
        kernels=tuple(kernels),
        stages={"build": 0.01, "warmup": 0.02, "measure": 0.05},
        warnings=(),
        process=1,
        is_first_in_process=False,
        started_at="2026-01-02T03:04:05+00:00",
    )
    return replace(record, **fields)
