"""Find the last of an ordered range that fits: start where it is predicted, bracket outwards, halve what is left."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MOST_CONTRADICTIONS = 3
"""After so many values that failed once and fitted later, what is found is no frontier, and the search ends."""

PREDICTED_WITHIN = 1 / 16
"""The second probe is so far from the prediction, of which it is a share: the answer is mostly between these two."""

_BEYOND_HALVING = 2  # probes at the prediction and beside it
_CONFIRMING = 1


class Outcome(StrEnum):
    """What a probe says of one value."""

    FITS = "fits"
    OUT = "out of memory"
    BROKEN = "failed otherwise"
    """It failed for another reason, which may not come again."""
    REFUSED = "refused"
    """It was turned down before anything was tried, as it always would be."""


Probe = Callable[[int, int], Outcome]
"""Tries a place of the range, given which attempt at it this is, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A probe that was made: the place, which attempt at it, and what came of it."""

    place: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Bracket:
    """Where a range stops to fit, as far as it was found.

    Attributes:
        largest: The largest place that fitted; None where none did.
        smallest: The smallest place above it that did not; None where none failed.
        tried: Every probe, in order.
        contradictions: Places that failed and fitted at another attempt.
        broken: The place whose failure was not one of memory and ended the search; None where it came to its end.
        is_settled: Whether `smallest` follows `largest` at once, or one of them is the end of the range.
    """

    largest: int | None
    smallest: int | None
    tried: tuple[Tried, ...]
    contradictions: tuple[int, ...]
    broken: int | None
    is_settled: bool


def most_probes(size: int) -> int:
    """Return how many probes `bracket` makes at most in a range of `size` places: ceil(log2(size)) + 3.

    Halving alone needs ceil(log2(size + 1)), as the answer may also be that none fits; what is beyond that pays for
    looking at the prediction first, and for a second look at the failure that was found. A place that failed once and
    fitted later begins a search of what is above it, with as many probes again; a failure that is not one of memory
    is tried twice.
    """
    return math.ceil(math.log2(size)) + _BEYOND_HALVING + _CONFIRMING


def bracket(size: int, probe: Probe, *, predicted: int | None = None) -> Bracket:
    """Return where a range stops to fit, by as few probes as the prediction is good.

    What fits is proof. What fails may have had a guest on the device: unless it fails right after the place that was
    predicted as the last to fit, the failure that bounds the answer is tried once more.

    Args:
        size: Number of places; larger ones need more.
        probe: Tries one place.
        predicted: The last place that should fit, -1 where none should; None: not known.
    """
    assert size > 0
    search = _Search(size, probe, None if predicted is None else max(-1, min(predicted, size - 1)))
    search.run()
    return search.result()


class _Search:
    """A search in progress: `low` is the largest place that fitted or -1, `high` the smallest that failed or `size`."""

    def __init__(self, size: int, probe: Probe, predicted: int | None) -> None:
        self._size = size
        self._probe = probe
        self._predicted = predicted
        self._low, self._high = -1, size
        self._tried: list[Tried] = []
        self._failed: set[int] = set()
        self._contradictions: list[int] = []
        self._broken: int | None = None
        self._left = most_probes(size) - _CONFIRMING

    def run(self) -> None:
        while self._broken is None and len(self._contradictions) < MOST_CONTRADICTIONS:
            if self._high - self._low > 1:
                self._look(self._next())
            elif self._needs_second_look():
                self._look(self._high)
            else:
                return

    def result(self) -> Bracket:
        return Bracket(
            largest=self._low if self._low >= 0 else None,
            smallest=self._high if self._high < self._size else None,
            tried=tuple(self._tried),
            contradictions=tuple(self._contradictions),
            broken=self._broken,
            is_settled=self._high - self._low == 1,
        )

    def _next(self) -> int:
        """Return the place to try: the one preferred, moved to where halving can still end in time."""
        reach = 2 ** max(0, self._left - 1)
        return max(self._high - reach, min(self._preferred(), self._low + reach), self._low + 1)

    def _preferred(self) -> int:
        """Return the prediction, then what is ever further from it until both ends are known; then halves."""
        middle = (self._low + self._high) // 2
        if self._predicted is None or (self._low >= 0 and self._high < self._size):
            return middle
        if not self._tried:
            return max(self._predicted, 0)
        step = (1 + max(0, int(PREDICTED_WITHIN * self._predicted))) * 2 ** (len(self._tried) - 1)
        if self._low >= 0:
            return min(self._low + step, self._high - 1)
        return max(self._high - step, 0)

    def _look(self, place: int) -> None:
        outcome = self._try(place)
        if outcome is Outcome.BROKEN:
            outcome = self._try(place)
        self._left -= 1
        match outcome:
            case Outcome.FITS:
                if place in self._failed:
                    self._contradict(place)
                self._low = place
            case Outcome.OUT:
                self._failed.add(place)
                self._high = place
            case Outcome.BROKEN | Outcome.REFUSED:
                self._broken = place

    def _try(self, place: int) -> Outcome:
        attempt = self._attempts(place)
        outcome = self._probe(place, attempt)
        self._tried.append(Tried(place=place, attempt=attempt, outcome=outcome))
        return outcome

    def _contradict(self, place: int) -> None:
        """Search again above a place that failed before and fits now, up to the next place that failed."""
        self._contradictions.append(place)
        self._failed.discard(place)
        self._high = min((failed for failed in self._failed if failed > place), default=self._size)
        self._predicted = None
        self._left = most_probes(self._size) - _CONFIRMING

    def _needs_second_look(self) -> bool:
        """Whether the failure that bounds the answer is neither expected there nor was seen twice."""
        return self._high < self._size and self._attempts(self._high) < 2 and self._low != self._predicted

    def _attempts(self, place: int) -> int:
        return sum(tried.place == place for tried in self._tried)
