"""What is irregular about a finished series: a slow start, a trend, a step, two states. Labels, never causes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from windtunnel.statistics.batches import Floats, blocks_of
from windtunnel.statistics.interval import Estimate, median_intervals

FEWEST_SAMPLES = 30
"""Below it nothing but the start is judged: of AR(1) series of 20 samples, 6 % would be called irregular."""

START_DEVIATIONS = 4.0
"""A leading sample this many robust standard deviations above the median of the rest is slow (1 in 30,000 normals)."""

LONGEST_START = 3
"""A slow start is at most one part in so many of a series; what is slow for longer is a step."""

NUM_BLOCKS = 10
"""The medians of ten blocks are compared for a trend."""

MANN_KENDALL_Z = 2.576
"""Two-sided p = 0.01 for independent blocks."""

TREND_SCORE = 18.0
"""What a straight line must explain beyond autocorrelated noise, in twice the log-likelihood."""

STEP_SCORE = 20.0
"""What the best of all places for a step must explain. Both scores are calibrated on AR(1) noise with φ = .8: 0.5
to 2 % of its series of 30 to 300 samples get a step, at most 0.5 % a trend (docs/method.md)."""

LARGEST_AUTOCORRELATION = 0.9
"""A step makes neighbours alike, and with any more of it autocorrelated noise would explain each step."""

STATE_SEPARATION = 5.0
"""Robust standard deviations within the states between their medians, 7.4 median absolute deviations. Halves of one
normal distribution are 2.4 apart."""

STATE_GAP = 2.0
"""Robust standard deviations between the nearest deciles of the two states; one normal distribution has no such gap."""

SMALLEST_SHARE = 0.1
"""A state holds at least this share, and five samples; less are outliers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowStart:
    """The first `count` samples are slow, each of them; the first one is `ratio` times the median of the rest."""

    count: int
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
    """The series goes back and forth between two levels, the medians of its states, in the unit of the samples.

    A slow start counts neither in `share_high` nor in `switches`. Intervals of both levels: `level_intervals`.
    """

    low: float
    high: float
    share_high: float
    switches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Irregularities:
    """What is irregular about one series; None is what was not found, or not looked for in so short a series.

    At most one of `trend`, `step` and `two_states` is there, the one that explains most of what is not slow start.
    """

    slow_start: SlowStart | None = None
    trend: Trend | None = None
    step: Step | None = None
    two_states: TwoStates | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return self.slow_start is self.trend is self.step is self.two_states is None


def irregularities_of(samples: Sequence[float] | Floats) -> Irregularities:
    """Say what is irregular about one series as `irregularities_of_each` does; many series are faster there."""
    return irregularities_of_each((samples,))[0]


def irregularities_of_each(series: Sequence[Sequence[float] | Floats]) -> tuple[Irregularities, ...]:
    """Say what is irregular about each series of at least one sample, in the order in which the samples were taken.

    Trend and step are compared with autocorrelated noise, not with independent noise: a series that wanders but
    always comes back is clean.

    Cost: 20 µs for each of thousands of series of 100 samples; 0.5 ms for one alone.
    """
    found = [_CLEAN] * len(series)
    for places, block in blocks_of(series):
        counts = _leading_slow(block)
        for count in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == count)
            labels = _labels(block[rows, count:])
            starts = _slow_starts(block[rows], count)
            for place in starts or labels:
                row = int(rows[place])
                found[places[row]] = _assembled(block[row], starts.get(place), labels.get(place))
    return tuple(found)


def level_intervals(
    samples: Sequence[float] | Floats, found: Irregularities, *, confidence: float = 0.95
) -> tuple[Estimate, Estimate] | None:
    """Estimate the lower and the higher level of a series with two states, each from its own samples in order.

    None where `found`, what is irregular about this very series, has no two states.
    """
    if found.two_states is None:
        return None
    series = np.asarray(samples, dtype=np.float64)[found.slow_start.count if found.slow_start else 0 :]
    is_high = series > (found.two_states.low + found.two_states.high) / 2
    low, high = median_intervals((series[~is_high], series[is_high]), confidence=confidence)
    return low, high


_CLEAN = Irregularities()

_Label = Trend | Step | TwoStates

_FEWEST_TO_COMPARE = 4  # the deviation of fewer samples is mostly chance


def count_slow_start(series: Sequence[float] | Floats) -> int:
    """Return how many samples at the beginning of one series are slow, as `irregularities_of` does; 0 where none is."""
    return int(_leading_slow(np.asarray(series, dtype=np.float64)[None, :])[0])


def _leading_slow(block: Floats) -> NDArray[np.intp]:
    """Count the slow samples before the first one that is not, of each row; 0 where they are too many for a start.

    The first limit comes from what cannot be the start, so that no slow sample hides another one; the second one, from
    all that seems not to be the start, is the surer one of series that wander.
    """
    longest = block.shape[1] // LONGEST_START
    if not longest or block.shape[1] - longest < _FEWEST_TO_COMPARE:
        return np.zeros(len(block), dtype=np.intp)
    counts = _above(block[:, : longest + 1], block[:, longest:])
    counts[counts > longest] = 0
    for count in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == count)
        counts[rows] = _above(block[rows, :count], block[rows, count:])
    return counts


def _above(leading: Floats, rest: Floats) -> NDArray[np.intp]:
    """Count the leading samples before the first one that is not slow beside the rest."""
    median = _medians(np.sort(rest, axis=1))
    is_slow = (leading > median + START_DEVIATIONS * _robust_deviations(rest - median)) & (median > 0)
    return np.logical_and.accumulate(is_slow, axis=1).sum(axis=1)


def _slow_starts(series: Floats, count: int) -> dict[int, SlowStart]:
    """Describe the start of each row, `count` samples long, by its number; nothing where that is 0."""
    if not count:
        return {}
    ratios = series[:, 0] / _medians(np.sort(series[:, count:], axis=1))[:, 0]
    return {row: SlowStart(count=count, ratio=ratio) for row, ratio in enumerate(ratios.tolist())}


def _assembled(series: Floats, start: SlowStart | None, label: _Label | None) -> Irregularities:
    """Put the labels of a series and of what follows its start together."""
    count = start.count if start else 0
    match label:
        case None:
            return Irregularities(slow_start=start)
        case Trend():
            return Irregularities(slow_start=start, trend=label)
        case Step():
            return Irregularities(slow_start=start, step=replace(label, index=label.index + count))
        case TwoStates():
            if start is None:
                return Irregularities(two_states=label)
            is_slow = series[:count] > 2 * label.high - label.low  # or it is slow as others are, too
            count = count if is_slow.all() else int(is_slow.argmin())
            is_high = series[count:] > (label.low + label.high) / 2
            (states,) = _states(np.array([label.low]), np.array([label.high]), is_high[None, :])
            return Irregularities(slow_start=_slow_starts(series[None, :], count).get(0), two_states=states)


def _labels(rests: Floats) -> dict[int, _Label]:
    """Return what is irregular about the rows that are not clean, by their number."""
    if rests.shape[1] < FEWEST_SAMPLES:
        return {}
    ordered = np.sort(rests, axis=1)
    # Pull the outer twentieths in to their quantiles: squares would see nothing but an outlier.
    low, high = _quantiles(ordered, 0.05), _quantiles(ordered, 0.95)
    varied = np.flatnonzero(low < high)
    states = _two_states(rests[varied], np.clip(ordered, low, high)[varied])
    labels: dict[int, _Label] = {int(varied[row]): label for row, label in states.items()}
    left = np.array([row for row in varied.tolist() if row not in labels], dtype=np.intp)
    rests, values = rests[left], np.clip(rests, low, high)[left]
    values -= values.mean(axis=1, keepdims=True)
    alone = _innovations(values)
    trends, trend_scores = _trends(rests, values, alone)
    steps, step_scores = _steps(rests, values, alone)
    for row in trends.keys() | steps.keys():
        is_trend = row in trends and (row not in steps or trend_scores[row] >= step_scores[row])
        labels[int(left[row])] = trends[row] if is_trend else steps[row]
    return labels


def _two_states(series: Floats, ordered: Floats) -> dict[int, TwoStates]:
    """Split the sorted values by 2-means and keep the split if there is a gap that no single step explains as well.

    Two-means in one dimension is exact: the best split of the sorted values, found from their sums. A clock that
    knows only two values for such times shows two states too.
    """
    n, rows = int(series.shape[1]), np.arange(len(series))
    fewest = max(5, math.ceil(SMALLEST_SHARE * n))
    splits = np.arange(fewest, n - fewest + 1)
    sums = np.cumsum(ordered - ordered.mean(axis=1, keepdims=True), axis=1)
    below = splits[np.argmax(sums[:, splits - 1] ** 2 * (1 / splits + 1 / (n - splits)), axis=1)]
    above = n - below
    low = (ordered[rows, (below - 1) // 2] + ordered[rows, below // 2]) / 2
    high = (ordered[rows, below + (above - 1) // 2] + ordered[rows, below + above // 2]) / 2
    levels = np.where(np.arange(n) < below[:, None], low[:, None], high[:, None])
    within = _robust_deviations(ordered - levels)[:, 0]
    gap = ordered[rows, below + above // 10] - ordered[rows, below - 1 - below // 10]
    is_split = (high - low > STATE_SEPARATION * within) & (gap > STATE_GAP * within)
    is_high = series > ((low + high) / 2)[:, None]
    # What a single step upwards at each place gets wrong; n less that for a step downwards.
    high_before = np.cumsum(is_high[is_split], axis=1)
    wrong = 2 * high_before - high_before[:, -1:] + n - np.arange(1, n + 1)
    is_split[is_split] = np.minimum(wrong.min(axis=1), n - wrong.max(axis=1)) > n // 50
    rows = np.flatnonzero(is_split)
    return dict(zip(rows.tolist(), _states(low[rows], high[rows], is_high[rows]), strict=True))


def _states(low: Floats, high: Floats, is_high: NDArray[np.bool_]) -> list[TwoStates]:
    shares = is_high.mean(axis=1).tolist()
    switches = np.count_nonzero(is_high[:, 1:] != is_high[:, :-1], axis=1).tolist()
    return [
        TwoStates(low=below, high=above, share_high=share, switches=count)
        for below, above, share, count in zip(low.tolist(), high.tolist(), shares, switches, strict=True)
    ]


def _trends(series: Floats, values: Floats, alone: Floats) -> tuple[dict[int, Trend], Floats]:
    """Test block medians by Mann and Kendall, and a straight line against autocorrelated noise; return its scores too.

    Source: Mann 1945 (doi:10.2307/1907187), with the variance for no ties, which is too large with ties.
    """
    n = int(series.shape[1])
    time = np.arange(n) - (n - 1) / 2
    slopes = (values * time).sum(axis=1) / (time @ time)
    scores = _scores(n, alone, _innovations(values - slopes[:, None] * time))
    rows = np.flatnonzero(scores > TREND_SCORE)
    parts = np.array_split(series[rows], NUM_BLOCKS, axis=1)
    blocks = np.concatenate([_medians(np.sort(part, axis=1)) for part in parts], axis=1)
    earlier, later = np.triu_indices(NUM_BLOCKS, 1)
    score_s = np.sign(blocks[:, later] - blocks[:, earlier]).sum(axis=1)
    deviation = math.sqrt(NUM_BLOCKS * (NUM_BLOCKS - 1) * (2 * NUM_BLOCKS + 5) / 18)
    is_trend = np.abs(score_s) - 1 > MANN_KENDALL_Z * deviation
    changes = slopes[rows] * (n - 1) / _medians(np.sort(series[rows], axis=1))[:, 0]
    found = zip(rows[is_trend].tolist(), changes[is_trend].tolist(), score_s[is_trend].tolist(), strict=True)
    return {row: Trend(change=change, kendall_tau=score / len(earlier)) for row, change, score in found}, scores


def _steps(series: Floats, values: Floats, alone: Floats) -> tuple[dict[int, Step], Floats]:
    """Fit one step at every place but the outer tenths and test the best against autocorrelated noise.

    Source: the scan of a Potts functional with one jump, on the innovations of a first-order autoregression. Sums
    and products of neighbours from cumulative sums, so all places cost as much as a few.
    """
    n = int(values.shape[1])
    fewest = max(5, n // 10)
    places = np.arange(fewest, n - fewest + 1)
    sums = np.cumsum(values, axis=1)[:, places - 1]
    products = np.cumsum(values[:, 1:] * values[:, :-1], axis=1)
    before, after = sums / places, -sums / (n - places)
    first, last, left, right = values[:, :1], values[:, -1:], values[:, places - 1], values[:, places]
    all_squares = (values * values).sum(axis=1, keepdims=True)
    squares = all_squares - sums * (before - after)
    neighbours = products[:, places - 2] - before * (2 * sums - first - left) + (places - 1) * before**2
    neighbours += products[:, -1:] - products[:, places - 1] + after * (2 * sums + right + last)
    neighbours += (n - places - 1) * after**2 + (left - before) * (right - after)
    squares = np.maximum(squares, _ROUNDING * all_squares)
    left_over = _predicted(squares, neighbours)
    best, scores = places[np.argmin(left_over, axis=1)], _scores(n, alone, left_over.min(axis=1))
    rows = np.flatnonzero(scores > STEP_SCORE)
    is_after = np.arange(n) >= best[rows, None]
    levels_after, levels_before = (_medians_where(chosen, series[rows]) for chosen in (is_after, ~is_after))
    found = zip(rows.tolist(), best[rows].tolist(), (levels_after / levels_before - 1).tolist(), strict=True)
    return {row: Step(index=index, change=change) for row, index, change in found}, scores


_ROUNDING = 1e-12  # share of the squares that may be rounding; a series without noise leaves no more


def _scores(n: int, alone: Floats, left_over: Floats) -> Floats:
    """Return twice the gain in log-likelihood of a model over autocorrelated noise `alone`."""
    return n * np.log(alone / np.maximum(left_over, _ROUNDING * alone))


def _innovations(residuals: Floats) -> Floats:
    """Return the squares that are left after each residual was predicted from the one before it, of each row."""
    squares, neighbours = (residuals**2).sum(axis=1), (residuals[:, 1:] * residuals[:, :-1]).sum(axis=1)
    return _predicted(squares, neighbours)


def _predicted(squares: Floats, neighbours: Floats) -> Floats:
    """Return the squares that prediction from the neighbour before leaves, given the sum of products of neighbours."""
    share = np.divide(neighbours, squares, out=np.zeros_like(squares), where=squares > 0)
    share = np.clip(share, 0.0, LARGEST_AUTOCORRELATION)
    return squares - 2 * share * neighbours + share**2 * squares


def _quantiles(ordered: Floats, fraction: float) -> Floats:
    """Interpolate linearly between the sorted samples of each row; returns [rows, 1]."""
    position = fraction * (ordered.shape[1] - 1)
    below = int(position)
    low, high = ordered[:, below : below + 1], ordered[:, below + 1 : below + 2]
    return low + (high - low) * (position - below)


def _medians(ordered: Floats) -> Floats:
    """Return the medians of sorted rows, [rows, 1]."""
    n = int(ordered.shape[1])
    return (ordered[:, (n - 1) // 2, None] + ordered[:, n // 2, None]) / 2


def _medians_where(is_chosen: NDArray[np.bool_], series: Floats) -> Floats:
    """Return the median of what is chosen of each row, at least one sample."""
    ordered, counts = np.sort(np.where(is_chosen, series, np.inf), axis=1), is_chosen.sum(axis=1)
    rows = np.arange(len(series))
    return (ordered[rows, (counts - 1) // 2] + ordered[rows, counts // 2]) / 2


def _robust_deviations(residuals: Floats) -> Floats:
    """Return the median absolute deviations from 0, [rows, 1], scaled to the standard deviation of a normal one."""
    return 1.4826 * _medians(np.sort(np.abs(residuals), axis=1))
