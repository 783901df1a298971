"""What a reader must know before using the number of a row: marks for its whole step, never causes."""

from enum import StrEnum

from windtunnel.analysis.comparisons import shows_cold_start
from windtunnel.analysis.kernels import verdict_of
from windtunnel.analysis.results import Row
from windtunnel.records.record import Record
from windtunnel.statistics.series import SlowStart
from windtunnel.statistics.stopping import StopReason

SMALLEST_EFFECT = 0.02
"""The smallest effect that tables speak of: two medians known to ± 2 % say nothing about a smaller difference."""


class Mark(StrEnum):
    """A word beside a number that is not to be taken as it stands, in the order of the alphabet."""

    CAPPED = "capped"
    """Automatic warm-up or sampling to a target reached its cap first."""
    COLD = "cold"
    """The first sample is a cold start, or the first ones are slow beside the others."""
    DRIFTING = "drifting"
    """The samples rise or fall in their order."""
    IMPRECISE = "imprecise"
    """The median has no interval, or one wider than was asked for."""
    OTHER_KERNELS = "other kernels"
    """What ran is not the attention that was asked for, or not compiled although it was to be."""
    STEP = "step"
    """The level changes once."""
    THROTTLED = "throttled"
    """The clock of the device was held down, or low in some of the steps."""
    TWO_STATES = "two states"
    """The samples go back and forth between two levels."""


def marks_of(row: Row) -> tuple[Mark, ...]:
    """Return the marks of a measured row in the order of `Mark`; none for a row that failed.

    Drift, step and two states are those of `irregularities_of`, which looks for them from 30 samples on.
    """
    if not row.is_ok:
        return ()
    found = row.irregularities
    applies = {
        Mark.CAPPED: any(_is_capped(stored.record) for stored in row.processes),
        Mark.COLD: shows_cold_start(row) or slow_start_of(row) is not None,
        Mark.DRIFTING: found.trend is not None,
        Mark.IMPRECISE: _is_imprecise(row),
        Mark.OTHER_KERNELS: (verdict := verdict_of(row)) is not None and not verdict.is_as_asked,
        Mark.STEP: found.step is not None,
        Mark.THROTTLED: any(seen.is_throttled for seen in row.conditions),
        Mark.TWO_STATES: found.two_states is not None,
    }
    return tuple(mark for mark, it_does in applies.items() if it_does)


def slow_start_of(row: Row) -> SlowStart | None:
    """Return the slow start of a row; None where there is none.

    Less than the smallest effect is not called slow, however still the others are.
    """
    start = row.irregularities.slow_start
    return start if start is not None and start.ratio > 1 + SMALLEST_EFFECT else None


def _is_capped(record: Record) -> bool:
    return record.warmed_by not in {None, "steady"} or record.stopped_by not in {None, StopReason.TARGET}


def _is_imprecise(row: Row) -> bool:
    estimate = row.estimate()
    half_width = estimate.relative_half_width if estimate else None
    return half_width is None or half_width > (row.plan.target or SMALLEST_EFFECT)
