"""What is irregular about a finished series: a slow first sample, a trend, a step, two states. Labels, never causes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_SAMPLES = 30
"""Below it nothing but the first sample is judged: of AR(1) series of 20 samples, 6 % would be called irregular."""

FIRST_DEVIATIONS = 4.0
"""A first sample this many robust standard deviations above the median of the others is slow (1 in 30,000 normals)."""

NUM_BLOCKS = 10
"""The medians of ten blocks are compared for a trend."""

MANN_KENDALL_Z = 2.576
"""Two-sided p = 0.01 for independent blocks."""

TREND_SCORE = 18.0
"""What a straight line must explain beyond autocorrelated noise, in twice the log-likelihood."""

STEP_SCORE = 20.0
"""What the best of all places for a step must explain. Both scores are calibrated on AR(1) noise with φ = .8: 0.5
to 2 % of its series of 30 to 300 samples get a step, at most 0.5 % a trend (docs/method.md)."""

STATE_SEPARATION = 5.0
"""Robust standard deviations within the states between their medians, 7.4 median absolute deviations. Halves of one
normal distribution are 2.4 apart."""

STATE_GAP = 2.0
"""Robust standard deviations between the nearest deciles of the two states; one normal distribution has no such gap."""

SMALLEST_SHARE = 0.1
"""A state holds at least this share, and five samples; less are outliers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowFirst:
    """The first sample is slow: `ratio` over the median of the others."""

    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """The series rises or falls: `change` from the first to the last sample, a fraction of the median.

    `kendall_tau` is that of the block medians with time, from -1 to 1.
    """

    change: float
    kendall_tau: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The level changes once, from sample number `index` (from 0) on: by `change`, a fraction of the median before."""

    index: int
    change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoStates:
    """The series goes back and forth between two levels, the medians of its states, in the unit of the samples."""

    low: float
    high: float
    share_high: float
    switches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Irregularities:
    """What is irregular about one series; None is what was not found, or not looked for in so short a series.

    At most one of `trend`, `step` and `two_states` is there, the one that explains most.
    """

    slow_first: SlowFirst | None = None
    trend: Trend | None = None
    step: Step | None = None
    two_states: TwoStates | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return self.slow_first is self.trend is self.step is self.two_states is None


def irregularities_of(samples: Sequence[float]) -> Irregularities:
    """Say what is irregular about a series, in the order in which it was taken.

    Trend and step are compared with autocorrelated noise, not with independent noise: a series that wanders but
    always comes back is clean. Cost: 0.3 to 0.5 ms for 100 samples, growing as n log n.
    """
    series = np.asarray(samples, dtype=np.float64)
    slow_first = _slow_first(series)
    rest = series if slow_first is None else series[1:]
    values = _without_extremes(rest)
    if len(rest) < FEWEST_SAMPLES or np.ptp(values) == 0:
        return Irregularities(slow_first=slow_first)
    two_states = _two_states(rest, values)
    if two_states is not None:
        is_in_a_state = series[0] < 2 * two_states.high - two_states.low  # then it is slow as others are, too
        return Irregularities(slow_first=None if is_in_a_state else slow_first, two_states=two_states)
    values = values - values.mean()
    trend, trend_score = _trend(rest, values)
    step, step_score = _step(rest, values)
    if trend is not None and (step is None or trend_score >= step_score):
        return Irregularities(slow_first=slow_first, trend=trend)
    if step is not None:
        step = Step(index=step.index + len(series) - len(rest), change=step.change)
    return Irregularities(slow_first=slow_first, step=step)


def irregularities_of_each(series: Sequence[Sequence[float]]) -> tuple[Irregularities, ...]:
    """Say what is irregular about each of many series."""
    return tuple(irregularities_of(samples) for samples in series)


def _slow_first(series: Floats) -> SlowFirst | None:
    if len(series) < 5:  # the deviation of fewer than four others is mostly chance
        return None
    others = series[1:]
    median = float(np.median(others))
    limit = median + FIRST_DEVIATIONS * _robust_deviation(others - median)
    return SlowFirst(ratio=float(series[0]) / median) if series[0] > limit and median > 0 else None


def _two_states(series: Floats, values: Floats) -> TwoStates | None:
    """Split the values by 2-means and keep the split if there is a gap, and if no single step explains it as well.

    Two-means in one dimension is exact: the best split of the sorted values, found from their sums. A clock that
    knows only two values for such times shows two states too.
    """
    n, ordered = len(series), np.sort(values)
    fewest = max(5, math.ceil(SMALLEST_SHARE * n))
    splits = np.arange(fewest, n - fewest + 1)
    sums = np.cumsum(ordered - ordered.mean())
    size = int(splits[np.argmax(sums[splits - 1] ** 2 * (1 / splits + 1 / (n - splits)))])
    below, above = ordered[:size], ordered[size:]
    low, high = float(np.median(below)), float(np.median(above))
    within = _robust_deviation(np.concatenate((below - low, above - high)))
    gap = above[(n - size) // 10] - below[size - 1 - size // 10]
    if high - low <= STATE_SEPARATION * within or gap <= STATE_GAP * within:
        return None
    is_high = series > (low + high) / 2
    # What a single step upwards at each place gets wrong; n less that for a step downwards.
    wrong = np.cumsum(is_high) + (n - np.arange(1, n + 1)) - (is_high.sum() - np.cumsum(is_high))
    if min(wrong.min(), n - wrong.max()) <= n // 50:
        return None
    switches = int(np.count_nonzero(is_high[1:] != is_high[:-1]))
    return TwoStates(low=low, high=high, share_high=float(is_high.mean()), switches=switches)


def _trend(series: Floats, values: Floats) -> tuple[Trend | None, float]:
    """Test block medians by Mann and Kendall, and a straight line against autocorrelated noise.

    Source: Mann 1945 (doi:10.2307/1907187), with the variance for no ties, which is too large with ties.
    """
    n, median = len(series), float(np.median(series))
    blocks = np.array([np.median(block) for block in np.array_split(series, NUM_BLOCKS)])
    score_s = float(np.sign(blocks[None, :] - blocks[:, None])[np.triu_indices(NUM_BLOCKS, 1)].sum())
    deviation = math.sqrt(NUM_BLOCKS * (NUM_BLOCKS - 1) * (2 * NUM_BLOCKS + 5) / 18)
    time = np.arange(n) - (n - 1) / 2
    slope = float(time @ values / (time @ time))
    score = _score(values, _innovations(values - slope * time))
    if abs(score_s) - 1 <= MANN_KENDALL_Z * deviation or score <= TREND_SCORE:
        return None, score
    tau = score_s / (NUM_BLOCKS * (NUM_BLOCKS - 1) / 2)
    return Trend(change=slope * (n - 1) / median, kendall_tau=tau), score


def _step(series: Floats, values: Floats) -> tuple[Step | None, float]:
    """Fit one step at every place but the outer tenths, and test the best against autocorrelated noise.

    Source: the scan of a Potts functional with one jump, on the innovations of a first-order autoregression. Sums
    and products of neighbours from cumulative sums, so all places cost as much as a few.
    """
    n = len(values)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    products = np.concatenate(([0.0], np.cumsum(values[1:] * values[:-1])))
    fewest = max(5, n // 10)
    places = np.arange(fewest, n - fewest + 1)
    before, after = sums[places] / places, -sums[places] / (n - places)
    first, last, left, right = values[0], values[-1], values[places - 1], values[places]
    squares = values @ values - places * before**2 - (n - places) * after**2
    neighbours = products[places - 1] - before * (2 * sums[places] - first - left) + (places - 1) * before**2
    neighbours += products[-1] - products[places] + after * (2 * sums[places] + right + last)
    neighbours += (n - places - 1) * after**2 + (left - before) * (right - after)
    squares = np.maximum(squares, _ROUNDING * (values @ values))
    left_over = squares - np.maximum(neighbours, 0) ** 2 / squares
    index, score = int(places[np.argmin(left_over)]), _score(values, float(left_over.min()))
    if score <= STEP_SCORE:
        return None, score
    return Step(index=index, change=float(np.median(series[index:]) / np.median(series[:index])) - 1), score


_ROUNDING = 1e-12  # share of the squares that may be rounding; a series without noise leaves no more


def _score(values: Floats, left_over: float) -> float:
    """Return twice the gain in log-likelihood of a model over autocorrelated noise alone."""
    alone = _innovations(values)
    return len(values) * math.log(alone / max(left_over, _ROUNDING * alone))


def _innovations(residuals: Floats) -> float:
    """Return the squares that are left after each residual was predicted from the one before it."""
    squares, neighbours = float(residuals @ residuals), float(residuals[1:] @ residuals[:-1])
    return squares - max(neighbours, 0.0) ** 2 / squares if squares else 0.0


def _without_extremes(series: Floats) -> Floats:
    """Pull the outer twentieths in to their quantiles: squares would see nothing but an outlier."""
    low, high = np.quantile(series, (0.05, 0.95))
    return np.clip(series, low, high)


def _robust_deviation(residuals: Floats) -> float:
    """Return the median absolute deviation from 0, scaled to the standard deviation of a normal distribution."""
    return 1.4826 * float(np.median(np.abs(residuals)))
