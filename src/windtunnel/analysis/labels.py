"""What a reader must know before using the number of a row: marks for its whole step, never causes."""

from enum import StrEnum

from windtunnel.analysis.comparisons import shows_cold_start
from windtunnel.analysis.results import Row
from windtunnel.records.record import ClockName, Record, Telemetry
from windtunnel.statistics.stopping import StopReason

SMALLEST_EFFECT = 0.02
"""The smallest effect that tables speak of: two medians known to ± 2 % say nothing about a smaller difference."""

THROTTLED_SHARE = 0.05
"""A device that was held back in more of the readings than this was not held back by chance."""


class Mark(StrEnum):
    """A word beside a number that is not to be taken as it stands, in the order of the alphabet."""

    CAPPED = "capped"
    """Automatic warm-up or sampling to a target reached its cap first."""
    COLD = "cold"
    """The first sample is a cold start, or slow beside the others."""
    DRIFTING = "drifting"
    """The samples rise or fall in their order."""
    IMPRECISE = "imprecise"
    """The median has no interval, or one wider than was asked for."""
    STEP = "step"
    """The level changes once."""
    THROTTLED = "throttled"
    """The device said that it was held back."""
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
        Mark.CAPPED: _is_capped(row.record),
        Mark.COLD: shows_cold_start(row) or slow_first_ratio(row) is not None,
        Mark.DRIFTING: found.trend is not None,
        Mark.IMPRECISE: _is_imprecise(row),
        Mark.STEP: found.step is not None,
        Mark.THROTTLED: is_throttled(row.record),
        Mark.TWO_STATES: found.two_states is not None,
    }
    return tuple(mark for mark, it_does in applies.items() if it_does)


def slow_first_ratio(row: Row) -> float | None:
    """Return the first sample over the median of the others where it is slow; None where it is not.

    Less than the smallest effect is not called slow, however still the others are.
    """
    slow = row.irregularities.slow_first
    return slow.ratio if slow is not None and slow.ratio > 1 + SMALLEST_EFFECT else None


def _is_capped(record: Record) -> bool:
    return record.warmed_by not in {None, "steady"} or record.stopped_by not in {None, StopReason.TARGET}


def _is_imprecise(row: Row) -> bool:
    estimate = row.estimate()
    half_width = estimate.relative_half_width if estimate else None
    return half_width is None or half_width > (row.plan.target or SMALLEST_EFFECT)


_HARMLESS_REASONS = 0x1 | 0x2 | 0x10 | 0x100
"""NVML's bits for a device that has nothing to do, or whose clocks somebody set: idle, application clocks, sync boost,
display. All others hold a busy device back: power, temperature, brake."""


def is_throttled(record: Record) -> bool:
    """Tell whether the device was held back in more than 5 % of the readings during the timed steps.

    False where nobody read it.
    """
    readings = _timed_reasons(record, record.telemetry) if record.telemetry else ()
    held_back = sum(1 for reasons in readings if reasons & ~_HARMLESS_REASONS)
    return held_back > THROTTLED_SHARE * len(readings)


def _timed_reasons(record: Record, telemetry: Telemetry) -> tuple[int, ...]:
    """Return the readings from the first timed step to the end of the last; all of them where that is not known."""
    reasons, began = telemetry.throttle_reasons, record.began_nanoseconds
    steps = record.series(record.total, ClockName.HOST)
    if not began or not steps or not reasons:
        return reasons
    begin, end = began[0], began[-1] + steps.nanoseconds[-1]
    return tuple(reason for at, reason in zip(telemetry.nanoseconds, reasons, strict=True) if begin <= at <= end)
