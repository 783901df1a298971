import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from windtunnel.statistics.steady import is_steady


def test_fewer_than_ten_samples_are_never_steady():
    assert not any(is_steady([1.0] * n) for n in range(10))


def test_equal_samples_are_steady():
    assert is_steady([1.0] * 10)


def test_of_all_orders_of_two_windows_8_in_252_are_called_unsteady():
    orders = [
        [*earlier, *(rank for rank in range(10) if rank not in earlier)]
        for earlier in itertools.combinations(range(10), 5)
    ]

    assert Fraction(sum(not is_steady(order) for order in orders), len(orders)) == Fraction(8, 252)


def test_it_agrees_with_the_exact_test_of_scipy():
    draw = np.random.default_rng(1)
    for _ in range(200):
        series = draw.standard_normal(10) + np.repeat((0, 1.5), 5)

        exact = stats.mannwhitneyu(series[:5], series[5:], method="exact").pvalue

        assert is_steady(list(series)) == (exact > 0.05)


def test_only_the_last_ten_samples_count():
    assert is_steady([100, 50, 20, 10, *[5] * 10])
    assert not is_steady([*[5] * 100, 4, 4, 4, 4, 4])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_series_that_still_moves_is_not_steady_in_either_direction(sign: int):
    assert not is_steady([sign * value for value in range(10)])


def test_a_warm_up_that_decays_into_noise_ends_near_the_noise():
    draw = np.random.default_rng(2)
    left = []
    for _ in range(200):
        excess = np.exp(-np.arange(200) / 8)
        series = list(1 + excess + 0.01 * draw.standard_normal(200))

        end = next(n for n in range(1, 201) if is_steady(series[:n]))

        left.append(excess[end - 1])

    assert np.median(left) < 0.03  # three standard deviations of the noise, of a hundred at the start
