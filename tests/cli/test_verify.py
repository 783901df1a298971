"""`windtunnel verify`: what it prints, how it ends, and what it refuses."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from calling import CallCli
from factory import GPU, make_record, make_task
from windtunnel.records.record import Record, record_to_json
from windtunnel.records.store import FILE_NAME, open_store, read_store


def record_of(seed: int) -> Record:
    return make_record(make_task(seed=seed, device="cuda:0"))


@pytest.fixture
def store(tmp_path: Path, cli: CallCli) -> Path:
    """A store whose report was written."""
    with open_store(tmp_path / "s") as store:
        for seed in range(3):
            store.add(record_of(seed), GPU)
    assert cli("report", str(tmp_path / "s"), "--format", "html,md").code == 0
    return tmp_path / "s"


def rewrite(folder: Path, record: Record) -> None:
    """Put another text in the place of a record."""
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        connection.execute("UPDATE records SET record = ? WHERE key = ?", (record_to_json(record), record.task.key()))
    connection.close()


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_true_report_says_what_was_checked(cli: CallCli, store: Path, name: str):
    outcome = cli("verify", str(store / "report" / name), "--store", str(store))

    assert outcome.code == 0, outcome.err
    assert "verified: " in outcome.out
    assert "3 records" not in outcome.out  # the environment is one besides
    assert "4 records are what the store gives" in outcome.out


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_changed_sample_is_found_where_it_shows(cli: CallCli, store: Path, name: str):
    rewrite(store, make_record(make_task(seed=1, device="cuda:0"), milliseconds=[20.0] * 10))

    outcome = cli("verify", str(store / "report" / name), "--store", str(store))

    assert outcome.code == 1
    assert "differs: section 'Answer', block 1" in outcome.out
    assert f"{record_of(1).task.key()[:12]} of NVIDIA H200 has changed" in outcome.out


def test_a_change_that_does_not_show_is_found_by_its_hash(cli: CallCli, store: Path):
    rewrite(store, replace(record_of(2), process=99))

    outcome = cli("verify", str(store / "report" / "report.md"), "--store", str(store))

    assert outcome.code == 1
    assert "every sentence and cell is as the store gives it, but not every record" in outcome.out
    assert f"{record_of(2).task.key()[:12]} of NVIDIA H200 has changed" in outcome.out


def test_the_claims_of_a_report_are_in_its_store_once(cli: CallCli, store: Path):
    cli("report", str(store), "--format", "md")

    with read_store(store) as opened:
        (ledger,) = opened.claims()
    assert '"findings":[{' in ledger


def test_a_report_of_a_store_that_is_gone_still_reads_but_is_not_verified(cli: CallCli, store: Path):
    outcome = cli("verify", str(store / "report" / "report.md"), "--store", str(store / "elsewhere"))

    assert outcome.code == 2
    assert "no store in" in outcome.err


def test_a_page_that_was_cut_off_is_refused(cli: CallCli, store: Path):
    page = store / "report" / "report.html"
    page.write_text(page.read_text(encoding="utf-8")[:9000], encoding="utf-8")

    outcome = cli("verify", str(page), "--store", str(store))

    assert outcome.code == 2
    assert "was cut off" in outcome.err


def test_markdown_that_was_cut_off_has_no_ledger(cli: CallCli, store: Path):
    page = store / "report" / "report.md"
    page.write_text(page.read_text(encoding="utf-8")[:900], encoding="utf-8")

    outcome = cli("verify", str(page), "--store", str(store))

    assert outcome.code == 2
    assert "its end is missing" in outcome.err


def test_a_report_of_another_version_is_refused(cli: CallCli, store: Path):
    page = store / "report" / "report.md"
    page.write_text(page.read_text(encoding="utf-8").replace('"windtunnel":"', '"windtunnel":"9.'), encoding="utf-8")

    outcome = cli("verify", str(page), "--store", str(store))

    assert outcome.code == 2
    assert "was written by windtunnel 9." in outcome.err


def test_a_file_that_is_no_report_is_refused(cli: CallCli, store: Path):
    outcome = cli("verify", str(store / "nowhere.md"), "--store", str(store))

    assert outcome.code == 2
    assert "cannot read the report" in outcome.err


def test_a_mark_of_the_byte_order_is_no_difference(cli: CallCli, store: Path):
    page = store / "report" / "report.md"
    page.write_text(page.read_text(encoding="utf-8"), encoding="utf-8-sig")

    assert cli("verify", str(page), "--store", str(store)).code == 0


def test_a_line_between_the_sentences_is_found(cli: CallCli, store: Path):
    page = store / "report" / "report.md"
    page.write_text(f"small takes 1 ms\n\n{page.read_text(encoding='utf-8')}", encoding="utf-8")

    outcome = cli("verify", str(page), "--store", str(store))

    assert outcome.code == 1
    assert "differs: line 1 of the file, where sentences, cells and findings are as the store gives them" in outcome.out
    assert "the report says:  small takes 1 ms" in outcome.out
