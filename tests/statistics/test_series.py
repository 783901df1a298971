import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from windtunnel.statistics.series import (
    Irregularities,
    SlowStart,
    irregularities_of,
    irregularities_of_each,
    level_intervals,
)

TRIALS = 500
LABELS = ("trend", "step", "two_states")


def labels_of(series: Sequence[Sequence[float]]) -> list[str]:
    found = irregularities_of_each(series)
    return [next((label for label in LABELS if getattr(one, label) is not None), "clean") for one in found]


@pytest.fixture(scope="module", params=[100, 300])
def labelled(noise: ModuleType, request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """Pairs of truth and label, from 500 series of 100 and of 300 samples of each kind."""
    kinds = {
        "trend": (noise.ramp,),
        "step": (noise.step,),
        "two_states": (noise.two_states,),
        "clean": (noise.iid, noise.ar1, noise.outliers),
    }
    draw = np.random.default_rng(4)
    drawn = [(truth, draw_kind(draw, TRIALS, request.param)) for truth, kind in kinds.items() for draw_kind in kind]
    return [(truth, label) for truth, series in drawn for label in labels_of(series)]


@pytest.mark.parametrize("label", LABELS)
def test_what_is_known_to_be_there_is_recognised(labelled: list[tuple[str, str]], label: str):
    assert f1(labelled, label) >= 0.95


def f1(labelled: Sequence[tuple[object, object]], label: object) -> float:
    right = sum(truth == found == label for truth, found in labelled)
    wrong = sum((truth == label) != (found == label) for truth, found in labelled)
    return 2 * right / (2 * right + wrong)


@pytest.mark.parametrize("n", [30, 50, 100, 300])
@pytest.mark.parametrize("kind", ["iid", "ar1"])
def test_clean_series_are_flagged_in_at_most_5_percent(noise: ModuleType, kind: str, n: int):
    series = noise.MODELS[kind].draw(np.random.default_rng(5), TRIALS, n)

    assert np.mean([not found.is_clean for found in irregularities_of_each(series)]) <= 0.05


def test_two_states_come_with_both_levels_and_their_share(noise: ModuleType):
    draw = np.random.default_rng(6)
    is_high = np.tile(np.repeat([0, 1], (12, 8)), 10)
    series = 2 + 0.06 * is_high + 0.004 * draw.standard_normal(200)

    found = irregularities_of(series).two_states

    assert found is not None
    assert (found.low, found.high) == pytest.approx((2, 2.06), abs=5 * 0.004 / math.sqrt(80))
    assert (found.share_high, found.switches) == (0.4, 19)


def test_a_step_comes_with_its_place_and_its_height():
    series = [1.0, 1.01] * 30 + [1.1, 1.11] * 20

    found = irregularities_of(series).step

    assert found is not None
    assert (found.index, found.change) == (60, pytest.approx(1.105 / 1.005 - 1))


def test_a_step_without_noise_is_found_in_nanoseconds():
    found = irregularities_of([10**9] * 40 + [2 * 10**9] * 60)

    assert found.step is not None
    assert (found.step.index, found.step.change) == (40, pytest.approx(1))


def test_a_trend_comes_with_its_change_and_the_correlation_of_its_blocks():
    draw = np.random.default_rng(7)
    series = np.linspace(1, 0.9, 200) + 0.005 * draw.standard_normal(200)
    blocks = [float(np.median(block)) for block in np.split(series, 10)]

    found = irregularities_of(series).trend

    assert found is not None
    assert found.change == pytest.approx(-0.1 / 0.95, rel=0.05)
    assert found.kendall_tau == pytest.approx(stats.kendalltau(range(10), blocks).statistic)


def with_slow_start(noise: ModuleType, kind: str, n: int, count: int) -> np.ndarray:
    """Draw series whose first `count` samples, and no others, are 20 to 200 % slower."""
    draw = np.random.default_rng(count)
    series = noise.MODELS[kind].draw(draw, TRIALS, n)
    series[:, :count] *= draw.uniform(1.2, 3, (TRIALS, count))
    return series


def start_of(found: Irregularities) -> int:
    return found.slow_start.count if found.slow_start else 0


@pytest.mark.parametrize("n", [31, 100])
@pytest.mark.parametrize("kind", ["iid", "ar1"])
@pytest.mark.parametrize("count", range(11))
def test_exactly_the_slow_leading_samples_are_blamed(noise: ModuleType, kind: str, n: int, count: int):
    found = irregularities_of_each(with_slow_start(noise, kind, n, count))

    assert np.mean([start_of(one) == count for one in found]) >= 0.98  # a sample may be slow by its own noise


def test_every_length_of_a_slow_start_is_recognised(noise: ModuleType):
    pairs = [
        (count, start_of(found))
        for count in range(11)
        for kind in ("iid", "ar1")
        for found in irregularities_of_each(with_slow_start(noise, kind, 100, count))
    ]

    assert min(f1(pairs, count) for count in range(11)) >= 0.99


@pytest.mark.parametrize("place", [1, 2, 50, 99])
def test_a_single_slow_sample_after_the_first_is_no_slow_start(noise: ModuleType, place: int):
    series = noise.iid(np.random.default_rng(8), 100, 100)
    series[:, place] = 3

    assert {start_of(found) for found in irregularities_of_each(series)} == {0}


def test_the_ratio_of_a_slow_start_is_that_of_its_first_sample():
    draw = np.random.default_rng(8)
    series = 1 + 0.01 * draw.standard_normal(100)
    series[:3] = 3, 2, 1.5

    found = irregularities_of(series)

    assert found == Irregularities(slow_start=SlowStart(count=3, ratio=float(3 / np.median(series[3:]))))


def test_what_is_slow_for_more_than_a_third_is_a_step():
    found = irregularities_of([1.1, 1.11] * 20 + [1.0, 1.01] * 30)

    assert found.slow_start is None
    assert found.step is not None
    assert found.step.index == 40


def test_a_step_after_a_slow_start_is_counted_from_the_first_sample():
    found = irregularities_of([9.0, 8.0, *[1.0, 1.01] * 30, *[1.1, 1.11] * 20])

    assert found.slow_start is not None
    assert found.step is not None
    assert (found.slow_start.count, found.step.index) == (2, 62)


def test_leading_samples_in_the_slower_of_two_states_are_no_slow_start():
    found = irregularities_of(([1.2] * 2 + [1.0] * 9 + [1.2]) * 10)

    assert found.slow_start is None
    assert found.two_states is not None
    assert (found.two_states.share_high, found.two_states.switches) == (0.25, 20)


def test_only_what_is_slower_than_both_states_is_a_slow_start():
    found = irregularities_of([9.0, *([1.2] * 2 + [1.0] * 9 + [1.2]) * 10])

    assert found.slow_start is not None
    assert found.two_states is not None
    assert (found.slow_start.count, found.two_states.switches) == (1, 20)


def test_both_levels_of_two_states_lie_in_their_intervals(noise: ModuleType):
    series = noise.two_states(np.random.default_rng(10), TRIALS, 100)
    found = [(one, irregularities_of(one)) for one in series]

    levels = [pair for pair in (level_intervals(one, labels) for one, labels in found) if pair is not None]

    truths = (1 - noise.STATE_GAP / 2, 1 + noise.STATE_GAP / 2)
    for level, truth in zip(zip(*levels, strict=True), truths, strict=True):
        assert np.mean([one.low is not None and one.low <= truth <= one.high for one in level]) >= 0.95
    assert len(levels) >= 0.9 * TRIALS


def test_a_series_without_two_states_has_no_levels():
    series = [1.0] * 60

    assert level_intervals(series, irregularities_of(series)) is None


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 29, 30, 31, 100, 300])
def test_many_noisy_series_get_the_labels_that_each_gets_alone(noise: ModuleType, n: int):
    draws = (*(model.draw for model in noise.MODELS.values()), *((noise.step,) if n >= 5 else ()))
    drawn = [draw(np.random.default_rng(n), 15, n) for draw in draws]
    starts = [np.concatenate((one[: n // 4] + 1, one[n // 4 :])) for kind in drawn for one in kind]
    series = [*(one for kind in drawn for one in (*kind, *np.round(kind, 2))), *starts]

    assert irregularities_of_each(series) == tuple(irregularities_of(one) for one in series)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=60), max_size=10))
def test_many_series_of_mixed_lengths_get_the_labels_that_each_gets_alone(series: list[list[int]]):
    assert irregularities_of_each(series) == tuple(irregularities_of(one) for one in series)


@pytest.mark.parametrize("series", [[1.0], [2, 1], [5] * 4, [1, 2] * 14, [5] * 100, [0] * 60])
def test_short_and_equal_series_are_clean(series: list[float]):
    assert irregularities_of(series) == Irregularities()


@pytest.mark.parametrize("scale", [1, 1e-9, 1e9])
def test_the_unit_does_not_matter(noise: ModuleType, scale: float):
    series = noise.ramp(np.random.default_rng(9), 1, 100)[0]

    found, scaled = irregularities_of(series), irregularities_of(series * scale)

    assert found.trend is not None
    assert scaled.trend is not None
    assert scaled.trend.change == pytest.approx(found.trend.change)
