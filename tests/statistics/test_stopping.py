import itertools
from functools import partial
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.statistics.interval import median_interval, median_intervals
from windtunnel.statistics.series import irregularities_of, level_intervals
from windtunnel.statistics.stopping import Stop, StoppingRule, StopReason, precision_of

TRIALS = 1000


def never() -> float:
    raise AssertionError("the interval was computed between looks")


def sampled(rule: StoppingRule, series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the samples that were taken when the rule, with the precision it is used with, ends the series."""
    looks = (n for n in range(1, rule.max_samples + 1) if rule.is_look(n) or n == rule.max_samples)
    return next(series[:n] for n in looks if rule.check(n, 0, partial(precision_of, series[:n])))


def stop_of(rule: StoppingRule, half_width: float | None, seconds_each: float = 0.0) -> Stop:
    """Sample until the rule ends it, with an interval that never changes."""
    for n in itertools.count(1):
        stop = rule.check(n, n * seconds_each, lambda: half_width)
        if stop is not None:
            return stop
    raise AssertionError


def test_looks_grow_by_half():
    rule = StoppingRule(target=0.01)

    assert [n for n in range(300) if rule.is_look(n)] == [32, 48, 72, 108, 162, 243]


def test_pairs_are_looked_at_earlier():
    rule = StoppingRule(target=0.01, first_look=16)

    assert [n for n in range(100) if rule.is_look(n)] == [16, 24, 36, 54, 81]


def test_the_interval_is_not_computed_between_looks():
    rule = StoppingRule(target=0.01)

    assert all(rule.check(n, 0, never) is None for n in range(1, 32))


def test_a_narrow_interval_ends_it_at_the_first_look():
    assert stop_of(StoppingRule(target=0.01), 0.01) == Stop(reason=StopReason.TARGET, n=32, seconds=0, half_width=0.01)


@pytest.mark.parametrize("half_width", [0.0101, None])
def test_a_wide_or_missing_interval_goes_on_to_the_most_samples_and_says_what_was_reached(half_width: float | None):
    stop = stop_of(StoppingRule(target=0.01, max_samples=100), half_width)

    assert stop == Stop(reason=StopReason.MAX_SAMPLES, n=100, seconds=0, half_width=half_width)


def test_time_ends_it_between_looks():
    stop = stop_of(StoppingRule(target=0.01, max_seconds=60), 0.5, seconds_each=1.5)

    assert (stop.reason, stop.n, stop.seconds) == (StopReason.MAX_SECONDS, 40, 60)


def test_a_very_slow_cell_still_gets_the_fewest_samples():
    stop = stop_of(StoppingRule(target=0.01, min_samples=10, max_seconds=60), 0.5, seconds_each=100)

    assert (stop.reason, stop.n) == (StopReason.MAX_SECONDS, 10)


def test_a_target_that_is_reached_at_a_cap_counts_as_reached():
    assert stop_of(StoppingRule(target=0.01, max_samples=20), 0.005).reason is StopReason.TARGET


def test_fewest_samples_above_the_first_look_move_it():
    assert stop_of(StoppingRule(target=0.01, min_samples=50), 0.0).n == 50


@pytest.mark.parametrize(
    "limits", [{"target": 0}, {"min_samples": 0}, {"max_seconds": 0}, {"first_look": 0}, {"max_samples": 9}]
)
def test_limits_that_cannot_be_kept_are_refused(limits: dict[str, int]):
    with pytest.raises(ValueError, match="above"):
        StoppingRule(**{"target": 0.01, **limits})


@pytest.mark.parametrize(
    ("kind", "samples", "coverage"), [("iid", 48, 0.94), ("ar1", 162, 0.85), ("outliers", 32, 0.95)]
)
def test_stopping_at_half_a_percent_is_early_and_covers(noise: ModuleType, kind: str, samples: int, coverage: float):
    model, rule = noise.MODELS[kind], StoppingRule(target=0.005, max_samples=1000)

    used = [sampled(rule, series) for series in model.draw(np.random.default_rng(3), TRIALS, 1000)]
    made = median_intervals(used)

    covered = [one.low is not None and one.low <= model.median <= one.high for one in made]
    assert np.median([one.n for one in made]) <= samples
    assert np.mean(covered) >= coverage - 2 * np.sqrt(coverage * (1 - coverage) / TRIALS)


def test_two_clock_states_are_sampled_until_both_levels_are_known(noise: ModuleType):
    rule, levels = StoppingRule(target=0.01, max_samples=1000), (1 - noise.STATE_GAP / 2, 1 + noise.STATE_GAP / 2)

    used = [sampled(rule, series) for series in noise.two_states(np.random.default_rng(3), 500, 1000)]

    found = [level_intervals(series, irregularities_of(series)) for series in used]
    covered = [
        pair is not None and all(one.low <= level <= one.high for one, level in zip(pair, levels, strict=True))
        for pair in found
    ]
    assert np.mean(covered) >= 0.8  # 29 % when only the median is looked at
    assert np.median([len(series) for series in used]) <= 48


def test_the_precision_is_that_of_the_median():
    series = [1.0, 1.01, 1.02, 1.01, 1.0, 1.03, 0.99] * 5

    assert precision_of(series) == median_interval(series).relative_half_width


@pytest.mark.parametrize("n", [5, 10, 29])
def test_the_precision_of_few_samples_is_that_of_the_median(n: int):
    series = ([1.0] * 5 + [1.1] * 5) * 3

    assert precision_of(series[:n]) == median_interval(series[:n]).relative_half_width


def test_the_precision_of_two_states_is_that_of_the_level_known_worse():
    draw = np.random.default_rng(4)
    low, high = 1 + 0.001 * draw.standard_normal(70), 1.5 + 0.01 * draw.standard_normal(30)
    series = np.concatenate([np.concatenate((low[7 * i : 7 * i + 7], high[3 * i : 3 * i + 3])) for i in range(10)])

    assert precision_of(series) == median_interval(high).relative_half_width


def test_two_states_that_switched_three_times_are_not_known_yet():
    series = ([1.0, 1.001] * 10 + [1.1, 1.101] * 10) * 2

    assert irregularities_of(series).two_states is not None
    assert precision_of(series) is None
    assert precision_of([*series, *series[:20]]) is not None


def test_two_neighbours_far_off_ask_for_more_samples():
    draw = np.random.default_rng(4)
    series = 1 + 0.003 * draw.standard_normal(100)
    series[30:32] = 1.03

    assert [precision_of(series[:n]) is None for n in (31, 32, 99, 100)] == [False, True, True, False]


def test_outliers_alone_ask_for_no_more_samples():
    draw = np.random.default_rng(4)
    series = 1 + 0.003 * draw.standard_normal(32)
    series[[3, 9, 31]] = 2.0

    assert precision_of(series) == median_interval(series).relative_half_width
