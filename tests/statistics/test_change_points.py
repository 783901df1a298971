"""Changes of level in one number a run: found where they are, and few where there are none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.statistics.change_points import course_of


def noise(n: int, *, seed: int = 0, spread: float = 0.01) -> NDArray[np.float64]:
    return 1 + spread * np.random.default_rng(seed).standard_normal(n)


def levels(*parts: tuple[int, float], seed: int = 0) -> list[float]:
    centres = np.concatenate([np.full(count, level) for count, level in parts])
    return list(centres * noise(len(centres), seed=seed))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("parts", "places"),
    [
        (((30, 1.0), (30, 1.1)), [30]),
        (((40, 1.0), (20, 0.9)), [40]),
        (((10, 1.2), (40, 1.0)), [10]),
        (((20, 1.0), (20, 1.2), (20, 1.0)), [20, 40]),
        (((40, 1.0), (40, 1.1), (40, 1.25)), [40, 80]),
        (((60, 1.0),), []),
    ],
)
def test_a_level_that_lasts_is_found_where_it_begins(
    parts: tuple[tuple[int, float], ...], places: list[int], seed: int
):
    course = course_of(levels(*parts, seed=seed))

    assert [change.index for change in course.changes] == pytest.approx(places, abs=2)


def test_a_change_is_said_by_the_levels_beside_it():
    (change,) = course_of(levels((40, 1.0), (40, 1.1))).changes

    assert change.change == pytest.approx(0.1, abs=0.01)


def test_steady_series_have_a_change_in_at_most_3_percent():
    draw = np.random.default_rng(7)

    found = sum(bool(course_of(list(1 + 0.01 * draw.standard_normal(60))).changes) for _ in range(500))

    assert found <= 15


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_runs_are_not_judged(n: int):
    course = course_of([1.0] * (n // 2) + [2.0] * (n - n // 2))

    assert not course.is_scanned
    assert not course.changes


def test_one_outlier_is_no_change():
    values = list(noise(60))
    values[30] = 3.0

    assert not course_of(values).changes


def test_going_to_and_fro_is_no_change():
    values = list(noise(60) * np.where(np.arange(60) % 4 < 2, 1.0, 1.2))

    course = course_of(values)

    assert not course.changes
    assert course.irregularities.two_states
