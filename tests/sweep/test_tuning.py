"""The search with workers that measure nothing: what is tried, excluded, raced, stored, and found again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import CPU, GPU
from tunings import AXES, Lab, asked
from windtunnel.cost.parameters import parameter_count
from windtunnel.cost.prediction import target_named
from windtunnel.errors import SpecError
from windtunnel.records.pair import Pairing
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Status
from windtunnel.records.store import open_store, read_store
from windtunnel.spec.cell import Cell
from windtunnel.statistics.racing import Ending, Standing
from windtunnel.sweep.candidates import candidates_of, fits
from windtunnel.sweep.stored_trials import StoredTrials
from windtunnel.sweep.trials import limit_of, target_of, tune
from windtunnel.sweep.tuning import Found, Place, search

CLEAR = {"eager": 25.0, "sdpa": 10.0, "flash-eager": 11.0}
Tune = Callable[..., Found]


@pytest.fixture
def run(tmp_path: Path) -> Tune:
    def run(lab: Lab, make: Any = None, **options: Any) -> Found:
        fields = {"store": tmp_path / "s", "launch": lab.launch, "launch_at": lab.launch} | options
        found = tune(make or asked(), **fields)
        assert lab.open == 0
        return found

    return run


def names(found: Found) -> list[str]:
    return [one.cell.attention for one in found.winners]


def places(found: Found) -> dict[str, Place]:
    return {trial.candidate.cell.attention: trial.place for trial in found.trials}


def by_precision(cell: Cell) -> str:
    return cell.precision


def by_batch(cell: Cell) -> str:
    return str(cell.batch_size)


def test_the_fastest_is_found_and_compared_with_the_present_configuration(run: Tune):
    lab = Lab(CLEAR)

    found = run(lab)

    assert found.ending is Ending.BEST
    assert names(found) == ["sdpa"]
    assert lab.looked[0] == "eager"
    assert sorted(lab.looked) == sorted(CLEAR)
    assert lab.compared == [("sdpa", "flash-eager"), ("eager", "sdpa")]
    assert found.final is not None
    assert found.final.plan.judge(*found.final.differences()).effect.value == pytest.approx(-0.6, abs=0.01)


def test_what_is_far_behind_in_its_look_has_no_duel(run: Tune):
    found = run(Lab(CLEAR))

    standings = {found.trial(name).candidate.cell.attention: standing for name, standing in found.standings.items()}
    assert standings == {"eager": Standing.BEHIND, "sdpa": Standing.LEADS, "flash-eager": Standing.SLOWER}


def test_a_look_that_was_lucky_is_put_right_by_a_duel(run: Tune):
    class Lucky(Lab):
        def takes(self, cell: Cell) -> float:
            drifted = cell.attention == "flash-eager" and not self.compared and len(self.looked) == 3
            return 9.9 if drifted else super().takes(cell)

    lab = Lucky({"eager": 25.0, "sdpa": 10.0, "flash-eager": 10.6})

    found = run(lab)

    assert names(found) == ["sdpa"]
    assert lab.compared[0] == ("flash-eager", "sdpa")
    assert [duelled.leads for duelled in found.duels] == [found.winners[0].name]


def test_equals_are_winners_together_and_none_is_claimed(run: Tune):
    found = run(Lab({"eager": 10.0, "sdpa": 10.0, "flash-eager": 10.0}))

    assert found.ending is Ending.SET
    assert sorted(names(found)) == ["eager", "flash-eager", "sdpa"]


def test_a_failure_is_a_row_and_the_search_goes_on(run: Tune, tmp_path: Path):
    lab = Lab(CLEAR, fails={"sdpa": Status.CRASHED, "eager": Status.OUT_OF_MEMORY})

    found = run(lab)

    assert places(found) == {"eager": Place.FAILED, "sdpa": Place.FAILED, "flash-eager": Place.RACED}
    assert names(found) == ["flash-eager"]
    assert found.final is None
    with read_store(tmp_path / "s") as store:
        assert {one.record.status for one in store.records()} == {Status.CRASHED, Status.OUT_OF_MEMORY, Status.OK}


def test_a_worker_that_failed_is_not_used_again(run: Tune):
    lab = Lab(CLEAR, fails={"sdpa": Status.OUT_OF_MEMORY})

    run(lab)

    assert lab.launched == 2


def test_what_holds_more_than_the_limit_is_out_by_what_was_measured(run: Tune):
    lab = Lab(CLEAR, peaks={"sdpa": 2**31})

    found = run(lab, asked({"checkpoint": ["none"]}, memory_limit="1GiB"))

    assert places(found)["sdpa"] is Place.OVER_LIMIT
    assert names(found) == ["flash-eager"]
    assert lab.launched >= 3  # on a CPU the peak is that of a process


def test_what_is_predicted_not_to_fit_is_not_measured(run: Tune):
    def make(device: str) -> Any:
        return asked({"batch": [4, 40_000], "checkpoint": ["none"]}, memory_limit="4GiB")(device)

    lab = Lab({"4": 10.0}, name=by_batch)

    found = run(lab, make)

    assert {trial.place for trial in found.trials if trial.candidate.cell.batch_size > 4} == {Place.TOO_LARGE}
    assert set(lab.looked) == {"4"}


def test_a_limit_below_every_candidate_is_refused_with_the_least(run: Tune):
    with pytest.raises(SpecError, match=r"none of 3 candidates fits into 10\.0 KiB: the smallest needs"):
        run(Lab(CLEAR), asked({"checkpoint": ["none"]}, memory_limit="10KiB"))


def test_a_candidate_without_a_closed_form_is_out_only_by_what_no_step_can_do_without():
    """Weights, moments and the larger of gradients and logits: never both of these."""
    tuning = asked({"attention": ["eager", "sdpa-math"], "checkpoint": ["none"]})("cpu")
    (unknown,) = (
        one for one in candidates_of(tuning, target_named("A CPU"), "cpu") if one.cell.attention == "sdpa-math"
    )
    weights, logits = 4 * parameter_count(unknown.cell.model), 4 * 4 * 16 * unknown.cell.model.vocab_size
    least = 3 * weights + max(weights, logits)

    assert unknown.predicted_bytes is None
    assert (fits(unknown, least), fits(unknown, least - 1)) == (True, False)


def test_a_limit_above_the_device_is_refused(run: Tune):
    with pytest.raises(SpecError, match="memory limit '1TiB' is not a memory above 0"):
        run(Lab(CLEAR), asked({"checkpoint": ["none"]}, memory_limit="1TiB"))


def test_a_precision_is_out_by_its_measured_error_and_each_that_computes_differently_is_measured_once(run: Tune):
    make = asked({"attention": ["eager"], "precision": ["fp32", "bf16", "fp16"]}, error_limit="1e-3")
    lab = Lab(
        {"fp32": 11.0, "bf16": 9.0, "fp16": 10.0},
        name=by_precision,
        errors={"fp32": 1e-6, "bf16": 8e-3, "fp16": 9e-4},
    )

    found = run(lab, make)

    of = {trial.candidate.cell.precision: trial for trial in found.trials}
    assert of["bf16"].place is Place.INEXACT
    assert of["bf16"].error == pytest.approx(8e-3)
    assert [one.cell.precision for one in found.winners] == ["fp16"]
    assert [request.cell.precision for request in lab.numbers] == ["bf16", "fp16", "fp32"]


def test_without_an_error_limit_only_the_errors_of_the_winner_and_the_present_one_are_measured(run: Tune):
    make = asked({"attention": ["eager"], "precision": ["fp32", "bf16", "fp16"]})
    lab = Lab(
        {"fp32": 25.0, "bf16": 9.0, "fp16": 10.0},
        name=by_precision,
        errors={"fp32": 1e-6, "bf16": 8e-3, "fp16": 9e-4},
    )

    found = run(lab, make)

    assert [request.cell.precision for request in lab.numbers] == ["fp32", "bf16"]
    assert found.trial(found.winners[0].name).error == pytest.approx(8e-3)


def test_where_batches_differ_the_time_of_a_token_counts(run: Tune):
    """Twice the batch in 1.8 times the time: slower by the step, faster by the token."""
    lab = Lab({"4": 10.0, "8": 18.0}, name=by_batch)

    found = run(lab, asked({"attention": ["eager"], "batch": [4, 8]}))

    assert [one.cell.batch_size for one in found.winners] == [8]
    assert found.final is not None
    assert found.final.plan.work_ratio == 2
    assert found.final.plan.judge(*found.final.differences()).effect.value == pytest.approx(-0.1, abs=0.01)


def test_two_that_do_not_fit_into_one_process_take_turns(run: Tune):
    lab = Lab(CLEAR, fails_together={"flash-eager": Status.OUT_OF_MEMORY})

    found = run(lab)

    assert [duelled.record.pairing for duelled in found.duels] == [Pairing.PROCESS]
    assert set(lab.blocks) == {"sdpa", "flash-eager"}
    assert names(found) == ["sdpa"]


def test_a_duel_that_crashes_leaves_the_race_unfinished_and_both_in_it(run: Tune):
    found = run(Lab(CLEAR, fails_together={"flash-eager": Status.CRASHED}))

    assert found.ending is Ending.UNFINISHED
    assert names(found) == ["sdpa", "flash-eager"]
    assert found.duels[0].standing is Standing.NOT_COMPARED


def test_a_second_call_measures_nothing_again_and_finds_the_same(run: Tune):
    first, second = Lab(CLEAR), Lab(CLEAR)
    found = run(first)

    again = run(second)

    assert (second.looked, second.compared) == ([], [])
    assert names(again) == names(found)
    assert again.final == found.final


def test_fresh_measures_all_again(run: Tune):
    run(Lab(CLEAR))
    lab = Lab(CLEAR)

    run(lab, fresh=True)

    assert len(lab.looked) == 3
    assert len(lab.compared) == 2


def test_an_interrupted_search_goes_on_where_it_was(run: Tune):
    class Interrupted(Lab):
        def takes(self, cell: Cell) -> float:
            if len(self.looked) == 3:
                raise KeyboardInterrupt
            return super().takes(cell)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(CLEAR))
    lab = Lab(CLEAR)

    found = run(lab)

    assert len(lab.looked) == 1
    assert names(found) == ["sdpa"]


def test_when_the_time_is_over_nothing_new_begins_and_what_is_missing_is_said(run: Tune, monkeypatch: Any):
    clock = [0.0]
    monkeypatch.setattr("windtunnel.sweep.measured_trials.time.monotonic", lambda: clock[0])

    class Slow(Lab):
        def takes(self, cell: Cell) -> float:
            clock[0] += 4.0
            return super().takes(cell)

    lab = Slow(CLEAR)

    found = run(lab, asked(budget="10s"))

    assert found.ending is Ending.UNFINISHED
    assert Place.NOT_MEASURED in places(found).values()
    assert len(lab.looked) < 3


def test_a_look_that_the_budget_cuts_is_no_failure_of_its_candidate_and_no_row(run: Tune, tmp_path: Path):
    lab = Lab(CLEAR, fails={"sdpa": Status.TIMED_OUT})

    found = run(lab, asked(budget="100s"))

    assert places(found)["sdpa"] is Place.NOT_MEASURED
    assert found.ending is Ending.UNFINISHED
    assert lab.timeouts[0] == pytest.approx(100, abs=5)
    assert lab.timeouts[1] == pytest.approx(60, abs=5)
    with read_store(tmp_path / "s") as store:
        assert all(one.record.status is Status.OK for one in store.records())


def test_a_look_that_its_own_limit_stops_is_a_row(run: Tune, tmp_path: Path):
    found = run(Lab(CLEAR, fails={"sdpa": Status.TIMED_OUT}), timeout=5.0)

    assert places(found)["sdpa"] is Place.FAILED
    assert names(found) == ["flash-eager"]


def test_a_budget_below_the_first_look_is_refused(run: Tune):
    with pytest.raises(SpecError, match=r"budget .* is too small for one candidate"):
        run(Lab(CLEAR), asked(budget=1e-9))


def test_the_race_is_the_same_when_it_is_read_from_the_store(run: Tune, tmp_path: Path):
    lab = Lab({"eager": 10.5, "sdpa": 10.0, "flash-eager": 10.05})
    found = run(lab)

    with open_store(tmp_path / "s") as store:
        tuning = found.tuning
        candidates = candidates_of(tuning, target_of(CPU, None), "cpu")
        trials = StoredTrials.of_store(store, CPU.machine())
        again = search(tuning, candidates, trials, limit_bytes=limit_of(tuning, CPU))

    assert again == found


def test_results_of_another_machine_are_not_taken(run: Tune):
    run(Lab(CLEAR))
    lab = Lab(CLEAR, environment=replace(CPU, host_cpu="Another CPU", device_name="Another CPU"))

    run(lab)

    assert len(lab.looked) == 3


def test_the_run_keeps_what_was_asked_and_where_the_time_went(run: Tune, tmp_path: Path):
    found = run(Lab(CLEAR))

    with read_store(tmp_path / "s") as store:
        (kept,) = store.runs()
        looks = store.looks(PrecisionLook)
    assert kept.sweep["kind"] == "tune"
    assert type(found.tuning).model_validate(kept.sweep) == found.tuning
    assert kept.summary is not None
    assert (kept.summary["looks"], kept.summary["comparisons"], kept.summary["is_complete"]) == (3, 2, True)
    assert all(one.look.request.is_numerics_only for one in looks)


def test_predictions_order_what_is_looked_at_where_the_machine_is_known(run: Tune):
    lab = Lab(dict.fromkeys(("eager", "sdpa", "flash-triton"), 10.0), environment=GPU)

    found = run(lab, asked({**AXES, "attention": ["eager", "sdpa", "flash-triton"], "precision": ["fp32", "bf16"]}))

    seconds = [trial.candidate.predicted_seconds for trial in found.trials]
    assert None not in seconds
    assert seconds[1:] == sorted(seconds[1:])
    assert lab.looked == [trial.candidate.cell.attention for trial in found.trials]


def test_a_short_budget_looks_at_what_need_not_be_compiled_first(run: Tune):
    lab = Lab(CLEAR, environment=GPU)

    found = run(lab, asked({**AXES, "compile": ["default", "off"]}))

    compiled = [trial.candidate.cell.compile != "off" for trial in found.trials]
    assert compiled == sorted(compiled)
    assert set(compiled) == {False, True}
