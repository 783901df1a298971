"""One task becomes one record: counts, samples, stages, and every kind of failure."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from factory import TINY, make_task
from windtunnel.attention import eager
from windtunnel.bench import cell as cell_module
from windtunnel.bench import inspection as inspection_module
from windtunnel.bench import model_step as model_step_module
from windtunnel.bench import telemetry as telemetry_module
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.clock import StepTimes
from windtunnel.bench.inspection import MIN_PROBE_SECONDS
from windtunnel.bench.loop import StepError
from windtunnel.bench.memory import LEFTOVER_LIMIT_BYTES
from windtunnel.bench.telemetry import Source, TelemetrySampler
from windtunnel.cost.step import cost_of
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.records.record import (
    ClockName,
    ColdCause,
    Probe,
    ProbeName,
    Record,
    Status,
    record_from_json,
    record_to_json,
)
from windtunnel.spec.tables import STEP_WORKLOADS

ONE_LAYER = TINY.model_copy(update={"num_layers": 1})

CUDA_MESSAGE = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.80 GiB of which 1.25 GiB "
    "is free. Including non-PyTorch memory, this process has 138.54 GiB memory in use. Of the allocated memory "
    "137.10 GiB is allocated by PyTorch, and 640.50 MiB is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  "
    "See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)
CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 137438953472 bytes. Error code 12 (Cannot allocate memory)"
)


def measure(on_stage: Callable[[str], None] = lambda stage: None, **fields: Any) -> Record:
    """Measure a small cell, 1 warm-up step and 2 samples unless said."""
    task = make_task(**{"size": ONE_LAYER, "context_length": 5, "warmup": 1, "steps": 2} | fields)
    record, _ = measure_cell(task, process=4711, is_first_in_process=True, on_stage=on_stage)
    return record


class CountingClock:
    """A clock on which the n-th step of the cell begins at n times 100 ns and takes n."""

    def __init__(self) -> None:
        self.steps = 0
        self.unread: list[int] = []

    def start(self) -> None:
        self.steps += 1

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def stop(self) -> None:
        self.unread.append(self.steps)

    def read(self) -> tuple[StepTimes, ...]:
        steps, self.unread = self.unread, []
        return tuple(
            StepTimes(began=100 * n, phases={ClockName.HOST: (n, n, n)}, total={ClockName.HOST: n}) for n in steps
        )


@pytest.fixture
def counting_clock(monkeypatch: pytest.MonkeyPatch) -> CountingClock:
    clock = CountingClock()
    monkeypatch.setattr(cell_module, "make_clock", lambda device, *, num_phases, num_steps: clock)
    return clock


class EnqueueingClock(CountingClock):
    """The same on a device to which the host hands its work in half of that time."""

    def read(self) -> tuple[StepTimes, ...]:
        return tuple(
            replace(step, total={**step.total, ClockName.ENQUEUE: step.total[ClockName.HOST] // 2})
            for step in super().read()
        )


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let the CPU pass for a device that can be probed; return what probes are asked for."""
    asked: list[dict[str, Any]] = []
    clock = EnqueueingClock()

    def probe_steps(workload: object, clock: object, device: torch.device, **limits: Any) -> tuple[Probe, ...]:
        asked.append(limits)
        return (Probe(name=ProbeName.PLAIN, clock=ClockName.HOST, nanoseconds=(1, 2, 3)),)

    monkeypatch.setattr(cell_module, "make_clock", lambda device, *, num_phases, num_steps: clock)
    monkeypatch.setattr(inspection_module, "can_probe", lambda device: True)
    monkeypatch.setattr(inspection_module, "probe_steps", probe_steps)
    monkeypatch.setattr(inspection_module, "time_growth", lambda workload, clock: 100e-9)
    return asked


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (1, 1), (2, 5), (3, 2)])
def test_as_many_steps_run_as_the_plan_says(built, warmup: int, steps: int):
    record = measure(warmup=warmup, steps=steps)

    assert len(built.logits) == warmup + steps
    assert [len(series.nanoseconds) for series in record.samples] == [steps]
    assert [len(series.warmup_nanoseconds) for series in record.samples] == [warmup]


@pytest.mark.usefixtures("counting_clock")
def test_every_sample_is_kept_in_order():
    record = measure(workload="forward_backward", warmup=2, steps=3)

    assert {series.phase: series.warmup_nanoseconds for series in record.samples} == dict.fromkeys(
        STEP_WORKLOADS["forward_backward"].timed, (1, 2)
    )
    assert {series.phase: series.nanoseconds for series in record.samples} == dict.fromkeys(
        STEP_WORKLOADS["forward_backward"].timed, (3, 4, 5)
    )


def test_a_pause_in_backward_is_in_backward_and_in_the_whole(own_attention, spoiled_backward):
    pause = 0.05

    def slow(gradient: Tensor) -> Tensor:
        time.sleep(pause)
        return gradient

    record = measure(workload="train_step", steps=3, attention=own_attention(spoiled_backward(slow)))

    shortest = {series.phase: min(series.nanoseconds) / 1e9 for series in record.samples}
    assert shortest["backward"] >= pause
    assert shortest["step"] >= pause
    assert max(shortest["forward"], shortest["optimizer"]) < pause


def test_probes_come_after_the_samples_and_are_kept(probed: list[dict[str, Any]]):
    told: list[str] = []

    record = measure(told.append, warmup=1, steps=9, seed=3)

    assert told == ["build", "warmup", "measure", "probe", "clean"]
    assert record.probes == (Probe(name=ProbeName.PLAIN, clock=ClockName.HOST, nanoseconds=(1, 2, 3)),)
    assert probed == [{"enqueue_seconds": pytest.approx(3e-9), "seconds": MIN_PROBE_SECONDS, "seed": 3}]


def test_steps_that_take_long_are_not_probed(probed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inspection_module, "LONGEST_PROBED_SECONDS", 2.5e-9)

    record = measure(warmup=0, steps=9)

    assert (record.status, record.probes, record.cold_causes, probed) == (Status.OK, (), {}, [])


def test_probes_can_be_left_out(probed: list[dict[str, Any]]):
    record, _ = measure_cell(
        make_task(), process=1, is_first_in_process=True, on_stage=lambda stage: None, with_probes=False
    )

    assert record.status is Status.OK
    assert record.probes == ()
    assert probed == []


def test_a_cpu_has_no_probes():
    record = measure()

    assert (record.probes, record.cold_causes) == ((), {})


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize(
    ("error", "is_replaced"), [(StepError("forward"), True), (torch.OutOfMemoryError("no room"), False)], ids=str
)
def test_a_probe_that_fails_is_a_warning_and_a_reason_for_a_new_process_unless_memory_ran_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, is_replaced: bool
):
    monkeypatch.setattr(inspection_module, "probe_steps", raising(error))

    task = make_task(size=ONE_LAYER, warmup=1, steps=3)
    record, leftover = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None)

    assert (record.status, record.probes) == (Status.OK, ())
    assert {series.nanoseconds for series in record.samples if series.clock == ClockName.HOST} == {(2, 3, 4)}
    assert record.warnings[0].startswith("the samples are complete, but a probe after them failed: ")
    assert (leftover > LEFTOVER_LIMIT_BYTES["cpu"]) == is_replaced


@pytest.mark.usefixtures("probed")
def test_growing_the_allocator_is_timed_in_cold_cells_beside_the_steps_after_the_first():
    """Steps of 1, 2, 3, 4 ns, and 100 ns with an empty cache."""
    record = measure(warmup=0, steps=4)

    assert record.cold_causes == {ColdCause.ALLOCATOR: pytest.approx(97e-9)}
    assert record_from_json(record_to_json(record)).cold_causes == record.cold_causes


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("plan", [{"warmup": 1, "steps": 4}, {"warmup": 0, "steps": 1}])
def test_growing_the_allocator_is_not_timed_in_warm_cells_nor_without_other_steps(plan: dict[str, int]):
    assert measure(**plan).cold_causes == {}


@pytest.mark.parametrize("is_used", [False, True])
def test_making_the_context_is_timed_where_the_process_had_none(monkeypatch: pytest.MonkeyPatch, is_used: bool):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_used)
    for name in ("init", "set_device", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda *device: time.sleep(0.001))
    monkeypatch.setattr(cell_module, "build_workload", raising(UnsupportedError("enough")))

    causes = measure(device="cuda:0").cold_causes

    assert list(causes) == ([] if is_used else [ColdCause.CONTEXT])
    assert all(seconds >= 0.003 for seconds in causes.values())


@pytest.mark.parametrize("workload", STEP_WORKLOADS)
def test_the_record_says_what_was_timed_and_what_it_costs(workload: str):
    record = measure(workload=workload)

    cost = cost_of(record.task.cell)
    assert (record.status, record.failure) == (Status.OK, None)
    assert (record.total, record.timed) == (STEP_WORKLOADS[workload].total, STEP_WORKLOADS[workload].timed)
    assert (record.flops, record.parameters) == (cost.flops, cost.parameters)
    assert {series.phase for series in record.samples} == set(STEP_WORKLOADS[workload].timed)


def test_the_record_says_which_process_made_it():
    task = make_task(size=ONE_LAYER, warmup=0, steps=1)

    record, _ = measure_cell(task, process=4711, is_first_in_process=False, on_stage=lambda stage: None)

    assert (record.task, record.process, record.is_first_in_process) == (task, 4711, False)


def test_stages_are_told_in_order_and_timed():
    told: list[str] = []

    record = measure(told.append)

    assert told == ["build", "warmup", "measure", "clean"]
    assert list(record.stages) == told
    assert all(seconds >= 0 for seconds in record.stages.values())


def test_memory_is_read_for_a_cell_that_was_measured():
    memory = measure().memory

    assert memory.peak_bytes >= memory.built_bytes > 0


def test_a_cell_leaves_nothing_large_behind():
    task = make_task(size=TINY.model_copy(update={"d_model": 512, "d_ff": 8192}), warmup=1, steps=1)
    weight_bytes = 4 * cost_of(task.cell).parameters

    _, leftover = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None)

    assert weight_bytes > 100 * 2**20
    assert leftover < weight_bytes / 2


@pytest.mark.parametrize("workload", STEP_WORKLOADS)
def test_numbers_that_are_not_finite_are_a_failure_that_keeps_its_samples(own_attention, workload: str):
    name = own_attention(lambda q, k, v, *, is_causal: v * float("nan"))

    record = measure(workload=workload, attention=name, warmup=2, steps=3)

    assert record.status == Status.BAD_NUMERICS
    assert record.failure.stage == "measure"
    assert record.failure.message.endswith("after 3 timed steps")
    assert {len(series.nanoseconds) for series in record.samples} == {3}


def test_a_gradient_that_is_not_finite_is_a_failure_though_the_loss_is_fine(own_attention, spoiled_backward):
    name = own_attention(spoiled_backward(lambda gradient: gradient * float("nan")))

    record = measure(workload="forward_backward", attention=name)

    assert record.status == Status.BAD_NUMERICS
    assert "gradients are not finite" in record.failure.message


def test_a_training_that_diverges_is_a_failure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_step_module, "LEARNING_RATE", 1e38)

    record = measure(workload="train_step", steps=5)

    assert (record.status, record.failure.message) == (Status.BAD_NUMERICS, "the loss is nan after 5 timed steps")


def raising(error: BaseException) -> Callable[..., Tensor]:
    """Return something to call that raises."""

    def act(*args: object, **kwargs: object) -> Tensor:
        raise error

    return act


FAILURES = [
    pytest.param(MemoryError("too much"), Status.OUT_OF_MEMORY, "too much", id="memory"),
    pytest.param(RuntimeError(CPU_MESSAGE), Status.OUT_OF_MEMORY, "128 GiB asked for, ", id="cpu-allocator"),
    pytest.param(
        torch.OutOfMemoryError(CUDA_MESSAGE), Status.OUT_OF_MEMORY, "20.0 GiB asked for, ", id="cuda-allocator"
    ),
    pytest.param(UnsupportedError("not here"), Status.UNSUPPORTED, "not here", id="unsupported"),
    pytest.param(SpecError("not so"), Status.UNSUPPORTED, "not so", id="spec"),
    pytest.param(RuntimeError("no kernel"), Status.FAILED, "RuntimeError: no kernel", id="runtime"),
    pytest.param(ZeroDivisionError("by 0"), Status.FAILED, "ZeroDivisionError: by 0", id="any"),
]


@pytest.mark.parametrize(("error", "status", "message"), FAILURES)
def test_an_error_in_forward_is_a_failure_of_that_phase(own_attention, error: Exception, status: Status, message: str):
    record = measure(workload="train_step", attention=own_attention(raising(error)))

    failure = record.failure
    assert record.status == status
    assert (failure.stage, failure.phase) == ("warmup", "forward")
    assert failure.message.startswith(message)


@pytest.mark.parametrize(("error", "status", "message"), FAILURES)
def test_an_error_in_backward_is_a_failure_of_that_phase(
    own_attention, spoiled_backward, error: Exception, status: Status, message: str
):
    name = own_attention(spoiled_backward(raising(error)))

    record = measure(workload="train_step", attention=name, warmup=0)

    failure = record.failure
    assert record.status == status
    assert (failure.stage, failure.phase) == ("measure", "backward")
    assert failure.message.startswith(message)


def test_out_of_memory_keeps_what_the_allocator_said(own_attention):
    record = measure(attention=own_attention(raising(torch.OutOfMemoryError(CUDA_MESSAGE))))

    assert record.failure.details == CUDA_MESSAGE


def test_an_unforeseen_error_keeps_its_traceback(own_attention):
    record = measure(attention=own_attention(raising(ZeroDivisionError("by 0"))))

    assert "in act" in record.failure.details
    assert record.failure.details.rstrip().endswith("ZeroDivisionError: by 0")


def test_a_failed_cell_keeps_its_whole_configuration(own_attention):
    task = make_task(attention=own_attention(raising(ZeroDivisionError())), workload="train_step", seed=7)

    record, leftover = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None)

    assert record.task == task
    assert (record.flops, record.parameters) == (cost_of(task.cell).flops, cost_of(task.cell).parameters)
    assert leftover == 0


def test_every_failure_can_be_stored(own_attention):
    record = measure(attention=own_attention(raising(RuntimeError("one line\nanother \x00 line"))))

    assert record_from_json(record_to_json(record)).status == Status.FAILED


@pytest.mark.usefixtures("counting_clock")
@pytest.mark.parametrize(
    ("works", "stage", "warmup", "timed"),
    [(0, "warmup", [], []), (1, "warmup", [1], []), (2, "measure", [1, 2], []), (4, "measure", [1, 2], [3, 4])],
)
def test_the_steps_before_a_failure_are_kept(
    own_attention, works: int, stage: str, warmup: list[int], timed: list[int]
):
    """The plan is 2 warm-up steps and 3 samples."""
    left = iter(range(works))

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        if next(left, None) is None:
            raise ZeroDivisionError
        return eager.attend(q, k, v, is_causal=is_causal)

    record = measure(attention=own_attention(attend), warmup=2, steps=3)

    kept = [(list(series.warmup_nanoseconds), list(series.nanoseconds)) for series in record.samples]
    assert (record.status, record.failure.stage) == (Status.FAILED, stage)
    assert kept == ([(warmup, timed)] if warmup else [])


def test_a_clock_that_fails_too_does_not_hide_the_first_error(
    own_attention, counting_clock: CountingClock, monkeypatch: pytest.MonkeyPatch
):
    """After an illegal access every call of CUDA fails, and so do its events."""
    monkeypatch.setattr(counting_clock, "read", raising(RuntimeError("CUDA error: the clock")))

    record = measure(attention=own_attention(raising(RuntimeError("CUDA error: the kernel"))))

    assert (record.failure.phase, record.failure.message) == ("forward", "RuntimeError: CUDA error: the kernel")


def test_an_error_while_building_has_no_phase_and_no_samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cell_module, "build_workload", raising(ZeroDivisionError("by 0")))

    record = measure()

    assert (record.status, record.samples, record.memory) == (Status.FAILED, (), None)
    assert (record.failure.stage, record.failure.phase) == ("build", None)


def test_a_precision_that_the_device_lacks_is_refused_while_building():
    record = measure(precision="tf32")

    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "build")
    assert record.failure.message.startswith("precision 'tf32' is a mode of NVIDIA tensor cores")


@pytest.mark.parametrize("name", ["sdpa-efficient", "sdpa-cudnn"])
def test_attention_that_the_device_lacks_is_refused_while_building(name: str):
    record = measure(attention=name)

    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "build")
    assert record.samples == ()


def test_attention_that_cannot_be_loaded_is_refused_while_building():
    record = measure(attention="no_such_module:attend")

    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "build")


def test_the_cuda_allocators_message_gives_both_sizes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "set_device", raising(torch.OutOfMemoryError(CUDA_MESSAGE)))

    record = measure(device="cuda:0")

    assert record.status == Status.OUT_OF_MEMORY
    assert record.failure.requested_bytes == 20 * 2**30
    assert record.failure.free_bytes == 1.25 * 2**30


def test_the_cpu_allocators_own_message_gives_the_requested_size(own_attention):
    """The message is torch's own, from a request that no machine can meet."""
    name = own_attention(lambda q, k, v, *, is_causal: torch.empty(2**50, dtype=torch.uint8))

    record = measure(attention=name)

    assert record.status == Status.OUT_OF_MEMORY
    assert record.failure.requested_bytes == 2**50
    assert record.failure.free_bytes > 0


def test_an_allocator_without_sizes_in_its_message_leaves_them_unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "set_device", raising(torch.OutOfMemoryError("CUDA out of memory.")))

    record = measure(device="cuda:0")

    assert record.status == Status.OUT_OF_MEMORY
    assert (record.failure.requested_bytes, record.failure.free_bytes) == (None, None)


@pytest.mark.parametrize(
    ("size", "byte_count"),
    [("512 bytes", 512), ("2.50 KiB", 2560), ("640.50 MiB", 671_612_928), ("1.5 TiB", 3 * 2**39)],
)
def test_sizes_are_read_in_every_unit_of_the_allocator(monkeypatch: pytest.MonkeyPatch, size: str, byte_count: int):
    message = f"CUDA out of memory. Tried to allocate {size}. GPU 0 has a total capacity of 1.00 GiB"
    monkeypatch.setattr(torch.cuda, "set_device", raising(torch.OutOfMemoryError(message)))

    record = measure(device="cuda:0")

    assert record.failure.requested_bytes == byte_count


def test_cells_after_a_failed_one_are_measured(own_attention):
    measure(attention=own_attention(raising(ZeroDivisionError())))

    assert measure().status == Status.OK


@pytest.fixture
def sensors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Play the sensors of a device; return what was done to them."""
    done: list[str] = []

    def read() -> int:
        done.append("read")
        return 1000

    source = Source(
        name="fake", period=0.001, columns={"clock_mhz": read}, errors=(), close=lambda: done.append("close")
    )
    monkeypatch.setattr(telemetry_module, "open_source", lambda device: source)
    return done


def test_a_record_says_when_each_step_began_since_the_first_of_all(counting_clock: CountingClock):
    record = measure(warmup=2, steps=3)

    assert record.warmup_began_nanoseconds == (0, 100)
    assert record.began_nanoseconds == (200, 300, 400)


def test_without_warm_up_the_first_sample_began_at_zero(counting_clock: CountingClock):
    record = measure(warmup=0, steps=2)

    assert record.warmup_began_nanoseconds == ()
    assert record.began_nanoseconds == (0, 100)


def test_sensors_are_read_while_steps_run(sensors: list[str]):
    record = measure(warmup=1, steps=200)

    assert record.telemetry is not None
    assert set(record.telemetry.clock_mhz) == {1000}
    assert record.telemetry.nanoseconds[0] >= 0
    assert sensors[-1] == "close"
    assert record_from_json(record_to_json(record)) == record


def test_sensors_are_let_go_when_a_step_fails(sensors: list[str], own_attention):
    calls: list[None] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        calls.append(None)
        if len(calls) == 30:
            raise ZeroDivisionError
        return eager.attend(q, k, v, is_causal=is_causal)

    record = measure(steps=50, attention=own_attention(attend))

    assert record.status == Status.FAILED
    assert record.telemetry is not None
    assert len(record.began_nanoseconds) == 28
    assert sensors[-1] == "close"


def test_what_the_sensors_lack_is_said_once(monkeypatch: pytest.MonkeyPatch):
    class Blind(TelemetrySampler):
        def warnings(self) -> tuple[str, ...]:
            return ("no telemetry: NVML answers 'No'",)

    monkeypatch.setattr(cell_module, "TelemetrySampler", Blind)

    assert measure().warnings == ("no telemetry: NVML answers 'No'",)
