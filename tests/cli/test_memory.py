"""`windtunnel memory`, on tiny models with real workers."""

import json
from pathlib import Path

import pytest

from calling import CallCli
from snapshots import planted_snapshot
from windtunnel.analysis.results import load_results
from windtunnel.records.store import read_store

SHAPE = ("--d-model", "32", "--layers", "2", "--heads", "2", "--vocab", "11", "--context", "8", "--device", "cpu")


def test_a_ledger_is_printed_stored_and_reported(cli: CallCli, tmp_path: Path):
    outcome = cli("memory", *SHAPE, "--store", str(tmp_path / "s"), "--snapshot", str(tmp_path / "step.pickle"))

    assert outcome.code == 0, outcome.err
    assert "At its peak, in " in outcome.out
    assert "Held at the peak, by block" in outcome.out
    assert (tmp_path / "step.pickle").stat().st_size > 0
    assert "training step" in (tmp_path / "s" / "report" / "report.html").read_text(encoding="utf-8")
    with read_store(tmp_path / "s") as store:
        assert len(store.claims()) == 1, "its report can be verified"
    (stored,) = load_results(tmp_path / "s").ledgers
    assert stored.look.cell.workload == "train_step"


def test_a_ledger_enters_no_table_of_times(cli: CallCli, tmp_path: Path):
    cli("memory", *SHAPE, "--mode", "forward", "--store", str(tmp_path))

    with read_store(tmp_path) as store:
        assert list(store.records()) == []
    assert "Memory ledger" in cli("report", str(tmp_path)).out
    assert "1 memory ledger in" in cli("list", str(tmp_path)).out


def test_several_cells_make_a_ledger_each_and_a_failed_one_the_exit_code_1(cli: CallCli, tmp_path: Path):
    outcome = cli("memory", *SHAPE, "--mode", "forward", "--precision", "fp32,tf32", "--store", str(tmp_path))

    assert outcome.code == 1
    assert "2 ledgers" in outcome.out
    assert "unsupported in build" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--mode", "forward,train_step", "--snapshot", "a.pickle"),
            "--snapshot is of one cell, and these flags",
        ),
        (("--snapshot", "no/such/folder/a.pickle"), "its folder is not there; make it, or name another"),
        (("--mode", "attention"), "unknown mode 'attention'"),
        (("--timeout", "soon"), "timeout"),
        (("--snapshot", "."), "--snapshot '.' is a folder; name a file, as 'name'"),
        (("--import", "a.json"), "have no effect with --import, which shows what a file holds: leave them"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], message: str
):
    outcome = cli("memory", *SHAPE, "--store", str(tmp_path / "s"), *arguments)

    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "s").exists()


def test_a_file_that_must_not_be_written_is_refused_before_anything_runs(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "step.pickle"
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)  # of root, every folder may be written

    outcome = cli("memory", *SHAPE, "--store", str(tmp_path / "s"), "--snapshot", str(file))

    assert outcome.code == 2
    assert f"--snapshot '{file}': it must not be written; allow it, or name another" in outcome.err


def test_a_snapshot_of_a_process_that_was_lost_is_not_said_to_be_there(cli: CallCli, tmp_path: Path):
    file = tmp_path / "step.pickle"

    outcome = cli("memory", *SHAPE, "--store", str(tmp_path / "s"), "--snapshot", str(file), "--timeout", "0.01s")

    assert outcome.code == 1
    assert not file.exists()
    assert "snapshot:" not in outcome.out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--device", "cuda"), ("--timeout", "5s"), ("--budget", "3GiB"), ("--checkpoint-search", None)],
)
def test_what_is_measured_has_no_effect_on_what_a_file_holds(
    cli: CallCli, tmp_path: Path, option: str, value: str | None
):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(planted_snapshot()))

    outcome = cli("memory", "--import", str(path), option, *([value] if value else []))

    assert outcome.code == 2
    assert f"{option} has no effect with --import, which shows what a file holds: leave it out" in outcome.err


def test_a_count_of_steps_is_no_flag_of_it(cli: CallCli):
    assert cli("memory", *SHAPE, "--steps", "3").code == 2


def test_a_snapshot_of_another_program_is_shown_and_not_stored(cli: CallCli, tmp_path: Path):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(planted_snapshot()))

    outcome = cli("memory", "--import", str(path), "--report", str(tmp_path / "r"), "--store", str(tmp_path / "s"))

    assert outcome.code == 0, outcome.err
    assert "/home/me/mine.py:12 in attend" in outcome.out
    assert "out of memory" in outcome.out
    assert (tmp_path / "r" / "report.html").exists()
    assert not (tmp_path / "s").exists()


def test_a_damaged_snapshot_is_a_message(cli: CallCli, tmp_path: Path):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(planted_snapshot())[:-9])

    outcome = cli("memory", "--import", str(path))

    assert outcome.code == 2
    assert "is damaged, or not a memory snapshot" in outcome.err
    assert "Traceback" not in outcome.err
