"""`windtunnel history`: what it prints, the files it writes, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, make_record, make_task
from windtunnel.records.store import Run, open_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with open_store(tmp_path / "s") as store:
        for day in (1, 2, 3):
            started_at = f"2026-01-0{day}T00:00:00+00:00"
            store.begin_run(Run(started_at=started_at, sweep={"name": "<script>"}, machine=CPU.machine(), summary=None))
            record = make_record(make_task(), milliseconds=[10.0 * day] * 10)
            store.add(replace(record, started_at=started_at), CPU)
    return tmp_path / "s"


def test_a_single_cell_has_every_run_in_the_terminal(cli: CallCli, store: Path):
    outcome = cli("history", str(store))

    assert outcome.code == 0, outcome.err
    assert "History of 1 cell" in outcome.out
    assert "2026-01-02 00:00" in outcome.out
    assert "▁▄█" in outcome.out or "▁▅█" in outcome.out


def test_files_are_named_history_and_escaped(cli: CallCli, store: Path, tmp_path: Path):
    outcome = cli("history", str(store), "--out", str(tmp_path / "pages"))

    assert outcome.code == 0, outcome.err
    html = (tmp_path / "pages" / "history.html").read_text()
    assert "&lt;script&gt;" in html
    assert (tmp_path / "pages" / "history.md").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--cell", "nothing"), "no cell holds 'nothing'"),
        (("--phase", "bakward"), "no cell has a phase 'bakward'"),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(cli: CallCli, store: Path, arguments: tuple[str, ...], part: str):
    outcome = cli("history", str(store), *arguments)

    assert outcome.code == 2
    assert part in outcome.err


def test_a_store_that_is_not_there_ends_with_2(cli: CallCli, tmp_path: Path):
    assert cli("history", str(tmp_path / "none")).code == 2
