"""Two cells of attention alone in one process: equal batches, and the clock that their effect is judged by."""

import itertools
from typing import Any

import pytest
from torch import Tensor

from lone_attention import attention_task
from windtunnel.analysis.pairs import effects_of
from windtunnel.attention import eager
from windtunnel.bench import batching, together
from windtunnel.bench.clock import StepTimes
from windtunnel.bench.together import compare_cells
from windtunnel.records.pair import PairRecord, pair_from_json, pair_to_json
from windtunnel.records.record import ClockName, Status
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.statistics.paired import Side, Verdict
from windtunnel.statistics.pairing import PairPlan


def compare(a: Task, b: Task) -> PairRecord:
    plan = PairPlan(max_pairs=16, max_seconds=30.0)
    record, _ = compare_cells(a, b, plan=plan, seed=0, on_stage=lambda stage: None)
    return record


def task(**fields: Any) -> Task:
    return attention_task(**{"plan": MeasurePlan(warmup=2)} | fields)


class DeviceClock:
    """A clock that has a device's and no host's time: 300 µs a phase for side A, then 400 µs for B, give or take."""

    made = 0

    def __init__(self) -> None:
        DeviceClock.made += 1
        self.microseconds = 300 if DeviceClock.made == 1 else 400
        self.noise = itertools.cycle((0, 1, 2))
        self.unread = 0

    def start(self) -> None:
        pass

    begin = end = start

    def stop(self) -> None:
        self.unread += 1

    def read(self) -> tuple[StepTimes, ...]:
        steps, self.unread = self.unread, 0
        times = tuple(1_000 * self.microseconds + next(self.noise) for _ in range(2))
        phases = {ClockName.DEVICE: times, ClockName.ENQUEUE: (10, 10)}
        total = {ClockName.DEVICE: sum(times), ClockName.ENQUEUE: 20}
        return (StepTimes(began=0, phases=phases, total=total, is_gap_hidden=self.microseconds == 300),) * steps


@pytest.fixture
def on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    DeviceClock.made = 0
    monkeypatch.setattr(together, "make_attention_clock", lambda device, **wanted: DeviceClock())


@pytest.mark.usefixtures("on_a_device")
def test_the_whole_step_is_judged_on_the_clock_of_the_device():
    record = compare(task(), task(attention="sdpa"))

    effects = effects_of(record)
    assert record.status is Status.OK
    assert [effect.phase for effect in effects] == ["forward_backward", "forward", "backward"]
    assert {effect.clock for effect in effects} == {ClockName.DEVICE}
    assert {effect.finding.verdict for effect in effects} == {Verdict.SLOWER}
    assert all(effect.finding.effect.value == pytest.approx(1 / 3, rel=1e-3) for effect in effects)


@pytest.mark.usefixtures("on_a_device")
def test_steps_whose_gap_was_not_hidden_are_counted_for_their_side():
    record = compare(task(), task())

    of_b = sum(turn.side is Side.B for turn in record.turns)
    (warning,) = record.warnings
    assert warning.startswith(f"B: in {of_b} of {of_b} samples the device began before the host")


@pytest.mark.parametrize(("runs_a", "runs_b"), [(1, 4), (4, 1), (2, 8)])
def test_both_sides_run_their_phases_equally_often(runs_a: int, runs_b: int, own_attention, monkeypatch):
    calls: list[int] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        calls.append(1)
        return eager.attend(q, k, v, is_causal=is_causal)

    needed = iter((runs_a, runs_b))
    monkeypatch.setattr(together, "runs_needed", lambda steps: next(needed))

    record = compare(task(), task(attention=own_attention(attend), plan=MeasurePlan(warmup=3, cache="cold")))

    runs = max(runs_a, runs_b)
    of_b = sum(turn.side is Side.B for turn in record.turns)
    assert record.calls_per_sample == runs
    assert len(calls) == batching.LOOK_STEPS + runs * (3 + of_b + 1)  # at last one that is looked at for its numbers
    assert (record.a.warmup_steps, record.b.warmup_steps) == ((2,), (3,))
    assert record.warnings == (f"each sample is the mean of {runs} runs in a row; only the first finds a cold cache",)
    assert pair_from_json(pair_to_json(record)) == record


def test_steps_that_are_long_enough_warm_up_as_often_as_was_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(together, "runs_needed", lambda steps: 1)

    record = compare(task(plan=MeasurePlan(warmup=2)), task(plan=MeasurePlan(warmup=5)))

    assert (record.a.warmup_steps, record.b.warmup_steps) == ((2,), (5,))
    assert record.calls_per_sample == 1


def test_a_side_under_cuda_graphs_keeps_both_from_running_in_a_row(monkeypatch: pytest.MonkeyPatch):
    build = together.build_workload
    monkeypatch.setattr(together, "runs_needed", lambda steps: 4)
    monkeypatch.setattr(together, "build_workload", lambda cell: together.replace(build(cell), repeat=None))

    record = compare(task(), task())

    assert (record.calls_per_sample, record.warnings) == (1, (batching.NOT_BATCHED,))


def test_both_sides_leave_nothing_behind():
    large = task(context_length=64, d_head=64, batch_size=512, workload="attention_forward", attention="sdpa")
    inputs_bytes = 3 * 4 * 512 * 4 * 64 * 64

    plan = PairPlan(max_pairs=8, max_seconds=0.1)
    _, leftover = compare_cells(large, large, plan=plan, seed=0, on_stage=lambda stage: None)

    assert inputs_bytes > 90 * 2**20
    assert leftover < inputs_bytes
