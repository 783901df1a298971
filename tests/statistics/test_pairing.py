"""The schedule of pairs, with measurements that are written down beforehand."""

import math
from itertools import pairwise
from random import Random

import pytest

from windtunnel.statistics.paired import Effect, Side, Verdict
from windtunnel.statistics.pairing import (
    Finding,
    PairPlan,
    Taken,
    Turn,
    differences,
    draw_processes,
    draw_samples,
    take_pairs,
)

A, B = Side.A, Side.B
SEEDS = range(40)


def take(plan: PairPlan, *, ratio: float, turn_seconds: float = 0.0) -> tuple[Taken, list[Turn]]:
    """Take pairs of a B that takes `ratio` times as long as A, with 0.1 % of noise."""
    noise, turns, values = Random(7), [], []

    def measure(block: tuple[Turn, ...]) -> None:
        for turn in block:
            turns.append(turn)
            values.append((ratio if turn.side is B else 1.0) * (1 + 0.001 * noise.gauss(0, 1)))

    taken = take_pairs(
        plan,
        seed=1,
        draw=draw_samples,
        take=measure,
        read=lambda: differences(turns, values),
        elapsed=lambda: turn_seconds * len(turns),
    )
    return taken, turns


def plan(**fields: float | None) -> PairPlan:
    return PairPlan(**{"max_pairs": 128, "max_seconds": 1e9} | fields)


@pytest.mark.parametrize("seed", SEEDS)
def test_processes_take_turns_as_abba_or_baab(seed: int):
    turns = draw_processes(Random(seed), 6)

    sides = "".join(turn.side for turn in turns)
    assert sides in {"abbaa", "baab"}
    assert [turn.pair for turn in turns[:4]] == [6, 6, 7, 7]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_control_of_processes_is_two_neighbouring_turns_of_a(seed: int):
    turns = draw_processes(Random(seed), 6)

    places = [place for place, turn in enumerate(turns) if turn.null_pair == 3]
    assert [(b - a, turns[a].side, turns[b].side) for a, b in pairwise(places)] == [(1, A, A)]


def test_both_orders_of_processes_are_drawn():
    assert {len(draw_processes(Random(seed), 0)) for seed in SEEDS} == {4, 5}


@pytest.mark.parametrize("seed", SEEDS)
def test_in_two_pairs_of_samples_each_side_is_first_once_and_one_meets_itself_once(seed: int):
    turns = draw_samples(Random(seed), 2)

    firsts = {turns[place].side for place in (0, 2, 4) if turns[place].pair is not None}
    assert firsts == {A, B}
    assert [turn.side for turn in turns if turn.null_pair == 1] == [B, B]
    assert sorted(turn.pair for turn in turns if turn.pair is not None) == [2, 2, 3, 3]


def test_both_sides_are_the_control_equally_often_so_that_neither_runs_more_than_the_other():
    turns = [turn for pair in range(0, 16, 2) for turn in draw_samples(Random(pair), pair)]

    assert [turn.side for turn in turns].count(A) == [turn.side for turn in turns].count(B) == 24


def test_a_difference_is_b_over_a_in_either_order_and_the_controls_is_later_over_earlier():
    turns = [Turn(side=A, pair=0), Turn(side=B, pair=0), Turn(side=B, pair=1), Turn(side=A, pair=1)]
    turns += [Turn(side=A, null_pair=0), Turn(side=A, null_pair=0)]

    pairs, null_pairs = differences(turns, [1, 2, 6, 2, 4, 5])

    assert pairs == [pytest.approx(math.log(2)), pytest.approx(math.log(3))]
    assert null_pairs == [pytest.approx(math.log(5 / 4))]


def test_a_pair_that_was_cut_short_is_none():
    assert differences([Turn(side=A, pair=0), Turn(side=B, pair=0), Turn(side=A, pair=1)], [1, 1, 1]) == ([0.0], [])


def test_a_turn_may_serve_in_a_pair_and_in_the_control():
    turns = [Turn(side=B, pair=0), Turn(side=A, pair=0, null_pair=0), Turn(side=A, pair=1, null_pair=0)]

    pairs, null_pairs = differences([*turns, Turn(side=B, pair=1)], [3, 1, 1, 3])

    assert pairs == [pytest.approx(math.log(3))] * 2
    assert null_pairs == [0.0]


def test_pairs_end_at_the_first_look_with_a_verdict():
    taken, turns = take(plan(), ratio=1.5)

    assert (taken.num_pairs, taken.is_enough, taken.judgement.verdict) == (16, True, Verdict.SLOWER)
    assert len(turns) == 3 * 16


def test_a_target_takes_more_pairs_than_the_verdict():
    taken, _ = take(plan(target=0.0006), ratio=1.5)

    assert taken.num_pairs > 16
    assert taken.is_enough


def test_the_most_pairs_end_it_without_a_verdict():
    taken, _ = take(plan(max_pairs=20, delta=1e-6), ratio=1.0)

    assert (taken.num_pairs, taken.is_enough) == (20, False)


def test_the_time_ends_it_between_two_pairs():
    taken, turns = take(plan(max_seconds=10), ratio=1.5, turn_seconds=1.0)

    assert (taken.num_pairs, taken.is_enough, len(turns)) == (4, False, 12)


def test_a_target_that_was_missed_is_a_warning_with_the_limit():
    taken, _ = take(plan(max_pairs=20, target=1e-9), ratio=1.0)

    assert taken.warnings == ("the target of ±0.00 % was not reached at the limit of 20 pairs",)
    assert take(plan(), ratio=1.5)[0].warnings == ()


def test_eight_pairs_of_a_plan_with_many_looks_have_no_interval_and_no_resolution():
    long = plan(max_pairs=2048, max_seconds=24)

    taken, _ = take(long, ratio=1.5, turn_seconds=1.0)

    finding = Finding.of(taken.judgement, long, taken.num_pairs)
    assert (finding.pairs, finding.verdict, finding.resolution) == (8, Verdict.INCONCLUSIVE, None)
    assert finding.reason == "8 pairs within the limit of 24.0 s are too few for an interval, which takes 9"


def test_a_plan_with_one_look_has_an_interval_from_eight_pairs_on():
    taken, _ = take(plan(max_pairs=8), ratio=1.5)

    assert (taken.judgement.verdict, taken.judgement.resolution is None) == (Verdict.SLOWER, False)


def test_every_value_of_a_plan_that_is_out_of_range_is_named():
    assert PairPlan(delta=1.0, target=0.0, max_pairs=7, max_seconds=0).faults() == [
        "target is 0.0; it is a fraction above 0, such as 0.005, or None",
        "delta is 1.0; it is a fraction between 0 and 1, such as 0.01",
        "max_pairs is 7; it is an even number from 8",
        "max_seconds is 0; it is a number above 0",
    ]


def test_a_sentence_says_where_the_difference_is():
    effect = Effect(value=-0.123, low=-0.13, high=-0.11)
    finding = Finding(
        verdict=Verdict.FASTER, effect=effect, resolution=0.004, p_value=0.001, pairs=64, reason="", delta=0.01
    )

    assert finding.sentence("A", "B", " in the whole step") == (
        "B takes 12.30 % less time than A in the whole step [-13.00 %, -11.00 %] (64 pairs; this run could see 0.40 %)"
    )


def test_the_level_of_a_look_falls_with_the_error_that_all_may_have():
    assert plan(max_pairs=128).alpha == pytest.approx(0.01)
    assert plan(max_pairs=128, error=0.007).alpha == pytest.approx(0.001)
    assert plan(max_pairs=16, error=0.05).alpha == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.8, Verdict.FASTER), (2.2, Verdict.SLOWER), (2.0, Verdict.EQUIVALENT)]
)
def test_with_twice_the_work_the_time_of_a_unit_is_compared(ratio: float, verdict: Verdict):
    taken, _ = take(plan(work_ratio=2.0), ratio=ratio)

    assert taken.judgement.verdict is verdict
    assert taken.judgement.effect.value == pytest.approx(ratio / 2 - 1, abs=0.002)


@pytest.mark.parametrize("fields", [{"error": 0.0}, {"error": 0.08}, {"work_ratio": 0.0}, {"work_ratio": math.inf}])
def test_an_error_or_a_ratio_out_of_range_is_a_fault(fields: dict[str, float]):
    assert len(plan(**fields).faults()) == 1
