"""The search for the last that fits, against oracles that know it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.sweep.bracketing import MOST_CONTRADICTIONS, PREDICTED_WITHIN, Bracket, Outcome, bracket, most_probes

SIZES = st.integers(1, 3000)


def fits_up_to(last: int) -> Callable[[int, int], Outcome]:
    """Return an oracle whose places up to `last` fit; -1: none does."""
    return lambda place, attempt: Outcome.FITS if place <= last else Outcome.OUT


def flaky(last: int, failing: Iterable[int]) -> Callable[[int, int], Outcome]:
    """Return an oracle in which some places that fit fail at the first attempt."""
    once = frozenset(failing)
    return lambda place, attempt: Outcome.OUT if place > last or (place in once and attempt == 0) else Outcome.FITS


def answer(found: Bracket) -> int:
    """Return the last place that fits, -1 where none does."""
    return -1 if found.largest is None else found.largest


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int]:
    """A range and its last place that fits."""
    size = draw(SIZES)
    return size, draw(st.integers(-1, size - 1))


@given(ranges(), st.none() | st.integers(-10, 4000))
def test_the_last_that_fits_is_found_in_log2_and_three_probes_whatever_was_predicted(
    case: tuple[int, int], predicted: int | None
):
    size, last = case

    found = bracket(size, fits_up_to(last), predicted=predicted)

    assert answer(found) == last
    assert found.smallest == (last + 1 if last + 1 < size else None)
    assert len(found.tried) <= math.ceil(math.log2(size)) + 3
    assert found.is_settled
    assert not found.contradictions


@given(st.integers(1, 3000), st.floats(-PREDICTED_WITHIN / 2, PREDICTED_WITHIN / 2))
def test_a_good_prediction_leaves_little_to_halve(last: int, error: float):
    """So it does in a range of any size: here of up to a million places."""
    found = bracket(10**6, fits_up_to(last), predicted=round(last * (1 + error)))

    assert answer(found) == last
    assert len(found.tried) <= 4 + math.ceil(math.log2(1 + 1.1 * last * PREDICTED_WITHIN))


@given(st.integers(1, 15))
def test_a_right_prediction_in_a_short_range_takes_two_probes(last: int):
    assert len(bracket(32, fits_up_to(last), predicted=last).tried) == 2


@given(ranges(), st.none() | st.integers(-1, 3000), st.data())
def test_what_failed_once_and_fits_is_tried_again_and_reported(
    case: tuple[int, int], predicted: int | None, data: st.DataObject
):
    size, last = case
    failing = data.draw(st.sets(st.integers(0, max(last, 0)), max_size=MOST_CONTRADICTIONS - 1))

    found = bracket(size, flaky(last, failing), predicted=predicted)

    right_after = {min(predicted, size - 1)} if predicted is not None and predicted + 1 in failing else set()
    assert answer(found) in {last} | right_after  # a failure just where it was predicted is believed
    assert set(found.contradictions) <= failing
    assert len(found.tried) <= (1 + len(found.contradictions)) * most_probes(size)


@given(ranges(), st.data())
def test_without_a_prediction_no_single_failure_hides_the_answer(case: tuple[int, int], data: st.DataObject):
    size, last = case
    failing = data.draw(st.sets(st.integers(0, max(last, 0)), max_size=MOST_CONTRADICTIONS - 1))

    found = bracket(size, flaky(last, failing))

    assert answer(found) == last
    assert found.is_settled


@given(SIZES, st.none() | st.integers(0, 3000), st.randoms(use_true_random=False))
def test_an_oracle_of_chance_ends_and_claims_only_what_it_said(size: int, predicted: int | None, chance):
    said: dict[int, list[Outcome]] = {}

    def probe(place: int, attempt: int) -> Outcome:
        assert attempt == len(said.get(place, ()))
        said.setdefault(place, []).append(chance.choice((Outcome.FITS, Outcome.OUT)))
        return said[place][-1]

    found = bracket(size, probe, predicted=predicted)

    assert len(found.tried) <= (1 + MOST_CONTRADICTIONS) * most_probes(size)
    assert found.largest is None or Outcome.FITS in said[found.largest]
    assert found.smallest is None or said[found.smallest][-1] is Outcome.OUT
    assert {place for place, outcomes in said.items() if len(set(outcomes)) > 1} == set(found.contradictions)


@given(ranges(), st.none() | st.integers(0, 3000))
def test_no_place_is_tried_more_than_twice(case: tuple[int, int], predicted: int | None):
    size, last = case

    found = bracket(size, fits_up_to(last), predicted=predicted)

    assert max(Counter(tried.place for tried in found.tried).values()) <= 2


def test_the_failure_that_bounds_the_answer_is_tried_again_unless_it_was_predicted():
    surprising = bracket(100, fits_up_to(40), predicted=50)
    expected = bracket(100, fits_up_to(40), predicted=40)

    assert [tried.attempt for tried in surprising.tried if tried.place == 41] == [0, 1]
    assert [tried.attempt for tried in expected.tried if tried.place == 41] == [0]


def test_a_failure_of_another_kind_is_tried_twice_and_ends_the_search():
    def probe(place: int, attempt: int) -> Outcome:
        return Outcome.BROKEN if place == 5 else Outcome.FITS

    found = bracket(10, probe, predicted=4)

    assert [(tried.place, tried.attempt) for tried in found.tried] == [(4, 0), (5, 0), (5, 1)]
    assert (found.largest, found.smallest, found.broken) == (4, None, 5)
    assert not found.is_settled


def test_a_failure_of_another_kind_that_does_not_come_again_changes_nothing():
    def probe(place: int, attempt: int) -> Outcome:
        return Outcome.BROKEN if (place, attempt) == (5, 0) else fits_up_to(7)(place, attempt)

    found = bracket(10, probe, predicted=4)

    assert (found.largest, found.smallest, found.broken) == (7, 8, None)


def test_what_is_refused_is_tried_once():
    found = bracket(1000, lambda place, attempt: Outcome.REFUSED, predicted=3)

    assert len(found.tried) == 1
    assert (found.largest, found.smallest, found.broken) == (None, None, 3)


@pytest.mark.parametrize("last", [-1, 0])
def test_a_range_of_one_place_has_two_answers(last: int):
    found = bracket(1, fits_up_to(last))

    assert answer(found) == last
    assert len(found.tried) <= 3
