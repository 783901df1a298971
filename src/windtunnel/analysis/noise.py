"""What is unusual about one series of samples: wide spread, a slow first sample, drift. Labels, never causes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from windtunnel.analysis.results import Row

WIDE_CV = 0.05
"""A coefficient of variation above this makes two cells that are close hard to tell apart."""

SLOW_FIRST_RATIO = 1.5
"""A first sample this many times the median is slow whatever the spread of the others."""

SLOW_FIRST_DEVIATIONS = 3.0
"""Or this many robust standard deviations (1.4826 median absolute deviations) above the median of the others,"""

SMALLEST_EFFECT = 0.02
"""and at least this much above it: less does not change what a table shows."""

DRIFT_T = 5.0
"""The t value of Spearman's correlation with the sample's number from which on samples drift; p < 0.001 from n = 9."""

_FEWEST_FOR_SPREAD = 4  # the deviation of fewer samples is mostly chance

_FEWEST_FOR_DRIFT = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """What is unusual about the whole step of one row.

    `cv_without_first` is None with fewer than three samples. `first_ratio` is the first sample over the
    median of the others. `drift` is the median of the second half over that of the first half, minus 1,
    both without the first sample; None where it is too small or too uncertain to be called drift.
    """

    row: Row
    cv: float
    cv_without_first: float | None
    first_ratio: float
    is_first_slow: bool
    drift: float | None


def noisy(rows: Iterable[Row]) -> tuple[Noise, ...]:
    """Return the rows about which something is unusual, in their order.

    Each process of a row is judged by itself, as where one follows another is no drift; the first unusual one speaks.
    """
    found = ((row, next(filter(None, map(_noise, row.apart())), None)) for row in rows if row.is_ok)
    return tuple(replace(noise, row=row) for row, noise in found if noise is not None)


def _noise(row: Row) -> Noise | None:
    summary, samples = row.summary(), row.samples()
    if summary is None or summary.cv is None:
        return None
    first, *rest = samples
    is_first_slow = _is_first_slow(first, rest)
    drift = _drift(rest)
    if summary.cv <= WIDE_CV and not is_first_slow and drift is None:
        return None
    return Noise(
        row=row,
        cv=summary.cv,
        cv_without_first=statistics.stdev(rest) / statistics.fmean(rest) if len(rest) > 1 else None,
        first_ratio=first / _median(rest),
        is_first_slow=is_first_slow,
        drift=drift,
    )


def _is_first_slow(first: int, rest: Sequence[int]) -> bool:
    median = _median(rest)
    if first <= (1 + SMALLEST_EFFECT) * median:
        return False
    if len(rest) < _FEWEST_FOR_SPREAD:
        return first > SLOW_FIRST_RATIO * median
    deviation = 1.4826 * _median([abs(value - median) for value in rest])
    return first > SLOW_FIRST_RATIO * median or first > median + SLOW_FIRST_DEVIATIONS * deviation


def _drift(samples: Sequence[int]) -> float | None:
    """Return the relative change from the first to the second half, where order explains the samples."""
    n = len(samples)
    if n < _FEWEST_FOR_DRIFT:
        return None
    change = _median(samples[(n + 1) // 2 :]) / _median(samples[: n // 2]) - 1
    if abs(change) <= SMALLEST_EFFECT:
        return None
    rho = statistics.correlation(_ranks(samples), range(n)) if len(set(samples)) > 1 else 0.0
    t = abs(rho) * math.sqrt((n - 2) / max(1 - rho * rho, 1e-12))
    return change if t > DRIFT_T else None


def _ranks(samples: Sequence[int]) -> list[float]:
    """Rank the samples from 0; equal samples share the mean of their ranks."""
    places: dict[int, list[int]] = {}
    for place, value in enumerate(sorted(samples)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in samples]


def _median(samples: Sequence[float]) -> float:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
