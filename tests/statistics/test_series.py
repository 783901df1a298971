import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from windtunnel.statistics.series import Irregularities, irregularities_of

TRIALS = 500
N = 100
LABELS = ("trend", "step", "two_states")


def label_of(series: Sequence[float]) -> str:
    found = irregularities_of(series)
    return next((label for label in LABELS if getattr(found, label) is not None), "clean")


@pytest.fixture(scope="module")
def labelled(noise: ModuleType) -> list[tuple[str, str]]:
    """Pairs of truth and label, from 500 series of 100 samples of each kind."""
    kinds = {
        "trend": (noise.ramp,),
        "step": (noise.step,),
        "two_states": (noise.two_states,),
        "clean": (noise.iid, noise.ar1, noise.outliers),
    }
    draw = np.random.default_rng(4)
    return [(truth, label_of(one)) for truth, kind in kinds.items() for drawn in kind for one in drawn(draw, TRIALS, N)]


@pytest.mark.parametrize("label", LABELS)
def test_what_is_known_to_be_there_is_recognised(labelled: list[tuple[str, str]], label: str):
    right = sum(truth == found == label for truth, found in labelled)
    wrong = sum((truth == label) != (found == label) for truth, found in labelled)

    assert 2 * right / (2 * right + wrong) >= 0.95  # F1


@pytest.mark.parametrize("n", [30, 50, 100, 300])
@pytest.mark.parametrize("kind", ["iid", "ar1"])
def test_clean_series_are_flagged_in_at_most_5_percent(noise: ModuleType, kind: str, n: int):
    series = noise.MODELS[kind].draw(np.random.default_rng(5), TRIALS, n)

    assert np.mean([not irregularities_of(one).is_clean for one in series]) <= 0.05


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


def test_a_slow_first_sample_is_told_apart_from_the_rest():
    draw = np.random.default_rng(8)
    series = 1 + 0.01 * draw.standard_normal(100)
    series[0] = 3.0

    found = irregularities_of(series)

    assert found.slow_first is not None
    assert found.slow_first.ratio == pytest.approx(3 / np.median(series[1:]))
    assert label_of(series) == "clean"


def test_a_step_after_a_slow_first_sample_is_counted_from_the_first():
    found = irregularities_of([9.0, *[1.0, 1.01] * 30, *[1.1, 1.11] * 20])

    assert found.slow_first is not None
    assert found.step is not None
    assert found.step.index == 61


def test_a_first_sample_in_the_slower_of_two_states_is_not_slow():
    found = irregularities_of(([1.2] + [1.0] * 9 + [1.2] * 2) * 10)

    assert found.two_states is not None
    assert found.slow_first is None


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
