"""What a store says when it cannot be used: never a bare error of SQLite, and always what to do."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from factory import GPU, make_record, make_task
from windtunnel.errors import StoreError
from windtunnel.records import store_file
from windtunnel.records.schema import SCHEMA_VERSION
from windtunnel.records.store import FILE_NAME, Run, Store, open_store, read_store

BOTH = pytest.mark.parametrize("opening", [open_store, read_store])


@contextmanager
def sqlite(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as any tool would."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        yield connection


def fill(folder: Path, count: int = 3) -> None:
    with open_store(folder) as store:
        for seed in range(count):
            store.add(make_record(make_task(seed=seed)), GPU)


def seeds(store: Store) -> list[int]:
    return [stored.record.task.cell.seed for stored in store.records()]


def refused(opening: object, folder: Path) -> str:
    assert callable(opening)
    with pytest.raises(StoreError) as caught:
        opening(folder)
    return str(caught.value)


def test_a_folder_without_a_store_is_no_empty_store(tmp_path: Path):
    message = refused(read_store, tmp_path)

    assert message == (
        f"no store in {tmp_path} (no {FILE_NAME} there); measure first with `windtunnel run`, or name one"
    )


def test_reading_makes_no_folder(tmp_path: Path):
    refused(read_store, tmp_path / "gone")

    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_refused_with_the_way_out(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("in the way")

    message = refused(open_store, tmp_path / place)

    assert message.startswith(f"cannot make the store folder {tmp_path / place}: ")
    assert message.endswith("; choose another with --store")


def test_a_folder_that_must_not_be_written_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.records.store_file.os.access", lambda *_: False)

    message = refused(open_store, tmp_path / "new" / "store")

    assert message == (
        f"cannot make the store folder {tmp_path / 'new' / 'store'}: Permission denied; choose another with --store"
    )


@BOTH
def test_a_file_that_is_not_sqlites_is_left_alone(tmp_path: Path, opening: object):
    content = b"not a database at all, but long enough to have a header" * 20
    (tmp_path / FILE_NAME).write_bytes(content)

    message = refused(opening, tmp_path)

    assert "file is not a database" in message
    assert message.endswith("choose another --store")
    assert (tmp_path / FILE_NAME).read_bytes() == content


@BOTH
def test_a_sqlite_file_of_someone_else_is_left_alone(tmp_path: Path, opening: object):
    with sqlite(tmp_path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    content = (tmp_path / FILE_NAME).read_bytes()

    message = refused(opening, tmp_path)

    assert message == (f"{tmp_path / FILE_NAME} is a SQLite file, but not a windtunnel store; choose another --store")
    assert (tmp_path / FILE_NAME).read_bytes() == content


@BOTH
def test_a_store_of_a_newer_windtunnel_is_refused_with_both_versions(tmp_path: Path, opening: object):
    fill(tmp_path)
    with sqlite(tmp_path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    message = refused(opening, tmp_path)

    assert f"has schema version {SCHEMA_VERSION + 1}, newer than the {SCHEMA_VERSION}" in message
    assert "update windtunnel" in message


def test_a_store_that_was_opened_for_reading_cannot_be_written(tmp_path: Path):
    fill(tmp_path)

    with read_store(tmp_path) as store, pytest.raises(StoreError, match="for reading only"):
        store.add(make_record(make_task(seed=9)), GPU)

    with read_store(tmp_path) as store:
        assert seeds(store) == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1], ids=["not made", "made"])
def test_a_store_that_was_closed_says_so(tmp_path: Path, count: int):
    fill(tmp_path, count)
    store = open_store(tmp_path)
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.add(make_record(make_task()), GPU)


def test_a_folder_that_went_away_under_a_writer_is_an_error_with_the_way_out(tmp_path: Path):
    folder = tmp_path / "store"
    with open_store(folder) as store:
        store.make()
        folder.rename(tmp_path / "elsewhere")

        with pytest.raises(StoreError, match="No such file or directory; choose another"):
            store.add(make_record(make_task()), GPU)


DAMAGE = {
    "record": "UPDATE records SET record = '{}' WHERE id = 2",
    "text": "UPDATE records SET record = 'half a rec' WHERE id = 2",
    "environment": "UPDATE environments SET environment = '{\"no such\": 1}'",
    "environment text": "UPDATE environments SET environment = 'half an env'",
    "environment gone": "DELETE FROM environments",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_named_with_the_way_out(tmp_path: Path, statement: str):
    fill(tmp_path)
    with sqlite(tmp_path) as connection:
        connection.execute(statement)

    with read_store(tmp_path) as store, pytest.raises(StoreError) as caught:
        seeds(store)

    assert "is damaged: " in str(caught.value)
    assert "choose another --store" in str(caught.value)


def test_the_message_of_a_damaged_record_has_its_key(tmp_path: Path):
    fill(tmp_path)
    with sqlite(tmp_path) as connection:
        connection.execute(DAMAGE["record"])

    with (
        read_store(tmp_path) as store,
        pytest.raises(StoreError, match=f"record {make_task(seed=1).key()} in"),
    ):
        seeds(store)


def test_a_damaged_run_is_named(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.begin_run(Run(started_at="2026-01-02T03:04:05+00:00", sweep={}, machine="m", summary=None))
    with sqlite(tmp_path) as connection:
        connection.execute("UPDATE runs SET sweep = 'half a sw'")

    with read_store(tmp_path) as store, pytest.raises(StoreError, match=r"run 1 in .* is damaged"):
        store.runs()


def test_records_before_a_damaged_one_are_read(tmp_path: Path):
    fill(tmp_path)
    with sqlite(tmp_path) as connection:
        connection.execute(DAMAGE["record"])

    with read_store(tmp_path) as store:
        first = next(store.records())

    assert first.record.task.cell.seed == 0


def test_a_damaged_page_is_an_error_of_the_store_with_the_way_out(tmp_path: Path):
    """SQLite meets the page while the rows come, not when the query begins."""
    fill(tmp_path, count=30)
    with sqlite(tmp_path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8 * 4096] = b"\xff" * (8 * 4096)
    path.write_bytes(content)

    with read_store(tmp_path) as store, pytest.raises(StoreError) as caught:
        seeds(store)

    assert "malformed" in str(caught.value)
    assert ".recover` saves what can still be read" in str(caught.value)


def test_a_full_disk_loses_nothing_stored_and_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def connect_to_a_small_disk(uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.execute("PRAGMA max_page_count = 30")
        return connection

    monkeypatch.setattr(store_file, "_connect", connect_to_a_small_disk)
    added: list[int] = []

    def add_without_end(store: Store) -> None:
        for seed in itertools.count():
            store.add(make_record(make_task(seed=seed)), GPU)
            added.append(seed)

    with open_store(tmp_path) as store, pytest.raises(StoreError) as caught:
        add_without_end(store)

    assert "the disk is full: free some space and run the same command again" in str(caught.value)
    with read_store(tmp_path) as store:
        assert seeds(store) == added
    assert added


def test_a_store_can_be_written_again_once_the_disk_has_space(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add(make_record(make_task(seed=0)), GPU)
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="full"):
            store.add(make_record(make_task(seed=1, steps=5000)), GPU)
        store._connection.execute(f"PRAGMA max_page_count = {1000 * pages}")

        store.add(make_record(make_task(seed=2)), GPU)

        assert seeds(store) == [0, 2]


def without_index_file(folder: Path) -> None:
    """Stand for a read-only medium: SQLite cannot make the index file of its log."""
    index = folder / f"{FILE_NAME}-shm"
    index.unlink(missing_ok=True)
    index.symlink_to("no-such-folder/index")


def test_a_store_on_a_read_only_medium_can_be_read(tmp_path: Path):
    fill(tmp_path)
    without_index_file(tmp_path)

    with read_store(tmp_path) as store:
        assert seeds(store) == [0, 1, 2]


def test_records_that_are_in_the_log_only_are_not_left_out_in_silence(tmp_path: Path):
    """A copy of a store that was open has its last records in the log, not yet in the file."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    copy.mkdir()
    with open_store(original) as store:
        store.add(make_record(make_task()), GPU)
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            (copy / name).write_bytes((original / name).read_bytes())
    without_index_file(copy)

    message = refused(read_store, copy)

    assert f"its last records are in {FILE_NAME}-wal only: copy the folder" in message


@BOTH
def test_a_refused_store_leaves_no_open_file_behind(tmp_path: Path, opening: object):
    with sqlite(tmp_path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir()))

    for _ in range(3):
        refused(opening, tmp_path)

    assert len(list(files.iterdir())) == before
