"""What the sensors said of the device while one row was timed, and what its steps have to do with it."""

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from windtunnel.records.record import Record, Telemetry
from windtunnel.records.throttling import CHOSEN_REASONS, THROTTLE_REASONS
from windtunnel.statistics.series import count_slow_start
from windtunnel.statistics.steady import WINDOW, is_steady

Floats = NDArray[np.float64]

THROTTLED_SHARE = 0.05
"""A cell is throttled when its clock was held down in more than this share of readings, or was low in that of steps."""

LOW_CLOCK = 0.95
"""A clock below this fraction of the cell's own 90th percentile is low."""

SMALLEST_CHANGE = 0.02
"""Cool and sustained times that differ by less are one."""

FOLLOWS_CLOCK = -0.5
"""From this rank correlation down, times are said to follow the clock; a quarter of their order is then its."""

FEWEST_FOR_CORRELATION = 10

FARTHEST_SECONDS = 1.0
"""A reading farther from a step than this says nothing of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """The median step in seconds when the device was cool, and in the last half of the timed steps.

    `is_changed` says that they differ by more than 2 %, and that the first and the last five steps differ in rank.
    """

    cool: float
    sustained: float
    is_changed: bool

    @property
    def change(self) -> float:
        """From cool to sustained, a fraction of cool: 0.03 is 3 % slower."""
        return self.sustained / self.cool - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Clock, power and temperature of one row during its timed steps; None is what the sensors do not know.

    Attributes:
        source: What was asked.
        num_readings: How many readings fell between the beginning of the first timed step and the end of the last.
        median_mhz: Median of the clock over these readings; `low_mhz` and `high_mhz` are its range.
        median_watts: Median power.
        max_celsius: Highest temperature.
        reasons: What held the clock down, with its share of the readings, largest first; () where nothing did. What
            somebody chose, and an idle device, are no such reasons.
        throttled_share: Share of the readings with any such reason.
        low_clock_share: Share of the timed steps in which the clock was below 95 % of the 90th percentile of all.
        is_throttled: Whether the clock was held down, or low, for more than 5 % of the time.
        levels: Steps when cool and sustained; None with too few.
        cycles: Median of time times clock: what a step takes whatever the clock is.
        clock_correlation: Spearman's correlation of the time of a step with the clock; None where one never changes.
    """

    source: str
    num_readings: int
    median_mhz: float | None
    low_mhz: float | None
    high_mhz: float | None
    median_watts: float | None
    max_celsius: float | None
    reasons: tuple[tuple[str, float], ...]
    throttled_share: float | None
    low_clock_share: float | None
    is_throttled: bool
    levels: Levels | None
    cycles: float | None
    clock_correlation: float | None

    @property
    def is_following_clock(self) -> bool:
        """Whether steps take longer when the clock is lower: so two states of the time may be two of the clock."""
        return self.clock_correlation is not None and self.clock_correlation <= FOLLOWS_CLOCK


def conditions_of(record: Record) -> Conditions | None:
    """Judge what the sensors said during the timed steps; None where there is no telemetry or no timed step.

    Cost: about 0.15 ms for 100 steps and 100 readings.
    """
    telemetry, times = record.telemetry, _totals(record)
    if telemetry is None or not times or len(record.began_nanoseconds) != len(times):
        return None
    steps = np.array(times, dtype=np.float64)
    clocks = _clocks(telemetry, record.began_nanoseconds, steps)
    is_known = ~np.isnan(clocks)
    known, of_known = clocks[is_known], steps[is_known]
    seen = _during(telemetry, record.began_nanoseconds[0], record.began_nanoseconds[-1] + times[-1])
    mhz, watts, celsius = (
        column[seen] for column in (telemetry.clock_mhz, telemetry.power_watts, telemetry.temperature_celsius)
    )
    masks = telemetry.throttle_reasons[seen]
    throttled_share, low_clock_share = _shares(masks, known)
    return Conditions(
        source=telemetry.source,
        num_readings=len(telemetry.nanoseconds[seen]),
        median_mhz=_median(mhz),
        low_mhz=min(mhz, default=None),
        high_mhz=max(mhz, default=None),
        median_watts=_median(watts),
        max_celsius=max(celsius, default=None),
        reasons=_reasons(masks),
        throttled_share=throttled_share,
        low_clock_share=low_clock_share,
        is_throttled=_is_much(throttled_share, low_clock_share),
        levels=levels_of(record),
        cycles=statistics.median((of_known * known).tolist()) * _CYCLES if len(known) else None,
        clock_correlation=_rank_correlation(of_known, known),
    )


def _shares(masks: Sequence[int], clocks: Floats) -> tuple[float | None, float | None]:
    """Return the share of readings in which the clock was held down, and that of steps in which it was low."""
    held_down = sum(1 for mask in masks if mask & ~CHOSEN_REASONS)
    return (
        held_down / len(masks) if masks else None,
        int(np.count_nonzero(clocks < LOW_CLOCK * _high(clocks))) / len(clocks) if len(clocks) else None,
    )


def _high(clocks: Floats) -> float:
    """Return the 90th percentile, as np.quantile does, which takes as long as all else here together."""
    ordered = np.sort(clocks)
    below, rest = divmod(0.9 * (len(ordered) - 1), 1)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
    return float(low + (high - low) * rest)


def _is_much(throttled_share: float | None, low_clock_share: float | None) -> bool:
    return max(throttled_share or 0.0, low_clock_share or 0.0) > THROTTLED_SHARE


_CYCLES = 1e-3  # a nanosecond at a megahertz


def clock_of_samples(record: Record) -> tuple[float | None, ...]:
    """Return the clock in MHz during each timed step: the mean of the readings within it, or else the nearest one.

    None where the clock is not known, or no reading is within a second of the step.
    """
    telemetry, times, begins = record.telemetry, _totals(record), record.began_nanoseconds
    if telemetry is None or len(begins) != len(times):
        return (None,) * len(times)
    clocks = _clocks(telemetry, begins, np.array(times, dtype=np.float64))
    return tuple(None if math.isnan(mhz) else mhz for mhz in clocks.tolist())


def _clocks(telemetry: Telemetry, begins: Sequence[int], times: Floats) -> Floats:
    """Return what `clock_of_samples` does, with NaN where the clock is not known."""
    if not telemetry.clock_mhz:
        return np.full(len(times), np.nan)
    at = np.array(telemetry.nanoseconds, dtype=np.float64)
    mhz = np.array(telemetry.clock_mhz, dtype=np.float64)
    begin = np.array(begins, dtype=np.float64)
    end = begin + times
    first, after = at.searchsorted(begin, side="left"), at.searchsorted(end, side="right")
    sums = np.concatenate(([0.0], np.cumsum(mhz)))
    mean = (sums[after] - sums[first]) / np.maximum(after - first, 1)
    earlier, later = np.maximum(first - 1, 0), np.minimum(after, len(at) - 1)
    to_earlier, to_later = np.abs(begin - at[earlier]), np.abs(at[later] - end)
    nearest = np.where(to_earlier <= to_later, mhz[earlier], mhz[later])
    nearest[np.minimum(to_earlier, to_later) > FARTHEST_SECONDS * 1e9] = np.nan
    return np.where(after > first, mean, nearest)


def levels_of(record: Record) -> Levels | None:
    """Compare the first five steps of all, after a slow start, with the last half of the timed ones.

    Warm-up steps count here: a device is cool when it begins. None with fewer than ten steps after a slow start, or
    fewer than ten timed ones.
    """
    timed, warmup = _totals(record), _totals(record, is_warmup=True)
    steps = np.array((*warmup, *timed), dtype=np.float64)
    steps = steps[count_slow_start(steps) :]
    if len(timed) < 2 * WINDOW or len(steps) < 2 * WINDOW:
        return None
    window, last = steps[:WINDOW].tolist(), timed[-WINDOW:]
    cool, sustained = statistics.median(window), float(statistics.median(timed[len(timed) // 2 :]))
    is_changed = abs(sustained / cool - 1) > SMALLEST_CHANGE and not is_steady((*window, *last))
    return Levels(cool=cool * 1e-9, sustained=sustained * 1e-9, is_changed=is_changed)


def _totals(record: Record, *, is_warmup: bool = False) -> tuple[int, ...]:
    """Return the times of whole steps on the clock that tables show."""
    series = record.whole_series()
    if series is None:
        return ()
    return series.warmup_nanoseconds if is_warmup else series.nanoseconds


def _during(telemetry: Telemetry, begin: int, end: int) -> slice:
    return slice(bisect_left(telemetry.nanoseconds, begin), bisect_right(telemetry.nanoseconds, end))


def _median(values: Sequence[float]) -> float | None:
    return float(statistics.median(values)) if values else None


def _reasons(masks: Sequence[int]) -> tuple[tuple[str, float], ...]:
    """Return the share of each reason that holds a clock down; a bit without a name is called by its number."""
    bits: dict[int, int] = {}
    for mask in masks:
        held = mask & ~CHOSEN_REASONS
        while held:
            bit = held & -held
            bits[bit] = bits.get(bit, 0) + 1
            held ^= bit
    named: Mapping[int, str] = THROTTLE_REASONS
    shares = [(named.get(bit, f"reason {bit:#x}"), count / len(masks)) for bit, count in sorted(bits.items())]
    return tuple(sorted(shares, key=lambda share: -share[1]))


def _rank_correlation(first: Floats, second: Floats) -> float | None:
    """Return Spearman's correlation, equal values sharing their mean rank; None where it is not defined."""
    if len(first) < FEWEST_FOR_CORRELATION:
        return None
    one, other = _ranks(first), _ranks(second)
    squares = float(one @ one) * float(other @ other)
    return float(one @ other) / math.sqrt(squares) if squares else None


def _ranks(values: Floats) -> Floats:
    """Return the ranks, less their mean."""
    ordered = np.sort(values)
    below, up_to = ordered.searchsorted(values, side="left"), ordered.searchsorted(values, side="right")
    return (below + up_to - len(values)) / 2
