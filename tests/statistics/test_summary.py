import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.statistics.summary import spread_of, spreads_of, summarize

series = st.lists(st.integers(min_value=1, max_value=10**12), min_size=1, max_size=60)
EPSILON = np.finfo(np.float64).eps


def close_to(exact: float, nanoseconds: list[int]) -> object:
    """Allow the rounding of as many float64 additions as there are samples, at their size."""
    budget = 4 * EPSILON * len(nanoseconds) * max(nanoseconds) * 1e-9
    return pytest.approx(exact, rel=0, abs=budget)


@given(series)
def test_the_mean_is_the_exact_one(nanoseconds: list[int]):
    exact = Fraction(sum(nanoseconds), len(nanoseconds) * 10**9)

    assert summarize(nanoseconds).mean == close_to(float(exact), nanoseconds)


@given(series.filter(lambda values: len(values) > 1))
def test_the_standard_deviation_divides_by_one_less_than_the_samples(nanoseconds: list[int]):
    exact = statistics.stdev(Fraction(value, 10**9) for value in nanoseconds)

    assert summarize(nanoseconds).std == close_to(float(exact), nanoseconds)


@given(series)
def test_the_median_is_the_middle_one_or_between_the_two(nanoseconds: list[int]):
    exact = statistics.median(Fraction(value, 10**9) for value in nanoseconds)

    assert summarize(nanoseconds).median == close_to(float(exact), nanoseconds)


@given(series)
def test_the_quartiles_are_those_of_numpy(nanoseconds: list[int]):
    low, high = np.quantile(np.asarray(nanoseconds) * 1e-9, [0.25, 0.75])

    summary = summarize(nanoseconds)

    assert summary.low_quartile == close_to(low, nanoseconds)
    assert summary.high_quartile == close_to(high, nanoseconds)


@given(series)
def test_no_sample_is_dropped(nanoseconds: list[int]):
    summary = summarize([*nanoseconds, 10**15])

    assert summary.n == len(nanoseconds) + 1
    assert summary.maximum == pytest.approx(1e6)
    assert summary.minimum == pytest.approx(min(nanoseconds) * 1e-9)


@given(series.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
def test_the_order_of_the_samples_does_not_matter(both: tuple[list[int], list[int]]):
    given_order, another = (summarize(values) for values in both)

    assert given_order.median == another.median
    assert given_order.low_quartile == another.low_quartile
    assert given_order.mean == close_to(another.mean, both[0])


def test_one_sample_has_a_location_and_no_spread():
    summary = summarize([2_000_000])

    assert summary.n == 1
    assert summary.mean == summary.median == summary.minimum == summary.maximum
    assert summary.median == pytest.approx(0.002)
    assert summary.std is None
    assert summary.cv is None


def test_equal_samples_have_no_spread():
    summary = summarize([5_000_000] * 7)

    assert summary.std == pytest.approx(0)
    assert summary.low_quartile == summary.high_quartile == pytest.approx(0.005)


def test_the_coefficient_of_variation_is_the_deviation_over_the_mean():
    summary = summarize([1_000_000, 3_000_000])

    assert summary.cv == pytest.approx(math.sqrt(2) / 2)


def test_samples_of_no_time_at_all_have_no_coefficient_of_variation():
    assert summarize([0, 0]).cv is None


@given(series)
def test_a_spread_is_that_of_the_summary(nanoseconds: list[int]):
    spread, summary = spread_of(nanoseconds), summarize(nanoseconds)

    assert (spread.mean, spread.std, spread.cv) == (summary.mean, summary.std, summary.cv)


@given(st.lists(series, min_size=1, max_size=6))
def test_many_series_have_the_spreads_that_each_has_alone(many: list[list[int]]):
    spreads = spreads_of(many)

    assert [spread.mean for spread in spreads] == [
        close_to(spread_of(nanoseconds).mean, nanoseconds) for nanoseconds in many
    ]
    for spread, nanoseconds in zip(spreads, many, strict=True):
        alone = spread_of(nanoseconds).std
        assert spread.std == (None if alone is None else close_to(alone, nanoseconds))
