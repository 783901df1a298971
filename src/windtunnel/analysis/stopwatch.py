"""Whether a profiler agrees with a stopwatch, and what either of them includes."""

from dataclasses import dataclass
from enum import StrEnum

from windtunnel.analysis.profile import ProfileView

AGREES_WITHIN = 0.05
"""Step times that differ by no more than this agree: below it, the order of pairs and the clock of a GPU decide."""


class Verdict(StrEnum):
    """What the profiled time of a step is beside the stopwatch's."""

    AGREES = "agrees"
    ADDS = "adds"
    """The profiler makes steps slower."""
    IS_FASTER = "is faster"
    """The profiled steps were faster, which no profiler does: the machine was not quiet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A step under the profiler beside one under the stopwatch; seconds.

    Attributes:
        stopwatch: Median of steps without any instrument.
        profiled: Median of the profiled steps.
        busy: For how long anything ran in a profiled step.
    """

    stopwatch: float
    profiled: float
    busy: float

    @property
    def difference(self) -> float:
        """How much longer the profiled step takes, as a fraction of the stopwatch's."""
        return self.profiled / self.stopwatch - 1

    @property
    def verdict(self) -> Verdict:
        """What that difference means."""
        if abs(self.difference) <= AGREES_WITHIN:
            return Verdict.AGREES
        return Verdict.ADDS if self.difference > 0 else Verdict.IS_FASTER

    @property
    def busy_share(self) -> float:
        """What the work of a step is of the stopwatch's time; above 1 the profiler itself is in it."""
        return self.busy / self.stopwatch

    @property
    def includes_waiting(self) -> bool:
        """Whether the stopwatch's time has in it, by more than the threshold, that the device had nothing to do."""
        return 1 - self.busy_share > AGREES_WITHIN


def compare_with_stopwatch(view: ProfileView) -> Comparison | None:
    """Return the comparison; None where no stopwatch ran or nothing was profiled."""
    if view.stopwatch is None or not view.profile.steps or not len(view.profile.work):
        return None
    return Comparison(stopwatch=view.stopwatch, profiled=view.wall, busy=view.busy)
