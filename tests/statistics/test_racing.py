"""The race: what it asks for and in which order, what it concludes, and how often it is right on simulated machines."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from windtunnel.statistics.paired import Effect, Verdict
from windtunnel.statistics.racing import ERROR, ROUNDS, Duel, Ending, Look, Race, Standing

TRIALS = range(200)


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    """Load `benchmarks/racing.py` by its path: benchmarks are scripts, not a package."""
    path = Path(__file__).parents[2] / "benchmarks" / "racing.py"
    spec = importlib.util.spec_from_file_location("windtunnel_benchmarks_racing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def look(seconds: float, spread: float = 0.01) -> Look:
    return Look(times=tuple(seconds * (1 + spread * place) for place in (-2, -1, 0, 1, 2)))


def race(**seconds: float) -> Race:
    return Race({name: look(value) for name, value in seconds.items()})


def settle(race: Race, verdict: Verdict, low: float = 0.0) -> Duel:
    duel = race.next_duel()
    assert duel is not None
    race.settle(duel, verdict, Effect(value=low + 0.01, low=low, high=low + 0.02))
    return duel


def test_the_fastest_look_leads_and_the_next_fastest_is_its_first_challenger():
    begun = race(a=1.2, b=1.0, c=1.1)

    duel = begun.next_duel()

    assert begun.leader == "b"
    assert duel is not None
    assert (duel.leader, duel.challenger, duel.round, duel.max_pairs) == ("b", "c", 0, ROUNDS[0])


def test_who_is_far_behind_in_its_look_is_out_without_a_duel():
    begun = race(a=1.0, b=2.2)

    assert begun.standings["b"] is Standing.BEHIND
    assert begun.next_duel() is None
    assert begun.ending is Ending.BEST


def test_a_look_that_overlaps_the_leaders_decides_nothing_however_slow_it_is():
    begun = Race({"a": look(1.0, spread=0.3), "b": look(2.6, spread=0.3)})

    assert begun.standings["b"] is Standing.OPEN


def test_a_look_that_is_apart_but_nearer_than_looks_can_be_off_decides_nothing():
    assert race(a=1.0, b=1.9).standings["b"] is Standing.OPEN


def test_a_slower_challenger_is_out_and_the_leader_is_the_best():
    begun = race(a=1.0, b=1.05)

    settle(begun, Verdict.SLOWER)

    assert begun.winners == ("a",)
    assert begun.ending is Ending.BEST


def test_a_faster_challenger_leads_and_those_that_were_as_fast_as_the_old_leader_must_meet_it():
    begun = race(a=1.0, b=1.01, c=1.02)
    settle(begun, Verdict.EQUIVALENT)

    faster = settle(begun, Verdict.FASTER)
    again = begun.next_duel()

    assert faster.challenger == begun.leader == "c"
    assert begun.standings["a"] is Standing.SLOWER
    assert again is not None
    assert (again.leader, again.challenger, again.round) == ("c", "b", 0)


def test_all_that_are_open_have_a_short_duel_before_one_has_a_longer_one():
    begun = race(a=1.0, b=1.01, c=1.02)

    asked = [settle(begun, Verdict.INCONCLUSIVE) for _ in range(4)]

    assert [(duel.challenger, duel.round) for duel in asked] == [("b", 0), ("c", 0), ("b", 1), ("c", 1)]
    assert [duel.max_pairs for duel in asked] == [*[ROUNDS[0]] * 2, *[ROUNDS[1]] * 2]


def test_in_a_later_round_the_one_that_may_still_be_the_fastest_comes_first():
    begun = race(a=1.0, b=1.01, c=1.02)
    settle(begun, Verdict.INCONCLUSIVE, low=-0.01)
    settle(begun, Verdict.INCONCLUSIVE, low=-0.03)

    duel = begun.next_duel()

    assert duel is not None
    assert duel.challenger == "c"


def test_without_a_verdict_after_all_rounds_both_are_winners():
    begun = race(a=1.0, b=1.01)
    for _ in ROUNDS:
        settle(begun, Verdict.INCONCLUSIVE)

    assert begun.next_duel() is None
    assert begun.standings["b"] is Standing.NOT_TOLD_APART
    assert begun.winners == ("a", "b")
    assert begun.ending is Ending.SET


def test_a_duel_that_failed_leaves_the_race_unfinished():
    begun = race(a=1.0, b=1.01)
    duel = begun.next_duel()
    assert duel is not None

    begun.fail(duel)

    assert begun.next_duel() is None
    assert begun.winners == ("a", "b")
    assert begun.ending is Ending.UNFINISHED


def test_one_candidate_alone_is_the_best():
    assert race(a=1.0).ending is Ending.BEST


def test_the_errors_of_all_duels_of_a_candidate_add_up_to_that_of_the_race():
    begun = race(a=1.0, b=1.01, c=1.02, far=3.0)

    duel = begun.next_duel()

    assert duel is not None
    assert duel.error * len(ROUNDS) * 2 == pytest.approx(ERROR)
    plan = duel.plan(max_seconds=5.0)
    assert plan.alpha * len(plan.looks) == pytest.approx(duel.error)


def test_with_gaps_of_five_percent_the_fastest_is_found_alone(simulated: ModuleType):
    found = [simulated.race(simulated.GRIDS["8, each 5 % slower than the next"], seed) for seed in TRIALS]

    assert sum(one.winners == {0} for one in found) >= 0.95 * len(TRIALS)


def test_a_race_takes_at_most_half_of_the_steps_of_a_uniform_allocation(simulated: ModuleType):
    found = [simulated.race(simulated.GRIDS["12, one 5 % faster, the rest up to 3x"], seed) for seed in TRIALS]

    assert sum(one.winners == {0} for one in found) >= 0.95 * len(TRIALS)
    assert sum(one.uniform_steps for one in found) >= 2 * sum(one.steps for one in found)


@pytest.mark.parametrize(("grid", "trials"), [("2 equal", 200), ("8 equal", 60)])
def test_of_equal_candidates_no_winner_is_claimed(simulated: ModuleType, grid: str, trials: int):
    found = [simulated.race(simulated.GRIDS[grid], seed) for seed in range(trials)]

    assert sum(one.ending is Ending.BEST for one in found) <= ERROR * trials


def test_the_least_error_still_has_an_interval_in_the_first_round():
    """With hundreds of candidates the share of one duel is small, and the first round must be able to decide."""
    begun = Race({str(place): look(1.0 + place / 10_000) for place in range(300)})
    duel = begun.next_duel()
    assert duel is not None
    slower = [0.05 + place / 1000 for place in range(duel.max_pairs)]

    judged = duel.plan(max_seconds=1.0).judge(slower, ())

    assert judged.verdict is Verdict.SLOWER
