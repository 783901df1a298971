"""One task of attention alone becomes one record: batches, caches, memory, errors, and every kind of failure."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from lone_attention import attention_task
from windtunnel.attention import eager
from windtunnel.bench import batching
from windtunnel.bench import cell as cell_module
from windtunnel.bench import inspection as inspection_module
from windtunnel.bench import numerics as numerics_module
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.clock import StepTimes
from windtunnel.bench.memory import LEFTOVER_LIMIT_BYTES
from windtunnel.errors import RunError
from windtunnel.records.record import ClockName, Kernel, Record, Status, record_from_json, record_to_json
from windtunnel.spec.cell import MeasurePlan
from windtunnel.spec.tables import ATTENTION_WORKLOADS

Phases = Sequence[tuple[str, Callable[[], None]]]


def measure(on_stage: Callable[[str], None] = lambda stage: None, *, look: Any = None, **fields: Any) -> Record:
    """Measure a small cell of attention, 2 warm-up steps and 3 samples unless said."""
    task = attention_task(**fields)
    record, _ = measure_cell(task, process=4711, is_first_in_process=True, on_stage=on_stage, look=look)
    return record


class CountingClock:
    """A clock of one phase on which each step takes so many microseconds on the device and none on the host."""

    def __init__(self, microseconds: int) -> None:
        self.nanoseconds = 1_000 * microseconds
        self.unread = 0

    def start(self) -> None:
        pass

    begin = end = start

    def stop(self) -> None:
        self.unread += 1

    def read(self) -> tuple[StepTimes, ...]:
        steps, self.unread = self.unread, 0
        times = (self.nanoseconds, 10 * self.nanoseconds)
        one = StepTimes(began=0, phases={ClockName.DEVICE: times}, total={ClockName.DEVICE: sum(times)})
        return (one,) * steps


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let forward take 30 µs and backward 300 µs for each run; return which clocks were asked for."""
    asked: list[dict[str, Any]] = []

    def make(device: torch.device, **wanted: Any) -> Any:
        asked.append(wanted)
        clock = CountingClock(30 * wanted["runs"])
        return clock if wanted["runs"] == 1 else batching.BatchClock(clock, wanted["runs"])

    monkeypatch.setattr(cell_module, "make_attention_clock", make)
    return asked


@pytest.mark.parametrize("workload", ATTENTION_WORKLOADS)
def test_a_cell_is_measured_and_can_be_stored(workload: str):
    told: list[str] = []

    record = measure(told.append, workload=workload, context_length=256)

    assert (record.status, record.failure) == (Status.OK, None)
    assert told == ["build", "warmup", "measure", "probe", "clean"]
    assert {series.phase for series in record.samples} == set(ATTENTION_WORKLOADS[workload].timed)
    assert {len(series.nanoseconds) for series in record.samples} == {3}
    assert record_from_json(record_to_json(record)) == record


def test_memory_and_errors_are_of_the_cell():
    record = measure()

    assert [memory.phase for memory in record.phase_memory] == ["forward", "backward"]
    assert [error.tensor for error in record.errors] == ["O", "dQ", "dK", "dV"]
    assert record.warnings == ()


@pytest.mark.usefixtures("clocks")
def test_short_phases_run_several_times_in_a_row_for_one_sample():
    """Forward takes 30 µs: four runs take 100 µs and more. Times are those of one run."""
    record = measure(plan=MeasurePlan(warmup=5, steps=3))

    assert record.calls_per_sample == 4
    assert {(series.phase, series.nanoseconds) for series in record.samples} == {
        ("forward", (30_000,) * 3),
        ("backward", (300_000,) * 3),
        ("forward_backward", (330_000,) * 3),
    }
    assert {len(series.warmup_nanoseconds) for series in record.samples} == {5}


def test_the_warm_up_in_batches_is_as_long_as_was_asked(clocks: list[dict[str, Any]], own_attention):
    calls: list[int] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        calls.append(1)
        return eager.attend(q, k, v, is_causal=is_causal)

    task = attention_task(attention=own_attention(attend), plan=MeasurePlan(warmup=5, steps=3))
    measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None, with_probes=False)

    assert [wanted["runs"] for wanted in clocks] == [1, 4]
    assert len(calls) == batching.LOOK_STEPS + 4 * (5 + 3)


@pytest.mark.usefixtures("clocks")
def test_a_cold_cache_is_cold_for_the_first_run_of_a_batch_only():
    record = measure(plan=MeasurePlan(warmup=5, steps=3, cache="cold"))

    assert record.warnings == ("each sample is the mean of 4 runs in a row; only the first finds a cold cache",)


@pytest.mark.usefixtures("clocks")
def test_a_cold_start_is_one_run():
    record = measure(plan=MeasurePlan(warmup=0, steps=3))

    assert (record.status, record.calls_per_sample) == (Status.OK, 1)


@pytest.mark.usefixtures("clocks")
def test_automatic_warm_up_and_the_target_go_by_the_clock_of_the_device():
    plan = MeasurePlan(warmup="auto", target=0.01, max_samples=40)

    record = measure(plan=plan)

    assert (record.warmed_by, record.stopped_by, record.calls_per_sample) == ("steady", "target", 4)


@pytest.mark.usefixtures("clocks")
def test_memory_is_that_of_single_runs(monkeypatch: pytest.MonkeyPatch):
    """Runs in a row each keep what they need for backward."""
    seen: list[int] = []
    read = cell_module.MemoryMeter.read

    def watched(meter: cell_module.MemoryMeter) -> Any:
        seen.append(len(asked))
        return read(meter)

    asked: list[int] = []
    monkeypatch.setattr(cell_module.MemoryMeter, "read", watched)
    take = cell_module._take

    def counted(workload: Any, clock: Any, count: int, into: list[StepTimes]) -> None:
        asked.append(count)
        take(workload, clock, count, into)

    monkeypatch.setattr(cell_module, "_take", counted)

    measure()

    assert seen == [1]  # once, after the look


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_a_cold_cache_is_flushed_before_each_step(cache: str, monkeypatch: pytest.MonkeyPatch):
    flushed: list[int] = []
    monkeypatch.setattr(cell_module.CacheFlush, "flush", lambda self: flushed.append(1))

    record = measure(context_length=256, plan=MeasurePlan(warmup=2, steps=3, cache=cache))

    assert record.status is Status.OK
    assert len(flushed) == (1 + 5 if cache == "cold" else 0)  # once to have the memory


def test_the_buffer_of_the_flush_is_gone_before_memory_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    flushes: list[Any] = []
    make = cell_module.CacheFlush

    def watched(device: torch.device) -> Any:
        flushes.append(make(device))
        return flushes[-1]

    read = inspection_module.read_phase_memory
    monkeypatch.setattr(cell_module, "CacheFlush", watched)
    monkeypatch.setattr(
        inspection_module,
        "read_phase_memory",
        lambda workload, meter: (sizes.append(flushes[0]._buffer.nbytes), read(workload, meter))[1],
    )

    measure(plan=MeasurePlan(warmup=1, steps=1, cache="cold"))

    assert sizes == [0]


def test_a_look_gets_the_phases_the_reset_and_the_device():
    seen: list[object] = []

    def look(phases: Phases, reset: Callable[[], None], device: torch.device) -> tuple[Kernel, ...]:
        reset()
        for _, run in phases:
            run()
        seen.extend([[name for name, _ in phases], device])
        return (Kernel(phase="forward", name="softmax", launches=1, nanoseconds=5),)

    record = measure(look=look)

    assert seen == [["forward", "backward"], torch.device("cpu")]
    assert record.kernels == (Kernel(phase="forward", name="softmax", launches=1, nanoseconds=5),)
    assert record.status is Status.OK


@pytest.mark.parametrize(
    ("error", "is_replaced"),
    [(RunError("no CUPTI"), False), (torch.OutOfMemoryError("no CUPTI"), False), (RuntimeError("no CUPTI"), True)],
    ids=str,
)
def test_a_look_that_fails_is_a_warning_and_costs_the_process_only_where_the_device_may_be_broken(
    error: Exception, is_replaced: bool
):
    def look(phases: Phases, reset: Callable[[], None], device: torch.device) -> tuple[Kernel, ...]:
        raise error

    record, leftover = measure_cell(
        attention_task(), process=1, is_first_in_process=True, on_stage=lambda stage: None, look=look
    )

    assert (record.status, record.kernels) == (Status.OK, ())
    assert record.errors
    assert (leftover > LEFTOVER_LIMIT_BYTES["cpu"]) == is_replaced
    assert record.warnings == (
        f"the samples are complete, but a probe after them failed: {type(error).__name__}: no CUPTI",
    )


def test_memory_that_runs_out_after_the_samples_costs_one_pass_and_no_sample(own_attention, monkeypatch):
    def run_out(*args: object) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(inspection_module, "find_errors", run_out)

    record = measure(look=lambda phases, reset, device: (Kernel(phase="forward", name="x", launches=1, nanoseconds=1),))

    assert (record.status, record.errors) == (Status.OK, ())
    assert record.phase_memory
    assert record.kernels
    assert record.warnings == ("the samples are complete, but a probe after them failed: OutOfMemoryError: no room",)


def test_a_comparison_that_costs_too_much_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(numerics_module.FLOPS_BUDGET, "cpu", 1.0)

    record = measure()

    assert (record.status, record.errors) == (Status.OK, ())
    (warning,) = record.warnings
    assert warning.startswith("the results were not compared with float64: one key head in float64 takes ")


def test_where_nobody_will_look_there_are_no_passes_after_the_samples():
    told: list[str] = []

    record, _ = measure_cell(
        attention_task(), process=1, is_first_in_process=True, on_stage=told.append, with_probes=False
    )

    assert (record.phase_memory, record.errors) == ((), ())
    assert "probe" not in told


def raising(error: BaseException) -> Callable[..., Tensor]:
    def act(*args: object, **kwargs: object) -> Tensor:
        raise error

    return act


OUT_OF_MEMORY = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 20.00 GiB. "
    "GPU 0 has a total capacity of 139.80 GiB of which 1.25 GiB is free."
)


def test_forward_that_runs_out_of_memory_is_a_row_with_its_phase(own_attention):
    record = measure(attention=own_attention(raising(OUT_OF_MEMORY)))

    failure = record.failure
    assert (record.status, failure.stage, failure.phase) == (Status.OUT_OF_MEMORY, "warmup", "forward")
    assert failure.message.startswith("20.0 GiB asked for, ")
    assert failure.requested_bytes == 20 * 2**30
    assert record.task.cell.model.name == "h4 d8 causal"


def test_backward_that_runs_out_of_memory_is_a_row_with_its_phase(own_attention, spoiled_backward):
    name = own_attention(spoiled_backward(raising(OUT_OF_MEMORY)))

    record = measure(attention=name, plan=MeasurePlan(warmup=0, steps=2))

    failure = record.failure
    assert (record.status, failure.stage, failure.phase) == (Status.OUT_OF_MEMORY, "measure", "backward")


def test_a_backend_that_cannot_do_it_is_refused_while_building():
    record = measure(attention="sdpa-cudnn")

    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "build")


@pytest.mark.parametrize("workload", ATTENTION_WORKLOADS)
def test_results_that_are_not_finite_are_a_failure_that_keeps_its_samples(own_attention, workload: str):
    name = own_attention(lambda q, k, v, *, is_causal: (q + k + v) * float("nan"))

    record = measure(workload=workload, attention=name)

    assert record.status is Status.BAD_NUMERICS
    assert record.failure.message.endswith("not all finite after 3 timed steps")
    assert {len(series.nanoseconds) for series in record.samples} == {3}


def test_a_result_that_is_wrong_is_data(own_attention):
    """Attention to all keys where the causal mask was asked for."""
    name = own_attention(lambda q, k, v, *, is_causal: eager.attend(q, k, v, is_causal=False))

    record = measure(attention=name)

    assert record.status is Status.OK
    assert min(error.relative_error for error in record.errors) > 0.1


@pytest.mark.compile
@pytest.mark.parametrize("fields", [{"compile": "default"}, {"attention": "compiled"}])
def test_compiled_attention_is_compiled_before_the_warm_up(fields: dict[str, str]):
    told: list[str] = []

    record = measure(told.append, **fields)

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, ())
    assert told == ["build", "compile", "warmup", "measure", "probe", "clean"]
    assert record.phase_memory[0].saved_bytes > 0
    assert max(error.relative_error for error in record.errors) < 1e-5
