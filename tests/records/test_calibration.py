"""What a machine can do at most: the numbers of a ceiling, and its way through the store."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from factory import CPU, GPU, make_record, make_task
from windtunnel.analysis.results import load_results
from windtunnel.errors import StoreError
from windtunnel.records.calibration import Calibration, Ceiling, calibration_from_json, calibration_to_json
from windtunnel.records.schema import SCHEMA_VERSION
from windtunnel.records.store import FILE_NAME, open_store, read_store

CALIBRATION = Calibration(
    device="cuda:0",
    started_at="2026-01-02T03:04:05.000+00:00",
    seconds=20.5,
    ceilings=(
        Ceiling(name="matmul bf16 cube 8x8x8", unit="FLOP/s", samples_ns=(10, 20, 40, 80), work=1000),
        Ceiling(name="matmul bf16 head 8x8x9", unit="FLOP/s", samples_ns=(5,), work=1000),
        Ceiling(name="device copy", unit="B/s", samples_ns=(1,), work=10**6),
    ),
    left_out={"matmul tf32 cube": "TF32 is a mode of NVIDIA tensor cores"},
)


def make_version_1(folder: Path) -> None:
    """Make a store with a record, as a windtunnel without calibrations left it."""
    with open_store(folder) as store:
        store.add(make_record(make_task()), GPU)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.executescript(
            "DROP TABLE profile_kernels; DROP TABLE profiles; "
            "DROP TABLE calibrations; DROP TABLE comparisons; DROP TABLE ledgers; PRAGMA user_version = 1;"
        )


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_a_ceiling_is_the_median_of_the_fastest_quarter():
    samples = (100, 10, 300, 14, 12, 200, 400, 500, 600, 700, 800, 900)

    ceiling = Ceiling(name="x", unit="B/s", samples_ns=samples, work=12)

    assert ceiling.value == pytest.approx(1e9)
    assert ceiling.best == pytest.approx(12 / 10 * 1e9)
    assert ceiling.median == pytest.approx(12 / 350 * 1e9)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 4, 5])
def test_a_ceiling_of_few_samples_lies_between_their_median_and_their_best(num_samples: int):
    ceiling = Ceiling(name="x", unit="B/s", samples_ns=tuple(range(10, 10 + num_samples)), work=7)

    assert ceiling.median <= ceiling.value <= ceiling.best


@pytest.mark.parametrize(("samples", "work"), [((), 1), ((1, 0), 1), ((1,), 0)])
def test_a_ceiling_without_a_rate_is_refused(samples: tuple[int, ...], work: int):
    with pytest.raises(ValueError, match="needs samples above 0 ns and work above 0"):
        Ceiling(name="x", unit="B/s", samples_ns=samples, work=work)


def test_the_ceiling_of_a_precision_is_its_fastest_product():
    assert CALIBRATION.flops_per_second("bf16") == pytest.approx(200e9)
    assert CALIBRATION.flops_per_second("fp32") is None


def test_a_calibration_survives_json():
    assert calibration_from_json(calibration_to_json(CALIBRATION)) == CALIBRATION


def test_the_latest_calibration_of_a_machine_counts(tmp_path: Path):
    later = replace(CALIBRATION, seconds=1.0)

    with open_store(tmp_path) as store:
        for calibration, environment in ((CALIBRATION, GPU), (later, GPU), (CALIBRATION, CPU)):
            store.add_calibration(calibration, environment)

    with read_store(tmp_path) as store:
        assert store.calibration(GPU.machine()) == later
        assert store.calibration(CPU.machine()) == CALIBRATION
        assert store.calibration("no such machine") is None


def test_another_version_of_windtunnel_is_the_same_machine(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add_calibration(CALIBRATION, GPU)

        assert store.calibration(replace(GPU, windtunnel="9.9.9").machine()) == CALIBRATION


def test_an_older_store_is_upgraded_in_place_when_it_is_written(tmp_path: Path):
    make_version_1(tmp_path)
    with read_store(tmp_path) as store:
        before = list(store.records())

    with open_store(tmp_path) as store:
        store.add_calibration(CALIBRATION, GPU)

        assert list(store.records()) == before
        assert store.calibration(GPU.machine()) == CALIBRATION
    assert version_of(tmp_path) == SCHEMA_VERSION


def test_an_older_store_that_is_only_read_stays_as_it_is(tmp_path: Path):
    make_version_1(tmp_path)

    with read_store(tmp_path) as store:
        calibration = store.calibration(GPU.machine())
    rows = load_results(tmp_path).rows

    assert calibration is None
    assert [row.ceiling_flops_per_second for row in rows] == [None]
    assert version_of(tmp_path) == 1


def test_an_upgrade_that_fails_leaves_the_older_store(tmp_path: Path):
    """One transaction: a version without its table would be a store that nobody can use."""
    make_version_1(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE calibrations (theirs)")
        connection.commit()

    with pytest.raises(StoreError, match="already exists"):
        open_store(tmp_path)

    assert version_of(tmp_path) == 1


def test_a_writer_of_the_older_version_goes_on_during_the_upgrade(tmp_path: Path):
    make_version_1(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as older:
        older.execute("SELECT count(*) FROM records").fetchone()

        open_store(tmp_path).close()
        older.execute("INSERT INTO runs (started_at, sweep, machine) VALUES ('now', '{}', 'm')")
        older.commit()

    with read_store(tmp_path) as store:
        assert len(store.runs()) == 1


def test_opening_an_upgraded_store_again_keeps_its_calibrations(tmp_path: Path):
    make_version_1(tmp_path)
    for _ in range(2):
        with open_store(tmp_path) as store:
            store.add_calibration(CALIBRATION, GPU)

    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM calibrations").fetchone() == (2,)


def test_a_damaged_calibration_is_named(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add_calibration(CALIBRATION, GPU)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("UPDATE calibrations SET calibration = '{}'")
        connection.commit()

    with read_store(tmp_path) as store, pytest.raises(StoreError, match=r"calibration 1 in .* is damaged"):
        store.calibration(GPU.machine())
