"""Two configurations measured in pairs: how much they differ, how sure that is, and what could have been seen.

A pair is one time of A and one of B, back to back, in an order drawn at random. Whatever changes slowly (clocks,
temperature, other users) is in both and leaves their difference; whatever favours the first or the second of a pair
falls on each side equally often. So the differences d = log t_B - log t_A are symmetric about the effect, which is
all that the signed-rank test asks for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from random import Random
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOOKS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Numbers of pairs after which the differences are judged."""

ALPHA = 0.01
"""The level of one look is this at most: see `level_of_a_look`."""

ALPHA_OF_ALL_LOOKS = 0.07
"""The most equal pairs that all looks together declare different, however the looks depend on each other."""

LEAST_PAIRS = 8
"""Below this no signed-rank interval of level ALPHA exists, see `fewest_pairs`; with more looks it takes 9."""

EXACT_UP_TO = 128
"""Up to so many differences the null distribution is computed exactly; above, the normal one is as good."""


class Side(StrEnum):
    """One of the two that are compared."""

    A = "a"
    B = "b"


class Verdict(StrEnum):
    """What a comparison says of B against A."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


class Shift(NamedTuple):
    """The centre of a series of differences with its interval and the two-sided p-value of "the centre is 0"."""

    estimate: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """The change in time from A to B, a fraction of A's time: 0.02 is 2 % slower.

    `low` and `high` hold it with confidence 1 - alpha, the level of one look: 99 % up to seven looks, 99.5 % with all
    15. They are -1 and infinity where there are too few pairs.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the pairs say at one look.

    `p_value` is that of this look alone: see `over_looks`. `resolution` is None when the null control has too few pairs
    for an interval, or there is none.
    """

    verdict: Verdict
    effect: Effect
    p_value: float
    resolution: float | None


def looks(max_pairs: int) -> tuple[int, ...]:
    """Return the numbers of pairs at which to judge, the last one `max_pairs`."""
    return (*(n for n in LOOKS if n < max_pairs), max_pairs)


def level_of_a_look(num_looks: int, *, error: float = ALPHA_OF_ALL_LOOKS) -> float:
    """Return the alpha of each of so many looks: their sum is at most `error`, which bounds the false alarms of all.

    Looks share most of their pairs, so fewer are: in simulated noise of five kinds 4 to 5 % of equal pairs have a look
    that rejects, with seven looks at .01 as with 15 at .0047 (benchmarks/looks.py). Seven at .05 would be 16 to 19 %.
    """
    return min(ALPHA, error / num_looks)


def fewest_pairs(alpha: float) -> int:
    """Return the fewest pairs that have a signed-rank interval: all signs alike has probability 2 / 2**n."""
    return math.ceil(math.log2(2 / alpha))


def draw_block(generator: Random) -> tuple[Side, Side]:
    """Draw which side goes first in each of the next two pairs: both do once, in random order."""
    return (Side.A, Side.B) if generator.random() < 0.5 else (Side.B, Side.A)


def judge(
    differences: Sequence[float] | NDArray[np.float64],
    null_differences: Sequence[float] | NDArray[np.float64] = (),
    *,
    delta: float,
    alpha: float = ALPHA,
) -> Judgement:
    """Judge B against A from log t_B - log t_A of each pair, and those of the control from the same run.

    A difference counts only if the interval excludes 0 and the effect is at least what the run could see; it counts
    also when it is smaller than `delta`. Equivalent means that the interval lies within ±delta, which is two
    one-sided tests at alpha / 2 each.
    """
    shift = signed_rank(differences, alpha=alpha)
    effect = Effect(value=math.expm1(shift.estimate), low=math.expm1(shift.low), high=_expm1(shift.high))
    seen = resolution(null_differences, num_pairs=len(differences), alpha=alpha)
    verdict = Verdict.INCONCLUSIVE
    if (shift.low > 0 or shift.high < 0) and (seen is None or abs(effect.value) >= seen):
        verdict = Verdict.SLOWER if shift.low > 0 else Verdict.FASTER
    elif -delta <= effect.low and effect.high <= delta:
        verdict = Verdict.EQUIVALENT
    return Judgement(verdict=verdict, effect=effect, p_value=shift.p_value, resolution=seen)


def signed_rank(differences: Sequence[float] | NDArray[np.float64], *, alpha: float = ALPHA) -> Shift:
    """Return the Hodges-Lehmann estimate and the interval of all centres that Wilcoxon's test does not reject.

    The estimate is the median of the Walsh averages (d_i + d_j) / 2, i <= j; the interval lies between two of their
    order statistics. Ties and zeros stay in: they widen the interval and raise the p-value, never the reverse.

    Cost: n² / 2 numbers, of which four are selected; some 50 ms for 2,048 differences.
    Source: Hollander, Wolfe and Chicken 2014, sections 3.2 and 3.3.
    """
    d = np.asarray(differences, dtype=np.float64)
    first, second = np.triu_indices(len(d))
    walsh = (d[first] + d[second]) / 2
    last = len(walsh) - 1
    # A Walsh average more on the wrong side of a centre than this, and the test no longer rejects it.
    critical = _critical_rank_sum(len(d), alpha)
    walsh.partition(sorted({max(critical, 0), last // 2, (last + 1) // 2, last - max(critical, 0)}))
    low, high = (walsh[critical], walsh[last - critical]) if critical >= 0 else (-math.inf, math.inf)
    median = (walsh[last // 2] + walsh[(last + 1) // 2]) / 2
    p_value = float(p_values(d[np.newaxis])[0])
    return Shift(float(median), float(low), float(high), p_value)


def p_values(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two-sided signed-rank p-value of each row of `differences`."""
    n = int(differences.shape[-1])
    rank_sums = np.minimum(_rank_sum_not_above_zero(differences), _rank_sum_not_above_zero(-differences))
    if n <= EXACT_UP_TO:
        return np.minimum(1.0, 2 * _null_distribution(n)[rank_sums])
    mean, std = _null_moments(n)
    return np.array([min(1.0, 2 * NormalDist().cdf((w + 0.5 - mean) / std)) for w in rank_sums.tolist()])


def over_looks(p_value: float, num_looks: int) -> float:
    """Return a p-value that allows for having looked `num_looks` times (Bonferroni)."""
    return min(1.0, p_value * num_looks)


def resolution(
    null_differences: Sequence[float] | NDArray[np.float64], *, num_pairs: int, alpha: float = ALPHA
) -> float | None:
    """Return the smallest effect that `num_pairs` pairs could have shown, a fraction; None with too few null pairs.

    It is the half-width that an interval from `num_pairs` pairs of the control has: an effect as large as this moves
    such an interval off 0 in about half of all runs, one 1.5 times as large in 90 %. Two steps give it from the
    `m` null differences. As the order of a pair is random, the sign of a null difference means nothing, so each is
    taken with both signs, 2m values centred on 0. The half-width of their interval falls with the root of the
    number, so it is multiplied by sqrt(2m / num_pairs). The spread of a side against itself is used, and not
    that of B against A, because it stays what it is however much B differs from A.
    """
    if 2 * len(null_differences) < fewest_pairs(alpha) or not num_pairs:
        return None
    one_sign = np.asarray(null_differences, dtype=np.float64)
    both_signs = np.concatenate((one_sign, -one_sign))
    return _expm1(signed_rank(both_signs, alpha=alpha).high * math.sqrt(len(both_signs) / num_pairs))


def benjamini_hochberg(p_values: Sequence[float], *, rate: float = 0.05) -> tuple[bool, ...]:
    """Say which of many tests are discoveries, so that at most `rate` of the discoveries are expected to be false.

    Where all hypotheses are null, the probability of any discovery is at most `rate`.
    Source: Benjamini and Hochberg 1995.
    """
    ordered = sorted(p_values)
    passing = (p for rank, p in enumerate(ordered, 1) if p <= rate * rank / len(ordered))
    threshold = max(passing, default=-1.0)
    return tuple(p <= threshold for p in p_values)


def _rank_sum_not_above_zero(d: NDArray[np.float64]) -> NDArray[np.intp]:
    """Count for each row the Walsh averages that are <= 0, as the sum of the ranks of what is <= 0.

    Of equal sizes the one <= 0 gets the higher rank: then each rank counts exactly the averages with smaller sizes.
    """
    not_above = d <= 0
    order = np.lexsort((not_above, np.abs(d)), axis=-1)
    ranks = np.arange(1, int(d.shape[-1]) + 1, dtype=np.intp)
    counted = np.where(np.take_along_axis(not_above, order, axis=-1), ranks, 0)
    return np.asarray(np.sum(counted, axis=-1), dtype=np.intp)


def _critical_rank_sum(n: int, alpha: float) -> int:
    """Return the largest w with P(W <= w) <= alpha / 2, or -1."""
    if n <= EXACT_UP_TO:
        return int(np.searchsorted(_null_distribution(n), alpha / 2, side="right")) - 1
    mean, std = _null_moments(n)
    return math.floor(mean - 0.5 + std * NormalDist().inv_cdf(alpha / 2))


def _null_moments(n: int) -> tuple[float, float]:
    return n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)


@cache
def _null_distribution(n: int) -> NDArray[np.float64]:
    """Return P(W <= w) for w = 0 … n(n + 1) / 2, where W is the sum of ranks with a sign by chance."""
    most = n * (n + 1) // 2
    probability = np.zeros(most + 1)
    probability[0] = 1.0
    for rank in range(1, n + 1):
        probability[rank:] += probability[:-rank].copy()
        probability /= 2
    return probability.cumsum()


def _expm1(value: float) -> float:
    """Return exp(value) - 1, infinity where it is too large for a float."""
    return math.expm1(value) if value < 700 else math.inf
