"""Where a series of one number a run changes its level: the step of `series`, looked for again on both sides of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from windtunnel.statistics.series import FEWEST_SAMPLES, Irregularities, irregularities_of

FEWEST_BESIDE = 5
"""A level holds for at least so many numbers; fewer are outliers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePoint:
    """From number `index` (from 0) on the level is another one; both levels are medians up to the next change."""

    index: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """The change as a fraction of the level before."""
        return self.after / self.before - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """What a series did: its changes in order, and what else is irregular about it where it has no change.

    `is_scanned` is False for fewer than 30 numbers, of which nothing is said.
    """

    changes: tuple[ChangePoint, ...]
    irregularities: Irregularities
    is_scanned: bool


def course_of(values: Sequence[float]) -> Course:
    """Look for changes of level in numbers in the order of time.

    Each is tested against autocorrelated noise. After a step both sides are looked at again, as long as they have 30
    numbers; a level that comes back is found as two states, and its switches count where each level lasts. A trend or
    states that go to and fro are no change: they are in `irregularities`.

    Source: binary segmentation (Vostrikova 1981), with the scan of `irregularities_of` as its test.
    """
    found = irregularities_of(values) if len(values) >= FEWEST_SAMPLES else Irregularities()
    places = sorted(_places(values, 0))
    ends = [0, *places, len(values)]
    levels = [median(values[begin:end]) for begin, end in pairwise(ends)] if places else []
    changes = tuple(
        ChangePoint(index=place, before=before, after=after)
        for place, (before, after) in zip(places, pairwise(levels), strict=True)
    )
    return Course(changes=changes, irregularities=found, is_scanned=len(values) >= FEWEST_SAMPLES)


def _places(values: Sequence[float], offset: int) -> list[int]:
    if len(values) < FEWEST_SAMPLES:
        return []
    found = irregularities_of(values)
    if found.step:
        inner = [found.step.index]
    elif found.two_states:
        inner = _switches(values, (found.two_states.low + found.two_states.high) / 2)
    else:
        inner = []
    if found.slow_start and found.slow_start.count >= FEWEST_BESIDE:  # in a history a long slow start is a level, too
        inner = [found.slow_start.count, *(place for place in inner if place > found.slow_start.count)]
    ends = [0, *inner, len(values)]
    if not inner or min(end - begin for begin, end in pairwise(ends)) < FEWEST_BESIDE:
        return []
    parts = pairwise(ends)
    deeper = [place for begin, end in parts for place in _places(values[begin:end], offset + begin)]
    return [*(offset + place for place in inner), *deeper]


def _switches(values: Sequence[float], middle: float) -> list[int]:
    is_high = [value > middle for value in values]
    return [place for place in range(1, len(values)) if is_high[place] != is_high[place - 1]]
