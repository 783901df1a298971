"""Warm-up until steady and samples until the interval is narrow, on a clock whose every step is scripted."""

from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat

import pytest

from factory import TINY, make_task
from windtunnel.bench import cell as cell_module
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.clock import StepTimes
from windtunnel.records.record import ClockName, Record
from windtunnel.spec.cell import MeasurePlan, Task


class ScriptedClock:
    """A clock on which each step takes the next scripted time."""

    def __init__(self, nanoseconds: Iterator[int]) -> None:
        self.left = nanoseconds
        self.unread: list[int] = []

    def start(self) -> None:
        pass

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def stop(self) -> None:
        self.unread.append(next(self.left))

    def read(self) -> tuple[StepTimes, ...]:
        steps = tuple(
            StepTimes(began=0, phases={ClockName.HOST: (value,)}, total={ClockName.HOST: value})
            for value in self.unread
        )
        self.unread = []
        return steps


Measure = Callable[..., Record]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Return a function that measures a tiny forward cell by a plan, on scripted times."""

    def run(nanoseconds: Iterator[int], **plan: object) -> Record:
        clock = ScriptedClock(nanoseconds)
        monkeypatch.setattr(cell_module, "make_clock", lambda device, *, num_phases, num_steps: clock)
        task = Task(cell=make_task(size=TINY, context_length=4).cell, plan=MeasurePlan(**plan))
        record, _ = measure_cell(task, process=1, is_first_in_process=False, on_stage=lambda stage: None)
        return record

    return run


def counts(record: Record) -> tuple[int, int]:
    (series,) = record.samples
    return len(series.warmup_nanoseconds), len(series.nanoseconds)


def noise() -> Iterator[int]:
    """Times around 1,000 ns that never settle on one value and do not drift."""
    return cycle([1000, 1003, 998, 1001, 997, 1002, 999])


def test_steady_steps_are_warmed_up_with_two_windows(measure: Measure):
    record = measure(noise(), warmup="auto", steps=3)

    assert (counts(record), record.warmed_by) == ((10, 3), "steady")


def test_slow_first_steps_are_warmed_away(measure: Measure):
    """The first 5 steps are slow, so the first two windows differ."""
    record = measure(chain(repeat(9000, 5), noise()), warmup="auto", steps=3)

    warmup, _ = counts(record)
    assert warmup == 15
    assert record.warmed_by == "steady"
    assert max(record.samples[0].nanoseconds) < 1100


def test_steps_that_never_settle_end_at_the_cap_with_a_warning(measure: Measure, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cell_module, "MAX_WARMUP_STEPS", 30)

    record = measure(iter(range(1000, 9000, 7)), warmup="auto", steps=3)

    assert (counts(record), record.warmed_by) == ((30, 3), "cap")
    assert any("not steady after 30 warm-up steps" in warning for warning in record.warnings)


def test_sampling_stops_at_the_first_look_where_the_target_is_reached(measure: Measure):
    record = measure(noise(), warmup=2, target=0.01)

    assert (counts(record), record.stopped_by) == ((2, 32), "target")


def test_sampling_goes_on_until_the_interval_is_narrow(measure: Measure):
    """Times far apart for 40 steps, then close: the looks at 32 and 48 are too early."""
    wide = cycle([500, 1500, 700, 1300, 900, 1100])

    record = measure(chain((next(wide) for _ in range(40)), noise()), warmup=0, target=0.02)

    _, samples = counts(record)
    assert samples in {72, 108, 162, 243}
    assert record.stopped_by == "target"


def test_sampling_ends_at_the_most_samples_when_the_target_is_out_of_reach(measure: Measure):
    record = measure(cycle([500, 1500, 700, 1300]), warmup=0, target=0.001, max_samples=60)

    assert (counts(record), record.stopped_by) == ((0, 60), "max_samples")


def test_a_slow_cell_ends_by_time_with_ten_samples(measure: Measure):
    record = measure(cycle([500, 1500, 700, 1300]), warmup=0, target=0.001, max_seconds=1e-9)

    assert (counts(record), record.stopped_by) == ((0, 10), "max_seconds")


def test_exact_counts_say_that_nothing_was_found(measure: Measure):
    record = measure(noise(), warmup=4, steps=6)

    assert (counts(record), record.warmed_by, record.stopped_by) == ((4, 6), None, None)
