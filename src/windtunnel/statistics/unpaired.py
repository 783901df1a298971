"""Two series that were measured at different times: what they can say without pairs, which is less than it seems.

One series does not show how the next run of the same code would differ: clocks, memory layout and other users change
between runs, so an interval from samples alone calls 40 to 100 % of equal series different on a machine that drifts.
So three things stand in the way of a claim. The unit is the process where there are several, and where there is one
its slow wander, not shrunk by the number of samples. The scatter of a whole grid is the least uncertainty of each of
its cells. And a difference must exceed a margin by more than that, beyond what all cells did together: a whole session
may be faster than the next one, which nothing within either shows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from windtunnel.language import say
from windtunnel.statistics.batches import Floats, blocks_of
from windtunnel.statistics.interval import FEWEST_PROCESSES
from windtunnel.statistics.paired import Verdict, benjamini_hochberg
from windtunnel.units import change, percent

MARGIN_OF_PROCESSES = 0.02
"""With several processes on both sides: what a cell may do between sessions beyond what all cells do together."""

MARGIN_OF_ONE = 0.05
"""With one process on a side: a drift of 2 %, and a clock state of 3 % that lasts for a whole run."""

LARGEST_BY_PROCESS = 0.2
"""With several processes a change of all cells alike is claimed beyond this: their spread shows a machine in use."""

LARGEST_OF_ONE = 1.0
"""With one process, a change of all cells alike, or of fewer than five, only beyond a factor of 2: on an overloaded
machine 95 % of sequential trials of identical code differed by less than 80 %."""

CONFIDENCE = 0.95

FEWEST_SAMPLES = 6
"""Three blocks of two: with fewer the wander of a series is not known at all."""

FEWEST_CELLS = 5
"""From so many cells on their scatter is worth knowing."""

_NUM_BLOCKS = 8
_LEAST_DEVIATION = 1e-6  # equal samples do not make a machine that is known to the nanosecond

Processes = Sequence[Sequence[float] | Floats]
"""The samples of each process, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Where one side lies: the logarithm of its time, with the variance of that and its degrees of freedom."""

    centre: float
    variance: float
    degrees: float
    is_by_process: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What is said of one cell: the change from the first side to the second, a fraction of the first one's time.

    `low` and `high` hold it with 95 % confidence; all three are None where a side has too few samples, and `p_value`
    is then 1. An interval above `slower_from` or below `faster_from` is a claim, and `p_value` that of "the change lies
    between these". `margin` is what equivalent means.
    """

    value: float | None
    low: float | None
    high: float | None
    p_value: float
    margin: float
    faster_from: float
    slower_from: float
    is_by_process: bool
    verdict: Verdict
    reason: str = ""

    @property
    def is_suspicious(self) -> bool:
        """Whether it is worth measuring again: a claim, or no verdict on a change beyond the margin or besides 0."""
        if self.verdict is Verdict.EQUIVALENT or self.value is None or self.low is None or self.high is None:
            return False
        return self.verdict is not Verdict.INCONCLUSIVE or abs(self.value) > self.margin or self.low * self.high > 0


def level_of(processes: Processes) -> Level | None:
    """Return where the samples of one side lie, as `levels_of` does; many sides are faster there."""
    return levels_of((processes,))[0]


def levels_of(sides: Sequence[Processes]) -> tuple[Level | None, ...]:
    """Return where the samples of each side lie; None with fewer than six samples in fewer than three processes.

    With at least three processes each median is one observation, and the variance is that of their mean. With fewer it
    is the variance of single block medians: up to eight blocks in order, whose wander a run shows, and which the next
    run may have anywhere within it. More samples make it better known, not smaller.
    """
    described = iter(_described([samples for side in sides for samples in side]))
    return tuple(_of_side([next(described) for _ in side], sum(map(len, side))) for side in sides)


def _of_side(processes: Sequence[tuple[float, Floats]], num_samples: int) -> Level | None:
    medians = np.array([median for median, _ in processes])
    if len(medians) >= FEWEST_PROCESSES:
        variance = float(medians.var(ddof=1)) / len(medians)
        return _level(float(medians.mean()), variance, len(medians) - 1, is_by_process=True)
    if num_samples < FEWEST_SAMPLES:
        return None
    blocks = np.concatenate([of_process for _, of_process in processes])
    if len(blocks) < 3:
        return None
    return _level(float(medians.mean()), float(blocks.var(ddof=1)), len(blocks) - 1, is_by_process=False)


def _described(series: Sequence[Sequence[float] | Floats]) -> list[tuple[float, Floats]]:
    """Return of each series the logarithms of its median and of those of up to eight blocks of at least two samples.

    What is left over at the beginning is in no block.
    """
    found: dict[int, tuple[float, Floats]] = {}
    for places, samples in blocks_of(series):
        positive, n = np.maximum(samples, 1.0), int(samples.shape[1])
        size = max(2, n // _NUM_BLOCKS)
        count = min(_NUM_BLOCKS, n // size)
        blocks = positive[:, n - count * size :].reshape(len(places), count, size)
        medians = np.log(np.median(positive, axis=1)).tolist()
        found.update(zip(places, zip(medians, np.log(np.median(blocks, axis=2)), strict=True), strict=True))
    return [found[place] for place in range(len(series))]


def _level(centre: float, variance: float, degrees: float, *, is_by_process: bool) -> Level:
    least = max(variance, _LEAST_DEVIATION**2)
    return Level(centre=centre, variance=least, degrees=degrees, is_by_process=is_by_process)


def scatter_of(differences: Iterable[float]) -> float | None:
    """Return the standard deviation of the logarithms of all changes of a grid about their middle, robustly.

    Most cells of most changes do not change, and those that do mostly change alike, so it shows what two runs of a
    cell differ by. Where half of the cells change, and unlike, it is too large: then nothing is claimed, and pairs
    have to say. None for fewer than five.
    """
    values = np.array(list(differences))
    if len(values) < FEWEST_CELLS:
        return None
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def judge_unpaired(
    pairs: Sequence[tuple[Processes, Processes]], *, margin: float | None = None, rate: float = 0.05
) -> tuple[Difference, ...]:
    """Judge the second side of each pair of a grid against the first.

    Slower and faster need an interval that lies beyond the margin, counted from what all cells did together, and a
    p-value that survives Benjamini and Hochberg's correction over the grid: where nothing changed, the probability of
    any claim is at most `rate`, as long as what happens to single cells between two runs stays within the margin.
    What all cells do alike is claimed beyond 20 % (several processes) or a factor of 2 (one). Equivalent means that
    the interval lies within the margin of 0: no more than that can be told.

    Args:
        pairs: Of each cell the samples of both sides, by process, in one unit.
        margin: A fraction of 1, counted from 0 whatever the other cells do; None: 5 %, or 2 % with several processes
            on both sides, counted as above.
        rate: Of the claims of a grid, the share that may be false.
    """
    levels = list(zip(levels_of([a for a, _ in pairs]), levels_of([b for _, b in pairs]), strict=True))
    single = [b.centre - a.centre for a, b in levels if a and b and not _is_by_process(a, b)]
    every = [b.centre - a.centre for a, b in levels if a and b]
    scatter = scatter_of(single)
    found: list[Difference] = []
    kinds = {is_by_process: _bounds(every, margin, is_by_process=is_by_process) for is_by_process in (False, True)}
    for a, b in levels:
        is_by_process = _is_by_process(a, b)
        bounds = kinds[is_by_process]
        if a is None or b is None:
            found.append(_too_few(bounds))
        else:
            found.append(_difference(a, b, bounds, None if is_by_process else scatter, len(single)))
    survive = benjamini_hochberg([one.p_value for one in found], rate=rate)
    return tuple(_corrected(one, len(found), is_kept=kept) for one, kept in zip(found, survive, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bounds:
    """Between what no change is claimed, in logarithms, and why these are no narrower."""

    margin: float
    low: float
    high: float
    reason: str

    @property
    def log_margin(self) -> float:
        return math.log1p(self.margin)


def _bounds(shifts: Sequence[float], margin: float | None, *, is_by_process: bool) -> _Bounds:
    if margin is not None:
        return _Bounds(margin=margin, low=-math.log1p(margin), high=math.log1p(margin), reason="")
    margin, largest = (MARGIN_OF_PROCESSES, LARGEST_BY_PROCESS) if is_by_process else (MARGIN_OF_ONE, LARGEST_OF_ONE)
    near, far = math.log1p(margin), math.log1p(largest)
    if len(shifts) < FEWEST_CELLS:
        reason = say(
            "of fewer than {cells} cells only a change beyond {change} is claimed without pairs",
            cells=FEWEST_CELLS,
            change=percent(largest, 0),
        )
        return _Bounds(margin=margin, low=-far, high=far, reason=reason)
    common = float(np.median(shifts))
    reason = ""
    if abs(common) > near:
        reason = say(
            "all cells together changed by {change}, which may be the machine; pairs can tell",
            change=change(math.expm1(common), 0),
        )
    return _Bounds(
        margin=margin,
        low=max(min(0.0, common) - near, -far),
        high=min(max(0.0, common) + near, far),
        reason=reason,
    )


def _is_by_process(a: Level | None, b: Level | None) -> bool:
    return a is not None and b is not None and a.is_by_process and b.is_by_process


def _too_few(bounds: _Bounds) -> Difference:
    return Difference(
        value=None,
        low=None,
        high=None,
        p_value=1.0,
        margin=bounds.margin,
        faster_from=math.expm1(bounds.low),
        slower_from=math.expm1(bounds.high),
        is_by_process=False,
        verdict=Verdict.INCONCLUSIVE,
        reason=say("fewer than {n} samples on a side", n=FEWEST_SAMPLES),
    )


def _difference(a: Level, b: Level, bounds: _Bounds, scatter: float | None, num_cells: int) -> Difference:
    from scipy.special import stdtr, stdtrit

    shift, variance = b.centre - a.centre, a.variance + b.variance
    degrees = variance**2 / (a.variance**2 / a.degrees + b.variance**2 / b.degrees)
    if scatter is not None and scatter**2 > variance:
        variance, degrees = scatter**2, min(degrees, num_cells - 1)
    deviation = math.sqrt(variance)
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * deviation
    beyond, low, high = max(shift - bounds.high, bounds.low - shift), shift - half, shift + half
    verdict, reason = Verdict.INCONCLUSIVE, say("the interval reaches over the margin")
    if low > bounds.high or high < bounds.low:
        verdict, reason = (Verdict.SLOWER if shift > 0 else Verdict.FASTER), ""
    elif -bounds.log_margin <= low and high <= bounds.log_margin:
        verdict, reason = Verdict.EQUIVALENT, ""
    elif low > bounds.log_margin or high < -bounds.log_margin:
        reason = bounds.reason
    return Difference(
        value=math.expm1(shift),
        low=math.expm1(low),
        high=_expm1(high),
        p_value=2 * float(stdtr(degrees, -beyond / deviation)) if beyond > 0 else 1.0,
        margin=bounds.margin,
        faster_from=math.expm1(bounds.low),
        slower_from=math.expm1(bounds.high),
        is_by_process=_is_by_process(a, b),
        verdict=verdict,
        reason=reason,
    )


def _corrected(found: Difference, num_cells: int, *, is_kept: bool) -> Difference:
    if is_kept or found.verdict not in {Verdict.SLOWER, Verdict.FASTER}:
        return found
    reason = say("among {cells} cells such a difference turns up by accident (Benjamini and Hochberg)", cells=num_cells)
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _expm1(value: float) -> float:
    return math.expm1(value) if value < 700 else math.inf
