"""Attention alone on a real device: what only it can show of gaps, caches, batches and memory."""

from statistics import median
from typing import Any

import pytest

from lone_attention import attention_task
from windtunnel.analysis.pairs import effects_of
from windtunnel.bench import cell as cell_module
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.memory import LEFTOVER_LIMIT_BYTES
from windtunnel.bench.together import compare_cells
from windtunnel.cost.step import cost_of
from windtunnel.records.record import ClockName, Record, Status
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.statistics.paired import Verdict
from windtunnel.statistics.pairing import PairPlan

pytestmark = pytest.mark.gpu

LARGE = {"batch_size": 4, "num_heads": 16, "context_length": 4096, "d_head": 64}
SMALL = {"batch_size": 1, "num_heads": 2, "context_length": 128, "d_head": 64}


def task(*, cache: str = "cold", steps: int = 20, **fields: Any) -> Task:
    plan = MeasurePlan(warmup=5, steps=steps, cache=cache)
    return attention_task(**{"device": "cuda:0", "precision": "bf16", "plan": plan} | fields)


def measure(**fields: Any) -> tuple[Record, int]:
    return measure_cell(task(**fields), process=1, is_first_in_process=True, on_stage=lambda stage: None)


def middle(record: Record, phase: str, clock: ClockName = ClockName.DEVICE) -> float:
    series = record.series(phase, clock)
    assert series is not None
    return median(series.nanoseconds)


@pytest.mark.parametrize("attention", ["sdpa-flash", "sdpa", "flash-triton"])
def test_a_long_cell_is_measured_on_the_device_alone_and_leaves_nothing(attention: str):
    record, leftover = measure(attention=attention, **LARGE)

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, ())
    assert record.calls_per_sample == 1
    assert {series.clock for series in record.samples} == {ClockName.DEVICE, ClockName.ENQUEUE}
    assert max(error.relative_error for error in record.errors) < 2e-2
    assert [error.tensor for error in record.errors] == ["O", "dQ", "dK", "dV"]
    assert leftover <= LEFTOVER_LIMIT_BYTES["cuda"]


@pytest.mark.parametrize("attention", ["sdpa-flash", "eager", "flash-triton"])
def test_short_kernels_run_in_a_row_behind_a_spin(attention: str):
    record, _ = measure(attention=attention, **SMALL)

    runs = record.calls_per_sample
    assert record.status is Status.OK
    assert runs > 1
    assert record.warnings == (f"each sample is the mean of {runs} runs in a row; only the first finds a cold cache",)
    assert middle(record, "forward") < 50_000


def test_the_device_does_not_wait_for_its_host():
    """Some eight tiny kernels: the host takes longer to launch them than the device to run them."""
    record, _ = measure(attention="eager", workload="attention_forward", **SMALL)

    assert record.status is Status.OK
    assert middle(record, "forward") < middle(record, "forward", ClockName.ENQUEUE)


def test_a_cold_cache_costs_time(monkeypatch: pytest.MonkeyPatch):
    """Q, K and V of 8 MiB each are in the L2 when they are read again, unless it is flushed."""
    monkeypatch.setattr(cell_module, "runs_needed", lambda steps: 1)
    shape = {"batch_size": 32, "num_heads": 16, "context_length": 128, "d_head": 64, "attention": "sdpa-flash"}

    cold, warm = (
        measure(cache=cache, steps=50, workload="attention_forward", **shape)[0] for cache in ("cold", "warm")
    )

    assert middle(cold, "forward") > middle(warm, "forward")


def test_flash_attention_holds_inputs_output_and_log_sum_exp_after_forward():
    record, _ = measure(attention="sdpa-flash", **LARGE)

    forward, backward = record.phase_memory
    held = cost_of(record.task.cell).least_bytes
    floor = held["inputs"] + held["output"] + held["log-sum-exp"]
    assert floor <= forward.allocated_bytes <= 1.05 * floor
    assert floor <= forward.saved_bytes + held["output"] <= 1.05 * floor  # dO is an input that it does not save
    assert backward.allocated_bytes <= 1.05 * (floor + held["gradients"])


def test_our_flash_attention_peaks_at_what_cannot_be_done_without():
    record, _ = measure(attention="flash-triton", **LARGE)

    floor = cost_of(record.task.cell).floor_bytes
    assert max(phase.peak_bytes for phase in record.phase_memory) <= 1.05 * floor


def test_the_buffer_of_the_flush_is_in_no_memory():
    cold, warm = (measure(attention="sdpa-flash", cache=cache, **SMALL)[0].memory for cache in ("cold", "warm"))

    assert abs(cold.peak_bytes - warm.peak_bytes) < 2**20
    assert abs(cold.built_bytes - warm.built_bytes) < 2**20


def test_scores_that_do_not_fit_are_a_row_with_their_phase():
    record, _ = measure(attention="eager", **LARGE | {"context_length": 131_072})

    failure = record.failure
    assert (record.status, failure.stage, failure.phase) == (Status.OUT_OF_MEMORY, "warmup", "forward")
    assert failure.requested_bytes > failure.free_bytes


def test_a_pair_is_judged_on_the_device():
    shape = LARGE | {"context_length": 1024}
    plan = PairPlan(max_pairs=16, max_seconds=30.0)

    record, leftover = compare_cells(
        task(attention="sdpa-flash", **shape), task(attention="eager", **shape), plan=plan, seed=0, on_stage=_nothing
    )

    effects = effects_of(record)
    assert (record.status, record.failure) == (Status.OK, None)
    assert {effect.clock for effect in effects} == {ClockName.DEVICE}
    assert {effect.finding.verdict for effect in effects} == {Verdict.SLOWER}
    assert leftover <= LEFTOVER_LIMIT_BYTES["cuda"]


@pytest.mark.compile
def test_short_compiled_attention_runs_in_a_row_too():
    """Each run of forward keeps a graph of its own, as compiled backward gives its buffers away."""
    record, _ = measure(attention="compiled", **SMALL)

    assert (record.status, record.failure) == (Status.OK, None)
    assert record.calls_per_sample > 1


def _nothing(stage: str) -> None:
    pass
