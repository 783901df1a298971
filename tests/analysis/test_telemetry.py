"""Records whose steps and readings are known: the judgement of clocks, reasons and levels follows by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factory import make_record, make_task, with_telemetry
from windtunnel.analysis.telemetry import Conditions, clock_of_samples, conditions_of, levels_of
from windtunnel.records.record import Record, Samples, record_from_json
from windtunnel.statistics.series import irregularities_of

POWER_CAP, IDLE, CHOSEN, THERMAL, UNNAMED = 0x4, 0x1, 0x2, 0x40, 0x800


def record_of(milliseconds: Sequence[float], *, warmup: Sequence[float] = ()) -> Record:
    """Return a record of one phase with these times."""
    task = make_task(device="cuda:0", steps=len(milliseconds), warmup=len(warmup))
    record = make_record(task, milliseconds=milliseconds)
    (series,) = record.samples
    warm = tuple(round(1e6 * ms) for ms in warmup)
    return replace(record, samples=(replace(series, warmup_nanoseconds=warm),))


def judged(record: Record) -> Conditions:
    conditions = conditions_of(record)
    assert conditions is not None
    return conditions


def test_a_record_without_telemetry_is_not_judged():
    assert conditions_of(record_of([10.0] * 20)) is None


def test_a_record_without_times_of_its_steps_is_not_judged():
    record = replace(with_telemetry(record_of([10.0] * 20), clock_mhz=[1980] * 20), began_nanoseconds=())

    assert conditions_of(record) is None
    assert clock_of_samples(record) == (None,) * 20


def test_a_step_has_the_mean_clock_of_the_readings_within_it():
    """Steps of 40 ms, readings at 0, 10, 20 ... ms; one at a boundary belongs to both steps."""
    record = with_telemetry(record_of([40.0, 40.0]), clock_mhz=[1000, 1100, 1200, 1300, 1400, 500, 500, 500, 500])

    assert clock_of_samples(record) == (1200.0, (1400 + 4 * 500) / 5)


def test_a_step_between_two_readings_has_the_clock_of_the_nearest():
    """Steps begin at 0, 1, 2, 3 ms and readings are at 0 and 4.5 ms."""
    record = with_telemetry(record_of([1.0] * 4), clock_mhz=[1000, 2000], period_milliseconds=4.5)

    assert clock_of_samples(record) == (1000.0, 1000.0, 2000.0, 2000.0)


def test_a_step_far_from_every_reading_has_no_clock():
    record = with_telemetry(record_of([1500.0] * 3), clock_mhz=[1000])

    assert clock_of_samples(record) == (1000.0, None, None)


def test_readings_during_warm_up_do_not_count():
    record = with_telemetry(
        record_of([10.0] * 10), clock_mhz=[300] * 5 + [1980] * 11, power_watts=[90.0] * 5 + [700.0] * 11
    )
    record = replace(record, began_nanoseconds=tuple(begin + 50_000_000 for begin in record.began_nanoseconds))

    conditions = judged(record)

    assert conditions.num_readings == 11
    assert (conditions.low_mhz, conditions.median_mhz, conditions.high_mhz) == (1980, 1980, 1980)
    assert conditions.median_watts == 700.0


def test_columns_that_the_sensors_do_not_know_are_not_known():
    conditions = judged(with_telemetry(record_of([10.0] * 10), clock_mhz=[1980] * 10))

    assert (conditions.median_watts, conditions.max_celsius, conditions.throttled_share) == (None, None, None)
    assert conditions.reasons == ()


def test_without_a_clock_there_are_no_cycles():
    record = with_telemetry(record_of([10.0] * 10), clock_mhz=[0] * 10, temperature_celsius=[40] * 9 + [55])
    assert record.telemetry is not None

    conditions = judged(replace(record, telemetry=replace(record.telemetry, clock_mhz=())))

    assert (conditions.median_mhz, conditions.cycles, conditions.low_clock_share) == (None, None, None)
    assert conditions.max_celsius == 55


@pytest.mark.parametrize(("held", "is_throttled"), [(0, False), (5, False), (6, True), (100, True)])
def test_a_clock_held_down_in_more_than_five_percent_of_the_readings_is_throttled(held: int, is_throttled: bool):
    masks = [POWER_CAP | CHOSEN] * held + [CHOSEN] * (100 - held)

    conditions = judged(with_telemetry(record_of([10.0] * 100), clock_mhz=[1980] * 100, throttle_reasons=masks))

    assert conditions.throttled_share == held / 100
    assert conditions.is_throttled == is_throttled


@pytest.mark.parametrize("mask", [0, IDLE, CHOSEN, 0x100, IDLE | CHOSEN | 0x100])
def test_an_idle_or_chosen_clock_is_not_throttled(mask: int):
    conditions = judged(with_telemetry(record_of([10.0] * 20), clock_mhz=[1980] * 20, throttle_reasons=[mask] * 20))

    assert not conditions.is_throttled
    assert conditions.reasons == ()


def test_reasons_are_named_with_their_shares_largest_first():
    masks = [THERMAL] * 10 + [POWER_CAP | THERMAL] * 10 + [POWER_CAP] * 40 + [UNNAMED] * 5 + [0] * 35

    conditions = judged(with_telemetry(record_of([10.0] * 100), clock_mhz=[1980] * 100, throttle_reasons=masks))

    assert conditions.reasons == (
        ("software power cap", 0.5),
        ("hardware thermal slowdown", 0.2),
        ("reason 0x800", 0.05),
    )
    assert conditions.throttled_share == 0.65


@pytest.mark.parametrize(("low", "is_throttled"), [(5, False), (6, True)])
def test_a_clock_that_was_low_in_more_than_five_percent_of_the_steps_is_throttled(low: int, is_throttled: bool):
    """Readings in the middle of each step of 10 ms."""
    clocks = [1980] * (100 - low) + [1880] * low  # 1881 is 95 %
    record = with_telemetry(record_of([10.0] * 100), clock_mhz=clocks)
    record = replace(record, began_nanoseconds=tuple(begin - 5_000_000 for begin in record.began_nanoseconds))

    conditions = judged(record)

    assert conditions.low_clock_share == low / 100
    assert conditions.is_throttled == is_throttled


def test_a_clock_five_percent_down_is_not_low():
    record = with_telemetry(record_of([10.0] * 100), clock_mhz=[2000] * 50 + [1901] * 51)

    assert judged(record).low_clock_share == 0.0


def clocked(clocks: Sequence[int], *, gigacycles: float, noise: float = 0.0) -> Record:
    """Return steps that take the same number of cycles each, one reading in the middle of each step."""
    draw = np.random.default_rng(3)
    times = [1e6 * gigacycles / mhz * (1 + noise * draw.standard_normal()) for mhz in clocks]
    record = with_telemetry(record_of(times), clock_mhz=clocks)
    assert record.telemetry is not None
    (series,) = record.samples
    middles = tuple(begin + time // 2 for begin, time in zip(record.began_nanoseconds, series.nanoseconds, strict=True))
    return replace(record, telemetry=replace(record.telemetry, nanoseconds=middles))


def test_cycles_are_the_same_whatever_the_clock_is():
    fast, slow = clocked([1980] * 20, gigacycles=0.02), clocked([1500] * 20, gigacycles=0.02)

    assert judged(fast).cycles == pytest.approx(2e7, rel=1e-5)
    assert judged(slow).cycles == pytest.approx(2e7, rel=1e-5)


def test_a_series_with_two_states_of_the_clock_follows_it():
    conditions = judged(clocked(([1980] * 7 + [1900] * 5) * 5, gigacycles=0.02, noise=0.003))

    assert conditions.clock_correlation == pytest.approx(-0.85, abs=0.05)
    assert conditions.is_following_clock


def test_a_series_whose_clock_does_something_else_does_not_follow_it():
    times = [10.0 + 0.3 * (number % 2) for number in range(60)]
    record = with_telemetry(record_of(times), clock_mhz=([1980] * 7 + [1900] * 5) * 5 + [1980] * 2)

    conditions = judged(record)

    assert conditions.clock_correlation is not None
    assert abs(conditions.clock_correlation) < 0.3
    assert not conditions.is_following_clock


def test_a_clock_that_never_changes_correlates_with_nothing():
    record = with_telemetry(record_of([10.0, 10.1] * 20), clock_mhz=[1980] * 42)

    assert judged(record).clock_correlation is None


def test_equal_values_share_their_rank():
    """By hand: ranks of the clocks are 3 (five times) and 8 (five times), those of the times 10 to 1."""
    times = [19.0, 18.0, 17.0, 16.0, 15.0, 14.0, 13.0, 12.0, 11.0, 10.0]
    record = with_telemetry(record_of(times), clock_mhz=[1000] * 5 + [2000] * 5)
    assert record.telemetry is not None
    middles = tuple(begin + 5_000_000 for begin in record.began_nanoseconds)
    record = replace(record, telemetry=replace(record.telemetry, nanoseconds=middles))

    assert judged(record).clock_correlation == pytest.approx(-0.8703883)


SLOWING = [10.0, 10.02, 9.99, 10.01, 10.0] + [10.5, 10.8, 11.0, 11.2, 11.3] + [11.5, 11.52, 11.49, 11.5, 11.51] * 4


def test_cool_and_sustained_differ_when_steps_become_slower():
    levels = levels_of(record_of(SLOWING))

    assert levels is not None
    assert levels.cool == pytest.approx(0.010)
    assert levels.sustained == pytest.approx(0.0115)
    assert levels.change == pytest.approx(0.15)
    assert levels.is_changed


def test_a_device_is_cool_in_its_warm_up_steps():
    levels = levels_of(record_of(SLOWING[5:], warmup=SLOWING[:5]))

    assert levels is not None
    assert levels.cool == pytest.approx(0.010)


def test_a_slow_start_is_not_the_cool_level():
    levels = levels_of(record_of(SLOWING, warmup=[900.0, 40.0, 14.0]))

    assert levels is not None
    assert levels.cool == pytest.approx(0.010)


def test_steps_that_stay_as_they_are_have_one_level():
    draw = np.random.default_rng(0)

    levels = levels_of(record_of((10 + 0.1 * draw.standard_normal(100)).tolist()))

    assert levels is not None
    assert not levels.is_changed


def test_a_change_of_one_percent_is_none():
    levels = levels_of(record_of([10.0] * 20 + [10.1] * 60))

    assert levels is not None
    assert levels.change == pytest.approx(0.01)
    assert not levels.is_changed


def test_loud_steps_are_seldom_said_to_change():
    """With 10 % noise the medians of five and of fifty steps often differ by more than 2 %."""
    draw = np.random.default_rng(1)
    levels = [levels_of(record_of((10 + draw.standard_normal(100)).tolist())) for _ in range(300)]

    differ = sum(1 for level in levels if level is not None and abs(level.change) > 0.02)
    changed = sum(1 for level in levels if level is not None and level.is_changed)

    assert differ > 150
    assert changed <= 0.05 * 300


@pytest.mark.parametrize("count", [1, 9])
def test_few_steps_have_no_levels(count: int):
    assert levels_of(record_of([10.0] * count, warmup=[10.0] * 20)) is None


def test_a_record_without_samples_has_no_levels():
    record = replace(record_of([10.0]), samples=())

    assert levels_of(record) is None
    assert clock_of_samples(record) == ()


def test_levels_are_those_of_the_whole_step():
    record = record_of([10.0] * 20)
    part = Samples(phase="part", clock=record.samples[0].clock, nanoseconds=(1,) * 20)

    levels = levels_of(replace(record, samples=(part, *record.samples)))

    assert levels is not None
    assert levels.cool == pytest.approx(0.010)


def test_a_real_load_beyond_the_power_limit_is_seen_by_its_readings_and_by_its_times():
    """Matrix products on an H200 from rest on (benchmarks/throttle.py): after 60 ms the clock falls from its boost."""
    text = (Path(__file__).parents[1] / "data" / "series" / "power_bound.json").read_text(encoding="utf-8")
    record = record_from_json(text)

    conditions = judged(record)
    step = irregularities_of(record.samples[0].nanoseconds).step

    assert conditions.is_throttled
    assert [reason for reason, _ in conditions.reasons] == ["software power cap"]
    assert conditions.is_following_clock
    assert step is not None
    assert (step.index, step.change) == (44, pytest.approx(0.132, abs=0.001))
