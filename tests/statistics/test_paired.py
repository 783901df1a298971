"""Pairs against scipy, against brute force, and against noise of which the truth is known."""

import math
from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, stats

from windtunnel.statistics.paired import (
    LOOKS,
    Judgement,
    Side,
    Verdict,
    benjamini_hochberg,
    draw_block,
    judge,
    level_of_a_look,
    looks,
    over_looks,
    p_values,
    resolution,
    signed_rank,
)

Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]


def draw(n: int, *, centre: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(centre, 0.01, n)


@pytest.mark.parametrize("n", [1, 2, 7, 16, 33, 50])
@pytest.mark.parametrize("centre", [0.0, 0.005])
def test_p_value_is_scipys_exact_one(n: int, centre: float):
    d = draw(n, centre=centre, seed=n)

    assert signed_rank(d).p_value == pytest.approx(stats.wilcoxon(d, mode="exact").pvalue, rel=1e-12)


def test_p_value_of_many_differences_is_scipys_normal_one():
    d = draw(200, centre=0.001)

    assert signed_rank(d).p_value == pytest.approx(stats.wilcoxon(d, correction=True, mode="approx").pvalue, rel=1e-6)


def test_the_exact_and_the_normal_distribution_meet():
    d = draw(128, centre=0.002)

    assert signed_rank(d).p_value == pytest.approx(stats.wilcoxon(d, correction=True, mode="approx").pvalue, rel=0.1)


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_estimate_is_the_median_of_all_walsh_averages(n: int):
    d = draw(n, seed=n)

    averages = [(d[i] + d[j]) / 2 for i in range(n) for j in range(i, n)]

    assert signed_rank(d).estimate == pytest.approx(float(np.median(averages)), rel=1e-12)


@pytest.mark.parametrize("n", [8, 17, 48])
def test_the_interval_holds_the_centres_that_the_test_does_not_reject(n: int):
    d = draw(n, seed=n)
    shift, tiny = signed_rank(d), 1e-9

    assert stats.wilcoxon(d - (shift.low - tiny), mode="exact").pvalue <= 0.01
    assert stats.wilcoxon(d - (shift.low + tiny), mode="exact").pvalue > 0.01
    assert stats.wilcoxon(d - (shift.high + tiny), mode="exact").pvalue <= 0.01
    assert stats.wilcoxon(d - (shift.high - tiny), mode="exact").pvalue > 0.01


def test_the_interval_excludes_zero_exactly_when_the_p_value_says_so():
    rng = np.random.default_rng(0)
    for n in (16, 24, 129):
        for row in rng.normal(0.005, 0.01, (200, n)).round(3):  # rounded: ties and zeros
            shift = signed_rank(row)
            assert (shift.low > 0 or shift.high < 0) == (shift.p_value <= 0.01)


def test_zeros_and_ties_raise_the_p_value():
    some_zeros = np.concatenate((np.full(12, 0.01), np.zeros(4)))

    assert signed_rank(np.zeros(16)) == (0.0, 0.0, 0.0, 1.0)
    assert signed_rank(some_zeros).p_value > signed_rank(np.full(16, 0.01)).p_value


def test_too_few_differences_have_no_interval():
    shift = signed_rank([0.1] * 7)

    assert (shift.low, shift.high) == (-math.inf, math.inf)
    assert signed_rank([0.1] * 8).low == pytest.approx(0.1)


def test_rows_get_the_p_values_that_they_have_alone():
    rows = np.random.default_rng(0).normal(0.002, 0.01, (20, 16)).round(3)

    assert p_values(rows).tolist() == [signed_rank(row).p_value for row in rows]


@pytest.mark.parametrize(
    ("centre", "spread", "verdict"),
    [
        (0.05, 0.01, Verdict.SLOWER),
        (-0.05, 0.01, Verdict.FASTER),
        (0.0, 0.005, Verdict.EQUIVALENT),
        (0.0, 0.1, Verdict.INCONCLUSIVE),
        (0.003, 0.001, Verdict.SLOWER),  # a difference, although it is smaller than delta
    ],
)
def test_verdict(centre: float, spread: float, verdict: Verdict):
    d = stats.norm.ppf((np.arange(32) + 0.5) / 32) * spread + centre

    judgement = judge(d, delta=0.01)

    assert judgement.verdict is verdict
    assert judgement.effect.value == pytest.approx(math.expm1(centre), abs=1e-12)


def test_an_effect_below_the_resolution_is_not_claimed():
    d = draw(32, centre=0.02)
    restless = np.random.default_rng(1).normal(0, 0.2, 16)

    judgement = judge(d, restless, delta=0.01)

    assert judge(d, delta=0.01).verdict is Verdict.SLOWER
    assert judgement.resolution is not None
    assert judgement.resolution > 0.02
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_the_resolution_is_found_in_half_of_all_runs_and_half_as_much_again_in_nine_of_ten():
    rng, found = np.random.default_rng(0), Counter[float]()
    for _ in range(400):
        seen = resolution(rng.normal(0, 0.014, 100), num_pairs=32)
        assert seen is not None
        d = rng.normal(0, 0.014, 32)
        for factor in (1.0, 1.5):
            found[factor] += signed_rank(d + factor * seen).low > 0

    assert 0.4 <= found[1.0] / 400 <= 0.6
    assert 0.85 <= found[1.5] / 400 <= 0.95


def test_without_a_control_the_resolution_is_not_known():
    assert resolution([], num_pairs=16) is None
    assert resolution([0.1] * 3, num_pairs=16) is None
    assert resolution([0.1] * 4, num_pairs=0) is None


def test_each_side_goes_first_once_a_block_in_random_order():
    blocks = [draw_block(Random(seed)) for seed in range(400)]

    assert all(set(block) == set(Side) for block in blocks)
    assert 150 < Counter(blocks)[Side.A, Side.B] < 250
    assert [draw_block(Random(7)) for _ in range(3)] == [draw_block(Random(7))] * 3


def test_the_last_look_is_at_the_most_pairs():
    assert looks(2048) == LOOKS
    assert looks(40) == (16, 24, 32, 40)
    assert looks(8) == (8,)
    assert looks(3000) == (*LOOKS, 3000)


@pytest.mark.parametrize("max_pairs", [8, 40, 128, 200, 2048])
def test_the_levels_of_all_looks_sum_to_seven_percent_at_most(max_pairs: int):
    num_looks = len(looks(max_pairs))

    assert num_looks * level_of_a_look(num_looks) <= 0.07 + 1e-12
    assert level_of_a_look(num_looks) <= 0.01


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(0).uniform(0, 1, 50) ** 3

    assert benjamini_hochberg(p.tolist()) == tuple(stats.false_discovery_control(p) <= 0.05)
    assert benjamini_hochberg([]) == ()


def iid(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(0, 0.01, n)


def ar1(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Correlation .8 between neighbours, 1 % in all; the first 100 forget the start."""
    return signal.lfilter([1.0], [1.0, -0.8], rng.normal(0, 0.006, n + 100))[100:]


def ramp(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return iid(rng, n) + 0.04 * np.exp(-np.arange(n) / 20)


def drift(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return iid(rng, n) + np.linspace(0, 0.02 * n / 96, n)  # 2 % over 32 pairs with their control


def two_states(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Two clock states 3 % apart, 20 samples long on average."""
    return rng.normal(0, 0.003, n) + 0.03 * (np.cumsum(rng.random(n) < 0.05) % 2)


def outliers(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return iid(rng, n) + math.log(1.5) * (rng.random(n) < 0.03)


NOISES: tuple[Noise, ...] = (iid, ar1, ramp, drift, two_states, outliers)
TRIALS = 200
LEVEL = level_of_a_look(len(LOOKS))


def simulate(noise: Noise, *, effect: float, penalty: float, seed: int) -> Judgement:
    """Run a comparison to its end on log-times from `noise`; the first of a pair takes `penalty` more."""
    rng, order = np.random.default_rng(seed), Random(seed)
    log_times = noise(rng, 3 * LOOKS[-1]).reshape(-1, 3, 2)  # [block, pair, slot]: two pairs and one of the control
    log_times[:, :, 0] += penalty
    differences: list[float] = []
    null: list[float] = []
    for block in log_times:
        kinds: list[Side | None] = [*draw_block(order)]
        kinds.insert(order.randrange(3), None)
        for first, (one, other) in zip(kinds, block, strict=True):
            if first is None:
                null.append(other - one)
            else:
                differences.append((other - one if first is Side.A else one - other) + effect)
        if len(differences) in LOOKS:
            judgement = judge(differences, null, delta=0.01, alpha=LEVEL)
            if judgement.verdict is not Verdict.INCONCLUSIVE:
                return judgement
    return judge(differences, null, delta=0.01, alpha=LEVEL)


def count_verdicts(noise: Noise, *, effect: float = 0.0, penalty: float = 0.0) -> Counter[Verdict]:
    return Counter(simulate(noise, effect=effect, penalty=penalty, seed=seed).verdict for seed in range(TRIALS))


@pytest.mark.parametrize("penalty", [0.0, 0.01])
@pytest.mark.parametrize("noise", NOISES)
def test_at_most_seven_percent_of_equal_pairs_are_called_different(noise: Noise, penalty: float):
    verdicts = count_verdicts(noise, penalty=penalty)

    print(f"{noise.__name__:>10} penalty {penalty:.0%} {dict(verdicts)}")  # noqa: T201  # shown with -s
    assert verdicts[Verdict.SLOWER] + verdicts[Verdict.FASTER] <= 0.07 * TRIALS


@pytest.mark.parametrize("penalty", [0.0, 0.01])
@pytest.mark.parametrize("noise", NOISES)
def test_one_percent_is_found_in_ninety_percent(noise: Noise, penalty: float):
    verdicts = count_verdicts(noise, effect=0.01, penalty=penalty)

    print(f"{noise.__name__:>10} penalty {penalty:.0%} +1 % {dict(verdicts)}")  # noqa: T201
    assert verdicts[Verdict.SLOWER] >= 0.9 * TRIALS


@pytest.mark.parametrize("noise", [ar1, drift, ramp])
def test_one_side_after_the_other_fails_the_same_test(noise: Noise):
    rng = np.random.default_rng(0)
    series = (np.split(noise(rng, 64), 2) for _ in range(TRIALS))
    false_alarms = sum(stats.ttest_ind(a, b, equal_var=False).pvalue <= 0.05 for a, b in series)

    assert false_alarms > 0.3 * TRIALS


def test_at_most_five_percent_of_null_grids_have_a_cell_that_is_slower():
    rng, num_grids, num_cells, looks_taken = np.random.default_rng(0), 1000, 60, looks(256)
    grids_with_slower = 0
    for _ in range(num_grids):
        cells = rng.normal(0, 0.014, (num_cells, looks_taken[-1]))

        # The smallest p-value of all looks: more than any stopping rule can pick.
        smallest = np.minimum.reduce([p_values(cells[:, :n]) for n in looks_taken])
        found = benjamini_hochberg([over_looks(value, len(looks_taken)) for value in smallest.tolist()])
        grids_with_slower += bool(np.any(np.array(found) & (np.median(cells, axis=1) > 0)))

    assert grids_with_slower <= 0.05 * num_grids


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.lognormal(0, 1, shape) * 0.01


def busy(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Every tenth sample takes half as much again up to four times as long."""
    return rng.normal(0, 0.01, shape) + np.log1p(rng.uniform(0.5, 3, shape)) * (rng.random(shape) < 0.1)


@pytest.mark.parametrize("draw_times", [heavy_tails, busy])
def test_all_looks_together_keep_their_level_and_find_one_percent(
    draw_times: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]],
):
    """Any look that rejects counts, without the resolution and the early "equivalent", which lower both."""
    rng, shape = np.random.default_rng(0), (1000, LOOKS[-1])
    d = draw_times(rng, shape) - draw_times(rng, shape)

    false_alarms, found = (
        np.mean(np.any([p_values(d[:, :n] + shift) <= LEVEL for n in LOOKS], axis=0)) for shift in (0.0, math.log(1.01))
    )

    print(f"{draw_times.__name__}: false alarms {false_alarms:.1%}, +1 % found {found:.1%}")  # noqa: T201
    assert false_alarms <= 0.055  # 4.1 % in 5,000 trials
    assert found >= 0.99
