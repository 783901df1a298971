"""`windtunnel report --verify-advice`: what is compared, within which budget, and what stands in the report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advising import finding, rows_with_idle_compile
from calling import CallCli
from factory import CPU, GPU, make_record, make_results, make_task
from windtunnel.analysis.results import load_results

COMMAND = (
    "windtunnel compare --d-model 32 --layers 1 --heads 2 --vocab 50 --context 16 --batch 1 --mode forward "
    '--b "--attention sdpa"'
)
SECOND = COMMAND.replace("--context 16", "--context 32")
TERMINAL = ("--format", "terminal")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of this machine, as far as anyone asks, whose findings advise two comparisons."""
    make_results(tmp_path / "s", [(row.record, CPU) for row in rows_with_idle_compile()])
    monkeypatch.setattr("windtunnel.cli.advice.describe_device", lambda _device: CPU)
    found = (finding(COMMAND), replace(finding(SECOND), subject="more"), finding("windtunnel step --size small"))
    monkeypatch.setattr("windtunnel.report.judged.judge", lambda _measured: found)
    return tmp_path / "s"


def test_each_advice_is_measured_in_pairs_and_said_and_not_again(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = cli("report", str(store), "--verify-advice", "--budget", "60s", *TERMINAL)

    assert outcome.code == 0, outcome.out + outcome.err
    made = load_results(store).comparisons
    assert [one.record.b.task.cell.context_length for one in made] == [16, 32]
    assert {one.record.b.task.cell.attention for one in made} == {"sdpa"}

    # What this machine is called depends on where the test runs; what is stored must be found by that name.
    monkeypatch.setattr("windtunnel.cli.advice.describe_device", lambda _device: made[0].environment_a)
    make_results(store, [(make_record(make_task()), made[0].environment_a)])
    again = cli("report", str(store), "--verify-advice", *TERMINAL)

    assert again.code == 0, again.err
    assert again.out.count("measured before: ") == 2
    assert len(load_results(store).comparisons) == 2
    assert "Advice, measured" in again.out


def test_when_the_budget_is_over_the_rest_is_left_and_said(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 100.0, 100.0])
    monkeypatch.setattr("windtunnel.cli.advice.time.monotonic", lambda: next(clock))
    asked: list[object] = []

    def compare(advice: Any, *_: object) -> bool:
        asked.append(advice.command)
        return True

    monkeypatch.setattr("windtunnel.cli.advice._compare", compare)

    outcome = cli("report", str(store), "--verify-advice", "--budget", "10s", *TERMINAL)

    assert asked == [COMMAND]
    assert "the budget is over: 1 advice not verified" in outcome.out


def test_a_comparison_that_fails_ends_with_1_and_its_reason(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMAND.replace("sdpa", "flash-triton")
    monkeypatch.setattr("windtunnel.report.judged.judge", lambda _measured: (finding(command),))

    outcome = cli("report", str(store), "--verify-advice", *TERMINAL)

    assert outcome.code == 1
    assert "failed: unsupported in build" in outcome.out


def test_results_of_another_machine_cannot_be_verified_here(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.cli.advice.describe_device", lambda _device: GPU)

    outcome = cli("report", str(store), "--verify-advice", *TERMINAL)

    assert outcome.code == 2
    assert "it must run on the machine of the results" in outcome.err


def test_a_store_whose_findings_advise_nothing_says_so(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.report.judged.judge", lambda _measured: ())

    outcome = cli("report", str(store), "--verify-advice", *TERMINAL)

    assert outcome.code == 0
    assert "there is nothing to verify" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget", "5m"), "--budget has no effect without --verify-advice"),
        (("--verify-advice", "--budget", "soon"), "budget 'soon' is not a positive time"),
    ],
)
def test_a_wrong_request_is_said(cli: CallCli, store: Path, arguments: tuple[str, ...], message: str) -> None:
    outcome = cli("report", str(store), *arguments)

    assert outcome.code == 2
    assert message in outcome.err
