"""What stored pairs say, where the truth is known by construction."""

from dataclasses import replace

import pytest

from factory import CPU, GPU, TINY, compared, make_pair, make_task
from windtunnel.analysis.pairs import FALSE_DISCOVERY_RATE, describe_sides, effects_of, judge_grid, judge_runs
from windtunnel.records.record import ClockName, Failure, Status
from windtunnel.records.store import StoredComparison
from windtunnel.spec.own_model import OwnModel
from windtunnel.statistics.paired import Verdict, looks

TASK = make_task(workload="train_step")


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.9, Verdict.FASTER), (1.0, Verdict.EQUIVALENT), (1.1, Verdict.SLOWER)]
)
def test_every_phase_has_the_verdict_of_its_ratio(ratio: float, verdict: Verdict):
    effects = effects_of(make_pair(TASK, TASK, ratio=ratio))

    assert [effect.phase for effect in effects] == ["step", "forward", "loss", "backward", "optimizer"]
    assert [effect.is_total for effect in effects] == [True, False, False, False, False]
    assert {effect.finding.verdict for effect in effects} == {verdict}
    assert all(effect.finding.effect.value == pytest.approx(ratio - 1, abs=0.005) for effect in effects)


def test_phases_are_judged_on_the_devices_clock_where_there_is_one():
    task = make_task(workload="train_step", device="cuda:0")

    effects = effects_of(make_pair(task, task))

    assert [effect.clock for effect in effects] == [ClockName.HOST, *[ClockName.DEVICE] * 4]


def test_two_workloads_have_only_the_whole_step_in_common():
    effects = effects_of(make_pair(make_task(workload="forward"), TASK, ratio=3.0))

    assert [(effect.phase, effect.finding.verdict) for effect in effects] == [("forward", Verdict.SLOWER)]


def test_a_comparison_that_failed_has_no_effects():
    failed = make_pair(TASK, TASK, status=Status.CRASHED, failure=Failure(stage="build", message="gone"))

    (one,) = judge_grid(compared(failed))

    assert (one.effects, one.whole) == ((), None)


def test_the_p_value_allows_for_all_looks():
    (effect, *_) = effects_of(make_pair(TASK, TASK, ratio=1.5))

    assert effect.finding.p_value == pytest.approx(len(looks(128)) * 2 / 2**16)


def barely(seed: int) -> StoredComparison:
    """A difference that alone is one: all 10 pairs of at most 10 agree."""
    record = make_pair(make_task(seed=seed), make_task(seed=seed), ratio=1.5, num_pairs=10, noise=0.0)
    return compared(replace(record, plan=replace(record.plan, max_pairs=10)))[0]


def unclear(seed: int) -> StoredComparison:
    return compared(make_pair(make_task(seed=seed), make_task(seed=seed), noise=0.3))[0]


def test_alone_a_difference_needs_no_correction():
    assert [one.whole.verdict for one in judge_grid([barely(0)])] == [Verdict.SLOWER]


def test_in_a_grid_a_difference_must_survive_the_correction():
    """One difference with p among n comparisons is a discovery where p <= 5 % / n."""
    most = int(FALSE_DISCOVERY_RATE / judge_grid([barely(0)])[0].whole.p_value)

    few, many = (judge_grid([barely(0), *(unclear(seed) for seed in range(1, n))]) for n in (most, most + 1))

    assert few[0].whole.verdict is Verdict.SLOWER
    assert many[0].whole.verdict is Verdict.INCONCLUSIVE
    assert many[0].whole.reason == (
        f"among {most + 1} comparisons such a difference turns up by accident (Benjamini and Hochberg at 5 %)"
    )


def test_the_correction_leaves_equivalence_alone():
    equal = compared(make_pair(TASK, TASK))[0]

    judged = judge_grid([equal, *(unclear(seed) for seed in range(1, 40))])

    assert judged[0].whole.verdict is Verdict.EQUIVALENT


def test_runs_are_judged_apart():
    other = replace(barely(0).record, run_started_at="2026-02-02T00:00:00+00:00")
    noise = [unclear(seed) for seed in range(1, 40)]

    runs = judge_runs([*noise, *compared(other)])

    assert [len(run) for run in runs.values()] == [39, 1]
    assert runs["2026-02-02T00:00:00+00:00"][0].whole.verdict is Verdict.SLOWER


def test_sides_are_told_apart_by_what_differs():
    sides = describe_sides(compared(make_pair(TASK, make_task(workload="train_step", attention="sdpa")))[0])

    assert (sides.a, sides.b) == ("attention eager", "attention sdpa")
    assert sides.shared == ("tiny", "train_step", "context 16", "batch 4", "fp32", "warm-up 5")


def test_models_of_one_name_are_told_apart_by_their_fields():
    narrow = make_task(workload="train_step", size=TINY.model_copy(update={"d_ff": 32}))

    sides = describe_sides(compared(make_pair(TASK, narrow))[0])

    assert (sides.a, sides.b) == ("d_ff 64", "d_ff 32")


def test_models_of_two_names_are_told_apart_by_these():
    deep = make_task(workload="train_step", size=TINY.model_copy(update={"name": "deep", "num_layers": 9}))

    sides = describe_sides(compared(make_pair(TASK, deep))[0])

    assert (sides.a, sides.b) == ("tiny", "deep")


def test_projects_and_environments_are_part_of_what_differs():
    record = make_pair(TASK, TASK)
    record = replace(record, b=replace(record.b, project="../mine", commit="abc"))
    newer = replace(GPU, torch="2.13.0", settings={**GPU.settings, "threads": "2"})
    stored = StoredComparison(record=record, environment_a=GPU, environment_b=newer)

    sides = describe_sides(stored)

    assert sides.a == "no project, no commit, torch 2.11.0, no threads"
    assert sides.b == "project ../mine, commit abc, torch 2.13.0, threads=2"
    assert not record.is_same


def test_the_same_on_both_sides_leaves_nothing_to_say():
    stored = compared(make_pair(TASK, TASK), environment=CPU)[0]

    assert (describe_sides(stored).a, describe_sides(stored).b) == ("", "")
    assert stored.record.is_same


def test_a_users_own_model_beside_the_reference_is_told_by_name():
    own = make_task(size=OwnModel(factory="my.models:make"), workload="train_step")

    sides = describe_sides(compared(make_pair(make_task(workload="train_step"), own))[0])

    assert (sides.a, sides.b) == (f"{TINY.name}, attention eager", "my.models:make, attention its own")
