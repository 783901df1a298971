"""A comparison as it is stored: its way through JSON and SQLite, and what its samples give back."""

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from factory import CPU, GPU, make_pair, make_record, make_task
from windtunnel.analysis.results import load_results
from windtunnel.errors import StoreError
from windtunnel.records.pair import PairRecord, PairSide, pair_from_json, pair_to_json
from windtunnel.records.record import ClockName, Failure, Samples, Status
from windtunnel.records.schema import SCHEMA_VERSION
from windtunnel.records.store import FILE_NAME, open_store, read_store
from windtunnel.statistics.paired import Side

EAGER, SDPA = make_task(workload="train_step"), make_task(workload="train_step", attention="sdpa")
LOST = Failure(stage="warmup", message="gone", signal="SIGKILL")

RECORDS = {
    "ok": make_pair(EAGER, SDPA, ratio=0.9),
    "failed": make_pair(EAGER, SDPA, status=Status.CRASHED, failure=LOST, failed_side=Side.B),
    "blocks": make_pair(EAGER, SDPA, steps=3, block_seconds=5.0, warnings=("B: warm",)),
}


def make_version_2(folder: Path) -> None:
    """Make a store with a record, as a windtunnel without comparisons left it."""
    with open_store(folder) as store:
        store.add(make_record(make_task()), GPU)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.executescript(
            "DROP TABLE profile_kernels; DROP TABLE profiles; "
            "DROP TABLE comparisons; DROP TABLE ledgers; PRAGMA user_version = 2;"
        )


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_comparison_survives_json(record: PairRecord):
    assert pair_from_json(pair_to_json(record)) == record


def test_a_comparison_survives_the_store_with_both_environments(tmp_path: Path):
    with open_store(tmp_path) as store:
        for record in RECORDS.values():
            store.add_comparison(record, GPU, replace(GPU, torch="2.13.0"))

    with read_store(tmp_path) as store:
        stored = store.comparisons()

    assert [one.record for one in stored] == list(RECORDS.values())
    assert {(one.environment_a.torch, one.environment_b.torch) for one in stored} == {("2.11.0", "2.13.0")}


def test_results_of_a_store_hold_its_comparisons(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add_comparison(RECORDS["ok"], CPU, CPU)

    assert [one.record for one in load_results(tmp_path).comparisons] == [RECORDS["ok"]]


def test_an_older_store_is_upgraded_in_place_when_it_is_written(tmp_path: Path):
    make_version_2(tmp_path)

    with open_store(tmp_path) as store:
        store.add_comparison(RECORDS["ok"], GPU, GPU)

        assert len(list(store.records())) == 1
        assert len(store.comparisons()) == 1
    assert version_of(tmp_path) == SCHEMA_VERSION


def test_an_older_store_that_is_only_read_has_no_comparisons_and_stays_as_it_is(tmp_path: Path):
    make_version_2(tmp_path)

    assert load_results(tmp_path).comparisons == ()
    assert version_of(tmp_path) == 2


@pytest.mark.parametrize(
    "damage", ["UPDATE comparisons SET comparison = '{}'", "DELETE FROM environments"], ids=["record", "environment"]
)
def test_a_damaged_comparison_is_named(tmp_path: Path, damage: str):
    with open_store(tmp_path) as store:
        store.add_comparison(RECORDS["ok"], GPU, GPU)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(damage)
        connection.commit()

    with read_store(tmp_path) as store, pytest.raises(StoreError, match=r"comparison 1 in .* is damaged"):
        store.comparisons()


def test_the_number_of_a_turn_is_the_median_of_its_steps():
    samples = (Samples(phase="forward", clock=ClockName.HOST, nanoseconds=(1, 9, 2, 7, 5, 0)),)
    side = PairSide(task=make_task(), total="forward", samples=samples, steps=(3, 2, 1))

    assert list(side.medians("forward", ClockName.HOST)) == [2, 6, 1]


def test_differences_are_those_of_the_ratio_and_of_nothing():
    pairs, null_pairs = make_pair(EAGER, SDPA, ratio=1.2, noise=0.0, steps=3).differences()

    assert pairs == [pytest.approx(math.log(1.2))] * 16
    assert null_pairs == [0.0] * 8
