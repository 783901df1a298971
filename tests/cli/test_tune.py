"""`windtunnel tune` with real workers on a CPU, and what it says to a wrong request."""

from pathlib import Path

import pytest

from calling import CallCli
from windtunnel.analysis.results import load_results
from windtunnel.records.record import Status

TINY = ("--d-model", "64", "--layers", "2", "--heads", "4", "--context", "32", "--vocab", "100", "--device", "cpu")
SHORT = ("--axis", "compile=off", "--axis", "attention=eager,sdpa", "--error-limit", "1e-1")


def test_tune_finds_shows_stores_and_resumes(cli: CallCli, tmp_path: Path) -> None:
    arguments = ("tune", *TINY, *SHORT, "--store", str(tmp_path / "s"))

    outcome = cli(*arguments, "--budget", "80s")

    assert outcome.code == 0, outcome.out + outcome.err
    assert "4 configurations, 80.0 s to spend" in outcome.out
    assert "look 4/4" in outcome.out
    assert "leader: " in outcome.out
    assert "Answer. " in outcome.out
    assert "The path" in outcome.out
    results = load_results(tmp_path / "s")
    assert len(results) == 4
    assert {look.look.request.is_numerics_only for look in results.precision_looks} == {True}
    assert Path(outcome.out.strip().splitlines()[-1].removeprefix("report: ")).is_file()

    again = cli(*arguments, "--budget", "20s")

    assert again.code == 0
    assert len(load_results(tmp_path / "s")) == 4
    page = (tmp_path / "s" / "report" / "report.md").read_text(encoding="utf-8")
    assert "Fastest configuration" in page


def test_a_dry_run_shows_candidates_axes_and_predictions_and_measures_nothing(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("tune", *TINY, "--dry-run", "--store", str(tmp_path / "s"))

    assert outcome.code == 0, outcome.err
    assert "12 configurations, the present one first" in outcome.out
    assert "attention: eager, sdpa, flash-eager" in outcome.out
    assert "precision: fp32, bf16" in outcome.out
    assert "windtunnel calibrate measures it" in " ".join(outcome.out.split())
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--axis", "atention=sdpa"), "unknown axis 'atention'"),
        (("--axis", "attention="), "--axis attention= has no values; write it as --axis attention=A,B"),
        (("--axis", "attention"), "--axis attention has no values"),
        (("--axis", "batch=1", "--axis", "batch=2"), "--axis batch is given twice"),
        (("--axis", "precision=fp31"), "unknown precision 'fp31'"),
        (("--attention", "eager,sdpa"), "try them with --axis attention=eager,sdpa"),
        (("--budget", "soon"), "budget 'soon' is not a positive time"),
        (("--error-limit", "0"), "is not a share above 0"),
    ],
)
def test_a_wrong_request_is_said_before_a_worker_starts(
    cli: CallCli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("windtunnel.cli.tune.search", None)

    outcome = cli("tune", *TINY, *arguments)

    assert outcome.code == 2
    assert message in outcome.err


def test_a_budget_below_the_start_of_a_worker_is_refused(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("tune", *TINY, "--budget", "0.1", "--store", str(tmp_path))

    assert outcome.code == 2
    assert "budget 100 ms is too small for one candidate" in outcome.err


def test_a_limit_that_nothing_fits_into_is_refused_with_the_least(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("tune", *TINY, "--memory-limit", "10KiB", "--store", str(tmp_path))

    assert outcome.code == 2
    assert "fits into 10.0 KiB: the smallest needs" in outcome.err


@pytest.mark.compile
def test_compiled_candidates_and_their_errors_are_looked_at_too(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        *("tune", *TINY, "--axis", "compile=off,default", "--axis", "attention=sdpa", "--axis", "precision=fp32"),
        *("--attention", "sdpa", "--budget", "100s", "--error-limit", "1e-2", "--store", str(tmp_path)),
    )

    assert outcome.code == 0, outcome.out + outcome.err
    results = load_results(tmp_path)
    assert {(row.cell.compile, row.record.status) for row in results} == {
        ("off", Status.OK),
        ("default", Status.OK),
    }
    looks = {stored.look.request.cell.compile: stored.look for stored in results.precision_looks}
    assert looks["default"].status is Status.OK, looks["default"].failure
