"""When sampling ends: what is reported is known precisely enough, or a cap is reached."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from windtunnel.statistics.batches import Floats
from windtunnel.statistics.interval import median_interval
from windtunnel.statistics.series import FEWEST_SAMPLES, irregularities_of, level_intervals

FIRST_LOOK = 32
"""Fewer samples say too little about their own autocorrelation."""

LOOK_GROWTH = 1.5
"""Looks are few and far apart: each one is another chance to stop by accident on samples that happen to agree."""

FEWEST_SWITCHES = 4
"""Two visits to each of two states. With 0 to 8, 96 to 98 % of the labelled series have both levels in their intervals,
but 8 ask for 108 samples, 4 for 48."""

ENOUGH_SAMPLES = 100
"""From here on two states that a clock switches between are labelled in 97 % of the series, at 30 samples in 45 %."""

_APART_DEVIATIONS = 4.0


class StopReason(StrEnum):
    """Why sampling ended."""

    TARGET = "target"
    MAX_SAMPLES = "max_samples"
    MAX_SECONDS = "max_seconds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The end of a series, with the precision that it reached, see `precision_of`; None where there is none."""

    reason: StopReason
    n: int
    seconds: float
    half_width: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule:
    """Sample until the half-width, see `precision_of`, is at most `target`, a fraction of 1, or until a cap.

    `max_seconds` ends no series before `min_samples`, so a very slow cell takes longer than that.

    Raises:
        ValueError: A limit is not positive, or the fewest samples are more than the most.
    """

    target: float
    min_samples: int = 10
    max_samples: int = 1000
    max_seconds: float = 60.0
    first_look: int = FIRST_LOOK

    def __post_init__(self) -> None:
        if min(self.target, self.min_samples, self.first_look, self.max_seconds) <= 0:
            raise ValueError(f"target, min_samples, first_look and max_seconds must be above 0, got {self}")
        if self.min_samples > self.max_samples:
            raise ValueError(f"min_samples {self.min_samples} is above max_samples {self.max_samples}")

    def is_look(self, n: int) -> bool:
        """Tell whether the interval is looked at after `n` samples: 32, 48, 72, 108, ... from the first look on."""
        look = max(self.first_look, self.min_samples)
        while look < n:
            look = math.ceil(look * LOOK_GROWTH)
        return look == n

    def check(self, n: int, seconds: float, half_width: Callable[[], float | None]) -> Stop | None:
        """Return why to stop after `n` samples that took `seconds`, or None to take another one.

        Call it after every sample: time is checked at each, but `half_width` is called only at looks and at a cap.
        A series that reaches its target just at a cap has reached its target.
        """
        cap = None
        if n >= self.max_samples:
            cap = StopReason.MAX_SAMPLES
        elif seconds >= self.max_seconds and n >= self.min_samples:
            cap = StopReason.MAX_SECONDS
        if cap is None and not self.is_look(n):
            return None
        reached = half_width()
        reason = StopReason.TARGET if reached is not None and reached <= self.target else cap
        return None if reason is None else Stop(reason=reason, n=n, seconds=seconds, half_width=reached)


def precision_of(samples: Sequence[float] | Floats) -> float | None:
    """Return the relative half-width that a stopping rule has to look at; None where there is none yet.

    It is that of the median's 95 % interval. Of a series with two states it is the larger one of its two levels, as
    both are reported, and None before the fewest switches. Below `ENOUGH_SAMPLES` it is also None when two neighbours
    lie far off on the same side: they may be the first of a second state, where chance would have scattered them.
    """
    series = np.asarray(samples, dtype=np.float64)
    found = irregularities_of(series)
    levels = level_intervals(series, found)
    if levels is not None and found.two_states is not None:
        widths = [level.relative_half_width for level in levels]
        known = [width for width in widths if width is not None]
        return max(known) if found.two_states.switches >= FEWEST_SWITCHES and len(known) == len(widths) else None
    if FEWEST_SAMPLES <= len(series) < ENOUGH_SAMPLES and _has_neighbours_apart(series):
        return None
    return median_interval(series).relative_half_width


def _has_neighbours_apart(series: Floats) -> bool:
    apart = series - np.median(series)
    limit = _APART_DEVIATIONS * 1.4826 * np.median(np.abs(apart))  # robust standard deviations
    return any(np.any(side[1:] & side[:-1]) for side in (apart > limit, apart < -limit))
