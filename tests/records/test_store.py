import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from factory import CPU, GPU, make_record, make_task
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import FILE_NAME, Run, StoredRecord, open_store, read_store

OTHER_GPU = replace(GPU, driver="590.0")
NEWER = replace(GPU, windtunnel="0.2.0")


def add(folder: Path, *records: Record) -> None:
    with open_store(folder) as store:
        for record in records:
            store.add(record, GPU)


def read(folder: Path, *, key_prefix: str = "", all_repeats: bool = False) -> list[StoredRecord]:
    with read_store(folder) as store:
        return list(store.records(key_prefix=key_prefix, all_repeats=all_repeats))


def tasks_with_keys() -> dict[str, Record]:
    records = [make_record(make_task(seed=seed)) for seed in range(40)]
    return {record.task.key(): record for record in records}


def test_a_record_is_read_as_it_was_added(tmp_path: Path):
    record = make_record(make_task(workload="train_step"), warnings=("noisy",))

    add(tmp_path, record)

    (stored,) = read(tmp_path)
    assert stored == StoredRecord(key=record.task.key(), repeat=0, record=record, environment=GPU)


@pytest.mark.parametrize("status", Status)
def test_a_record_of_any_status_is_a_row(tmp_path: Path, status: Status):
    failure = Failure(stage="measure", message="what happened")
    record = make_record(make_task(), status=status, failure=failure)

    add(tmp_path, record)

    assert [stored.record for stored in read(tmp_path)] == [record]


def test_records_are_read_in_the_order_in_which_they_were_added(tmp_path: Path):
    records = [make_record(make_task(seed=seed)) for seed in (3, 1, 2)]

    add(tmp_path, *records)

    assert [stored.record for stored in read(tmp_path)] == records


def test_a_new_store_is_empty(tmp_path: Path):
    with open_store(tmp_path / "a" / "b") as store:
        store.make()

    assert read(tmp_path / "a" / "b") == []


def test_a_store_in_which_nothing_is_stored_is_not_made(tmp_path: Path):
    with open_store(tmp_path / "a" / "b") as store:
        found = (list(store.records()), store.keys(GPU.machine()), store.runs(), store.comparisons(), store.claims())

    assert found == ([], frozenset(), (), (), ())
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_another_writer_made_since_is_read_and_written(tmp_path: Path):
    first, second = (make_record(make_task(seed=seed)) for seed in (1, 2))

    with open_store(tmp_path) as store:
        add(tmp_path, first)
        seen = [stored.record for stored in store.records()]
        store.add(second, GPU)

    assert seen == [first]
    assert [stored.record for stored in read(tmp_path)] == [first, second]


def test_a_store_keeps_its_records_when_it_is_opened_again(tmp_path: Path):
    first, second = (make_record(make_task(seed=seed)) for seed in (1, 2))

    add(tmp_path, first)
    add(tmp_path, second)

    assert [stored.record for stored in read(tmp_path)] == [first, second]


def test_adding_a_task_again_counts_its_repeats(tmp_path: Path):
    record = make_record(make_task())

    with open_store(tmp_path) as store:
        repeats = [store.add(record, GPU) for _ in range(3)]

    assert repeats == [0, 1, 2]


def test_the_latest_repeat_of_a_task_is_the_one_that_is_read(tmp_path: Path):
    slow, fast = (make_record(make_task(), milliseconds=[ms]) for ms in (20.0, 10.0))

    add(tmp_path, slow, fast)

    assert [(stored.repeat, stored.record) for stored in read(tmp_path)] == [(1, fast)]


def test_all_repeats_are_there_for_who_asks_for_them(tmp_path: Path):
    slow, fast = (make_record(make_task(), milliseconds=[ms]) for ms in (20.0, 10.0))

    add(tmp_path, slow, fast)

    stored = read(tmp_path, all_repeats=True)
    assert [(row.repeat, row.record) for row in stored] == [(0, slow), (1, fast)]


def test_each_machine_counts_its_own_repeats(tmp_path: Path):
    record = make_record(make_task())

    with open_store(tmp_path) as store:
        repeats = [store.add(record, environment) for environment in (GPU, OTHER_GPU, GPU)]

    assert repeats == [0, 0, 1]
    assert [row.environment for row in read(tmp_path)] == [OTHER_GPU, GPU]


def test_another_version_of_windtunnel_goes_on_counting_on_the_same_machine(tmp_path: Path):
    record = make_record(make_task())

    with open_store(tmp_path) as store:
        repeats = [store.add(record, environment) for environment in (GPU, NEWER)]

    assert repeats == [0, 1]
    assert [row.environment for row in read(tmp_path, all_repeats=True)] == [GPU, NEWER]


def test_the_keys_of_a_machine_are_those_of_its_tasks_failures_included(tmp_path: Path):
    done, failed, elsewhere = (make_task(seed=seed) for seed in range(3))
    with open_store(tmp_path) as store:
        store.add(make_record(done), GPU)
        store.add(make_record(failed, status=Status.CRASHED), GPU)
        store.add(make_record(elsewhere), CPU)

        keys = store.keys(GPU.machine())

    assert keys == {done.key(), failed.key()}


def test_an_unknown_machine_has_no_keys(tmp_path: Path):
    add(tmp_path, make_record(make_task()))

    with read_store(tmp_path) as store:
        assert store.keys("no such machine") == frozenset()


def test_the_beginning_of_a_key_finds_the_record(tmp_path: Path):
    records = tasks_with_keys()
    add(tmp_path, *records.values())
    key = next(iter(records))

    (stored,) = read(tmp_path, key_prefix=key[:8])

    assert stored.record == records[key]


def test_a_short_beginning_finds_every_record_that_has_it(tmp_path: Path):
    records = tasks_with_keys()
    add(tmp_path, *records.values())
    first = next(iter(records))[0]

    found = {stored.key for stored in read(tmp_path, key_prefix=first)}

    assert found == {key for key in records if key.startswith(first)}


@pytest.mark.parametrize("prefix", ["%", "_", "*", "'", "zz"])
def test_the_beginning_of_a_key_is_no_pattern(tmp_path: Path, prefix: str):
    add(tmp_path, make_record(make_task()))

    assert read(tmp_path, key_prefix=prefix) == []


def test_a_run_is_noted_when_it_begins_and_when_it_ends(tmp_path: Path):
    begun = Run(
        started_at="2026-01-02T03:04:05+00:00",
        sweep={"size": ["small"]},
        machine=GPU.machine(),
        summary=None,
    )

    with open_store(tmp_path) as store:
        number = store.begin_run(begun)
        at_first = store.runs()
        store.end_run(number, {"seconds": 1.5})
        at_last = store.runs()

    assert at_first == (begun,)
    assert at_last == (replace(begun, summary={"seconds": 1.5}),)


def test_runs_are_read_oldest_first_and_end_separately(tmp_path: Path):
    runs = [Run(started_at=str(n), sweep={}, machine="m", summary=None) for n in range(3)]

    with open_store(tmp_path) as store:
        numbers = [store.begin_run(run) for run in runs]
        store.end_run(numbers[1], {"done": 1})

    with read_store(tmp_path) as store:
        assert store.runs() == (runs[0], replace(runs[1], summary={"done": 1}), runs[2])


def test_a_reader_sees_each_record_of_an_open_writer_at_once(tmp_path: Path):
    with open_store(tmp_path) as writer:
        writer.make()
        with read_store(tmp_path) as reader:
            seen: list[int] = []
            for seed in range(3):
                writer.add(make_record(make_task(seed=seed)), GPU)
                seen.append(len(list(reader.records())))

    assert seen == [1, 2, 3]


def test_a_writer_does_not_wait_for_a_reader_in_the_middle_of_a_store(tmp_path: Path):
    add(tmp_path, *(make_record(make_task(seed=seed)) for seed in range(3)))

    with open_store(tmp_path) as writer, read_store(tmp_path) as reader:
        rows = reader.records()
        first = next(rows)
        writer.add(make_record(make_task(seed=9)), GPU)
        rest = list(rows)

    seeds = [stored.record.task.cell.seed for stored in (first, *rest)]
    assert seeds == [0, 1, 2]
    assert len(read(tmp_path)) == 4


@pytest.mark.parametrize("name", ["50 %", "a?b", "c#d", "%41", "größer 名", "it's", "a&b=c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str):
    folder = tmp_path / name

    add(folder, make_record(make_task()))

    assert len(read(folder)) == 1
    assert (folder / FILE_NAME).is_file()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_store_is_found_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    add(Path("results"), make_record(make_task()))

    assert len(read(tmp_path / "results")) == 1


def test_any_tool_can_query_what_was_measured(tmp_path: Path):
    add(tmp_path, make_record(make_task(context_length=64, precision="bf16")))

    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        row = connection.execute(
            "SELECT size, workload, context_length, precision, status,"
            " json_extract(record, '$.task.plan.warmup') IS NULL FROM records"
        ).fetchone()

    assert row == ("tiny", "forward", 64, "bf16", "ok", 0)


def test_a_record_is_on_disk_when_adding_it_returns(tmp_path: Path):
    """No test can cut the power; but SQLite promises this of a log with synchronous=FULL (2)."""
    with open_store(tmp_path) as store:
        (journal,) = store._connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = store._connection.execute("PRAGMA synchronous").fetchone()

    assert (journal, synchronous) == ("wal", 2)
