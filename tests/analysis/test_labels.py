"""Each mark by construction: rows that must have it, and rows just below its threshold that must not."""

import random

import pytest

from factory import make_record, make_row, make_task, with_telemetry
from windtunnel.analysis.labels import Mark, marks_of, slow_start_of
from windtunnel.analysis.results import Row
from windtunnel.records.record import Status
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.statistics.series import SlowStart

EVEN = tuple(10 + 0.002 * (7 * place % 11 - 5) for place in range(40))
"""Forty samples within 0.1 % of 10 ms, in an order that is none."""

POWER_CAP = 0x4


def row(milliseconds: tuple[float, ...] = EVEN, *, warmup: int = 5, **fields: object) -> Row:
    return make_row(make_record(make_task(warmup=warmup), milliseconds=milliseconds, **fields))


def aiming(target: float, milliseconds: tuple[float, ...]) -> Row:
    task = Task(cell=make_task().cell, plan=MeasurePlan(target=target))
    return make_row(make_record(task, milliseconds=milliseconds))


def spread(half_width: float) -> tuple[float, ...]:
    """Ten samples whose second and ninth, the ends of their interval, are so far from 10 ms."""
    ends = (10 * (1 - half_width), 10 * (1 + half_width))
    return (10.0, 9.0, 10.0, ends[1], 10.0, 10.0, ends[0], 10.0, 11.0, 10.0)


def test_an_even_series_has_no_mark():
    assert marks_of(row()) == ()


def test_a_row_that_failed_has_no_mark():
    assert marks_of(row((10.0, 20.0), status=Status.BAD_NUMERICS)) == ()


def test_samples_that_rise_in_their_order_are_drifting():
    rising = tuple(value + 0.02 * place for place, value in enumerate(EVEN))

    assert Mark.DRIFTING in marks_of(row(rising))


def test_the_same_samples_in_another_order_are_not_drifting():
    rising = [value + 0.02 * place for place, value in enumerate(EVEN)]
    random.Random(1).shuffle(rising)

    assert Mark.DRIFTING not in marks_of(row(tuple(rising)))


def test_a_level_that_changes_once_is_a_step():
    stepped = tuple(value + 0.5 * (place >= 17) for place, value in enumerate(EVEN))

    assert Mark.STEP in marks_of(row(stepped))
    assert Mark.TWO_STATES not in marks_of(row(stepped))


def test_a_series_that_goes_back_and_forth_is_in_two_states():
    switching = tuple(value + 0.5 * (place // 4 % 2) for place, value in enumerate(EVEN))

    assert Mark.TWO_STATES in marks_of(row(switching))
    assert Mark.STEP not in marks_of(row(switching))


def test_too_few_samples_are_not_searched_for_drift_steps_and_states():
    rising = tuple(value + 0.2 * place for place, value in enumerate(EVEN[:29]))

    assert not {Mark.DRIFTING, Mark.STEP, Mark.TWO_STATES} & set(marks_of(row(rising)))


@pytest.mark.parametrize(("half_width", "marks"), [(0.0199, ()), (0.0201, (Mark.IMPRECISE,))])
def test_without_a_target_an_interval_of_more_than_2_percent_is_imprecise(half_width: float, marks: tuple[Mark, ...]):
    assert marks_of(row(spread(half_width))) == marks


@pytest.mark.parametrize(
    ("target", "half_width", "marks"),
    [(0.05, 0.049, ()), (0.05, 0.051, (Mark.IMPRECISE,)), (0.005, 0.006, (Mark.IMPRECISE,))],
)
def test_with_a_target_that_is_what_is_precise(target: float, half_width: float, marks: tuple[Mark, ...]):
    assert marks_of(aiming(target, spread(half_width))) == marks


def test_a_median_without_an_interval_is_imprecise():
    assert marks_of(row((10.0, 10.0, 10.0, 10.0, 10.0))) == (Mark.IMPRECISE,)


def test_the_first_step_of_a_process_is_cold_however_fast_it_was():
    assert marks_of(row(warmup=0, is_first_in_process=True)) == (Mark.COLD,)


def test_without_warm_up_but_not_first_in_its_process_a_row_is_not_cold():
    assert marks_of(row(warmup=0, is_first_in_process=False)) == ()


def test_a_compiled_cell_without_warm_up_has_run_a_step_before_its_first_sample():
    record = make_record(make_task(warmup=0, compile="default"), milliseconds=EVEN, is_first_in_process=True)

    assert marks_of(make_row(record)) == ()


def test_a_slow_first_sample_after_warm_up_is_cold_too():
    slow = row((10.5, *EVEN[1:]))

    assert marks_of(slow) == (Mark.COLD,)
    assert slow_start_of(slow) == SlowStart(count=1, ratio=pytest.approx(1.05, abs=0.001))


def test_a_first_sample_less_than_2_percent_above_the_others_is_not_slow_however_still_they_are():
    assert slow_start_of(row((10.19, *EVEN[1:]))) is None
    assert slow_start_of(row((10.22, *EVEN[1:]))) is not None


@pytest.mark.parametrize(
    ("ended", "marks"),
    [
        ({"warmed_by": "steady", "stopped_by": "target"}, ()),
        ({"warmed_by": None, "stopped_by": None}, ()),
        ({"warmed_by": "cap"}, (Mark.CAPPED,)),
        ({"stopped_by": "max_samples"}, (Mark.CAPPED,)),
        ({"stopped_by": "max_seconds"}, (Mark.CAPPED,)),
    ],
)
def test_what_ended_at_a_cap_is_capped(ended: dict[str, str | None], marks: tuple[Mark, ...]):
    assert marks_of(row(**ended)) == marks


@pytest.mark.parametrize(("reasons", "marks"), [(0, ()), (POWER_CAP, (Mark.THROTTLED,))])
def test_a_cell_whose_clock_was_held_down_is_throttled(reasons: int, marks: tuple[Mark, ...]):
    plain = make_record(make_task(), milliseconds=EVEN)
    record = with_telemetry(plain, clock_mhz=[1980] * 40, throttle_reasons=[reasons] * 40)

    assert marks_of(make_row(record)) == marks
