import itertools
from types import ModuleType

import numpy as np
import pytest

from windtunnel.statistics.interval import Estimate, median_interval
from windtunnel.statistics.stopping import Stop, StoppingRule, StopReason

TRIALS = 2000


def never() -> float:
    raise AssertionError("the interval was computed between looks")


def ends_at(rule: StoppingRule, made: Estimate) -> bool:
    return rule.check(made.n, 0, lambda: made.relative_half_width) is not None


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
    ends, covered = [], []

    for series in model.draw(np.random.default_rng(3), TRIALS, 1000):
        looks = (n for n in range(1, 1001) if rule.is_look(n) or n == rule.max_samples)
        made = next(made for made in (median_interval(series[:n]) for n in looks) if ends_at(rule, made))
        ends.append(made.n)
        covered.append(made.low is not None and made.low <= model.median <= made.high)

    assert np.median(ends) <= samples
    assert np.mean(covered) >= coverage - 2 * np.sqrt(coverage * (1 - coverage) / TRIALS)
