"""An interval for where a series of times lies, honest about dependent samples and about too few of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

FEWEST_PROCESSES = 3
"""Below it a t interval between processes is too wide to say anything: with two, 12.7 standard errors."""


class Method(StrEnum):
    """How an interval was made, or why there is none."""

    RANKS = "median, binomial ranks widened by autocorrelation"
    TOO_FEW = "median, too few samples for an interval"
    TOO_DEPENDENT = "median, samples too dependent for an interval"
    PROCESSES = "mean of process medians, t interval"
    TOO_FEW_PROCESSES = "mean of process medians, too few processes for an interval"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A location and the interval around it, both in the unit of the samples.

    `low` and `high` are both None where the samples do not allow an interval at this confidence; `method` says why.
    `n` counts what the interval was made from: samples, or processes.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: Method
    confidence: float

    @property
    def relative_half_width(self) -> float | None:
        """Half of the interval over the value, a fraction of 1; None without an interval or at a value of 0."""
        if self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / abs(self.value)


def median_interval(samples: Sequence[float] | NDArray[np.float64], *, confidence: float = 0.95) -> Estimate:
    """Estimate the median of one series of at least one sample, in the order in which it was taken.

    The ranks are those of independent samples (the binomial interval of a quantile), moved away from the middle by
    the square root of `autocorrelation_time`. Ties need no care: they only make the interval cover more often.
    Coverage on known noise stands in docs/method.md; with two clock states it is too low, as for every interval of
    one series: `irregularities_of` finds those.

    Source: David and Nagaraja 2003, Order Statistics, section 7.1, for the ranks; the widening replaces n by the
    effective n of the mean of the signs, the statistic that the ranks invert.
    """
    series = np.asarray(samples, dtype=np.float64)
    n, ordered = len(series), np.sort(series)
    value = float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    independent = _low_rank(n, confidence)
    middle = (n + 1) / 2
    rank = math.floor(middle - (middle - independent) * math.sqrt(_autocorrelation_time(series > value)))
    if independent < 1 or rank < 1:
        method = Method.TOO_FEW if independent < 1 else Method.TOO_DEPENDENT
        return Estimate(value=value, low=None, high=None, n=n, method=method, confidence=confidence)
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    return Estimate(value=value, low=low, high=high, n=n, method=Method.RANKS, confidence=confidence)


def median_intervals(series: Sequence[Sequence[float]], *, confidence: float = 0.95) -> tuple[Estimate, ...]:
    """Estimate the median of each of many series of at least one sample."""
    return tuple(median_interval(samples, confidence=confidence) for samples in series)


def process_interval(process_medians: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Estimate the mean of the medians of repeated processes, each of them one observation.

    Samples of one process share its memory layout, clocks and caches, so more of them do not show how processes
    differ; the t interval is over the level where the variance is.

    Source: Kalibera and Jones 2013 (doi:10.1145/2464157.2464160), section 7.
    """
    from scipy.special import stdtrit

    medians = np.asarray(process_medians, dtype=np.float64)
    n, value = len(medians), float(np.mean(medians))
    if n < FEWEST_PROCESSES:
        method = Method.TOO_FEW_PROCESSES
        return Estimate(value=value, low=None, high=None, n=n, method=method, confidence=confidence)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(np.std(medians, ddof=1)) / math.sqrt(n)
    return Estimate(
        value=value, low=value - half, high=value + half, n=n, method=Method.PROCESSES, confidence=confidence
    )


def autocorrelation_time(samples: Sequence[float] | NDArray[np.float64]) -> float:
    """Return how many samples say as much as one independent sample, by the series of signs (sample > median).

    From 1 to n / 4; 1 where all samples are equal. Signs, not values: an outlier counts as one sign.

    Source: Geyer 1992 (doi:10.1214/ss/1177011137), the initial positive sequence: sums of neighbouring
    autocorrelations, up to the first that is not positive.
    """
    series = np.asarray(samples, dtype=np.float64)
    return _autocorrelation_time(series > np.median(series))


def _autocorrelation_time(is_above: NDArray[np.bool_]) -> float:
    n = len(is_above)
    signs = is_above - np.count_nonzero(is_above) / n
    covariances = np.correlate(signs, signs, "full")[n - 1 :] if n <= _LARGEST_DIRECT else _by_fourier(signs)
    if covariances[0] <= 0:
        return 1.0
    even = n - n % 2
    correlations = covariances / covariances[0]
    if n >= _FEWEST_TO_CORRECT:
        correlations[1:] += 1 / n  # centring took this from independent signs, and more from dependent ones
    pairs = correlations[0:even:2] + correlations[1:even:2]
    ends = np.flatnonzero(pairs <= 0)
    kept = pairs[: ends[0]] if len(ends) else pairs
    return float(np.clip(2 * kept.sum() - 1, 1, max(1, n / 4)))


_FEWEST_TO_CORRECT = 20
"""With fewer samples the correction costs more intervals than it mends: at n = 10, 37 % of the independent series
would have none instead of 7 %. From 20 on it is what lifts AR(1) with φ = .8 and n = 30 from 84 % to 86 %."""

_LARGEST_DIRECT = 500  # from here on the Fourier transform is faster


def _by_fourier(signs: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = 2 ** (2 * len(signs) - 1).bit_length()  # so that the ends do not meet
    spectrum = np.fft.rfft(signs, padded)
    return np.fft.irfft(np.abs(spectrum) ** 2, padded)[: len(signs)]


@cache  # the series of a store mostly have the same few lengths
def _low_rank(n: int, confidence: float) -> int:
    """Return the highest rank, from 1, below which the median lies with a chance of at most (1 - confidence) / 2.

    0 where there is none: at 95 % with fewer than 6 samples.
    """
    if n > _LARGEST_EXACT:
        from scipy.special import bdtr  # here: importing it takes longer than a small report

        chances = bdtr(np.arange(n // 2 + 1), n, 0.5)  # of at most so many samples below the median
        return int(np.searchsorted(chances, (1 - confidence) / 2, side="right"))
    allowed, orders, rank = (1 - confidence) / 2 * 2**n, 0, 0
    while rank <= n // 2:
        orders += math.comb(n, rank)  # ways to have at most `rank` samples below the median, of 2**n
        if orders > allowed:
            break
        rank += 1
    return rank


_LARGEST_EXACT = 1000
"""Up to here 2**n is a float, so that whole numbers can be compared with it."""
