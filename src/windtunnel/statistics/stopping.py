"""When sampling ends: the interval is narrow enough, or a cap is reached."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FIRST_LOOK = 32
"""Fewer samples say too little about their own autocorrelation."""

LOOK_GROWTH = 1.5
"""Looks are few and far apart: each one is another chance to stop by accident on samples that happen to agree."""


class StopReason(StrEnum):
    """Why sampling ended."""

    TARGET = "target"
    MAX_SAMPLES = "max_samples"
    MAX_SECONDS = "max_seconds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The end of a series, with the precision that it reached; None where it has no interval."""

    reason: StopReason
    n: int
    seconds: float
    half_width: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule:
    """Sample until the half-width is at most `target`, a fraction of 1, or until a cap.

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
