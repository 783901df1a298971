"""`windtunnel export` and `explore`: where it goes, and every request that they refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, make_record, make_results, make_task


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_results(tmp_path / "s", [(make_record(make_task()), CPU)])
    return tmp_path / "s"


def test_text_goes_to_standard_output_or_a_file(cli: CallCli, store: Path, tmp_path: Path):
    file = tmp_path / "results.csv"

    printed = cli("export", str(store))
    written = cli("export", str(store), "--out", str(file))

    assert printed.out.startswith("key,machine,device_name")
    assert printed.out.splitlines() == file.read_text().splitlines()
    assert written.out.splitlines() == [f"csv: {file}"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--format", "cvs"), "unknown export format 'cvs'; known: bencher, csv"),
        (("--format", "parquet"), "parquet is no text: say where it goes with --out FILE"),
        (("--format", "bencher", "--samples"), "bencher has no place for raw samples"),
        (("--out", "/nowhere/results.csv"), "cannot write /nowhere/results.csv"),
        (("--machine", "zz"), "no machine begins with 'zz'"),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(cli: CallCli, store: Path, arguments: tuple[str, ...], part: str):
    outcome = cli("export", str(store), *arguments)

    assert outcome.code == 2
    assert part in outcome.err


def test_explore_without_datasette_says_how_to_get_it(cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    outcome = cli("explore", str(store))

    assert outcome.code == 2
    assert "pip install 'windtunnel[explore]'" in outcome.err


@pytest.mark.parametrize(("code", "outcome_code"), [(0, 0), (1, 2)])
def test_explore_serves_the_store_to_this_machine_only(
    cli: CallCli, store: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome_code: int
):
    called: list[list[str]] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr(subprocess, "call", lambda command: called.append(command) or code)

    outcome = cli("explore", str(store), "--port", "0")

    assert outcome.code == outcome_code
    assert called[0][:4] == [sys.executable, "-m", "datasette", "serve"]
    assert called[0][4:] == [str(store / "store.sqlite"), "--host", "127.0.0.1", "--port", "0"]


def test_explore_of_no_store_says_so(cli: CallCli, tmp_path: Path):
    outcome = cli("explore", str(tmp_path / "nothing"))

    assert outcome.code == 2
    assert "nothing" in outcome.err
