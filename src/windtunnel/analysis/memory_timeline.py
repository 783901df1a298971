"""The levels of a ledger through its step, thinned so that a page can draw them, with every peak kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from windtunnel.analysis.memory_ledger import CATEGORIES, Ints, LedgerView
from windtunnel.records.memory_ledger import Category

MOST_POINTS = 2000
"""More cannot be told apart on a screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Bands of categories through a step.

    `events` are the points that are kept, counted from the beginning of the step; `bands` has the level of each
    category that is ever there, at these points. `num_events` is how many events the step had in all.
    """

    events: tuple[int, ...]
    bands: Mapping[Category, tuple[int, ...]]
    num_events: int

    @property
    def is_thinned(self) -> bool:
        """Whether there are fewer points than events."""
        return len(self.events) < self.num_events + 1


def timeline(view: LedgerView, *, most_points: int = MOST_POINTS) -> Timeline | None:
    """Return the bands of a step at `most_points` points or a few more; None where the step did not begin.

    Each stretch of equal length keeps its first, its highest and its lowest point; the bounds and the peak of each
    phase are kept beside them, so that no peak is ever smaller than it was.
    """
    if view.step is None:
        return None
    begin, end = view.step.begin, view.step.end
    level = view.total[begin : end + 1]
    bounds = [edge - begin for span in view.ledger.phases for edge in (span.begin, span.end)]
    peaks = [moment.event - begin for moment in view.moments if moment.event >= begin]
    points = np.unique(np.concatenate([_thinned(level, most_points), np.array([*bounds, *peaks], dtype=np.int64)]))
    bands: dict[Category, tuple[int, ...]] = {}
    for category in CATEGORIES:
        at_points = view.levels(category)[begin : end + 1][points]
        if at_points.any():
            bands[category] = tuple(int(value) for value in at_points)
    return Timeline(events=tuple(int(point) for point in points), bands=bands, num_events=end - begin)


def _thinned(level: Ints, most_points: int) -> Ints:
    """Return places of a series: the first, highest and lowest of each of equally long stretches."""
    if len(level) <= most_points:
        return np.arange(len(level), dtype=np.int64)
    length = -(-len(level) // (most_points // 3))
    num_stretches = -(-len(level) // length)
    padded = np.concatenate([level, np.full(num_stretches * length - len(level), level[-1])])
    stretches = padded.reshape(num_stretches, length)
    first = np.arange(num_stretches, dtype=np.int64) * length
    chosen = np.concatenate([first, first + stretches.argmax(axis=1), first + stretches.argmin(axis=1)])
    return np.minimum(chosen, len(level) - 1)
