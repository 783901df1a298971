"""The store while several processes use it, and after one of them was killed."""

import fcntl
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest

from factory import CPU, make_record, make_task
from windtunnel.records.store import FILE_NAME, open_store, read_store

TESTS = Path(__file__).parent.parent
FOREVER = 100_000


class Writer:
    """A process that runs writer.py; every line it says is a number it has stored."""

    def __init__(self, process: subprocess.Popen[str], stdin: IO[str], stdout: IO[str]) -> None:
        """Wrap a process that has just been started."""
        self._process, self._stdin, self._stdout = process, stdin, stdout
        assert self.line() == "ready"

    def go(self) -> None:
        """Let it write."""
        self._stdin.write("go\n")
        self._stdin.flush()

    def line(self) -> str:
        """Read the next line."""
        return self._stdout.readline().rstrip("\n")

    def has_said_something(self, *, within_seconds: float) -> bool:
        """Wait for its next line and say whether it came."""
        return bool(select.select([self._stdout], [], [], within_seconds)[0])

    def rest(self) -> list[str]:
        """Wait for its end and return the lines not read yet."""
        lines = self._stdout.read().splitlines()
        self._process.wait()
        return lines

    def kill(self) -> None:
        """End it as the system does when it runs out of memory: without any warning."""
        self._process.send_signal(signal.SIGKILL)


StartWriter = Callable[..., Writer]


@pytest.fixture
def start_writer() -> Iterator[StartWriter]:
    """Start writers, and end those that the test left running."""
    with ExitStack() as stack:

        def start(*arguments: object) -> Writer:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, TESTS / "records" / "writer.py", *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
                )
            )
            stack.callback(process.kill)
            assert process.stdin is not None
            assert process.stdout is not None
            return Writer(process, process.stdin, process.stdout)

        yield start


def integrity(folder: Path) -> str:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    return answer


def stored(folder: Path) -> list[tuple[str, int]]:
    with read_store(folder) as store:
        tasks = [row.record.task for row in store.records(all_repeats=True)]
    return [(task.cell.model.name, task.cell.seed) for task in tasks]


def test_records_of_several_writers_at_once_are_all_there_once(tmp_path: Path, start_writer: StartWriter):
    names, count = ("a", "b", "c", "d"), 25
    writers = [start_writer(tmp_path, name, count) for name in names]

    for writer in writers:
        writer.go()
    said = [writer.rest() for writer in writers]

    assert said == [[str(number) for number in range(count)]] * len(names)
    assert sorted(stored(tmp_path)) == [(name, number) for name in names for number in range(count)]
    assert integrity(tmp_path) == "ok"


def test_writers_of_the_same_tasks_give_each_record_a_repeat_of_its_own(tmp_path: Path, start_writer: StartWriter):
    writers = [start_writer(tmp_path, "same", 10) for _ in range(2)]

    for writer in writers:
        writer.go()
    for writer in writers:
        writer.rest()

    with read_store(tmp_path) as store:
        repeats = [(r.record.task.cell.seed, r.repeat) for r in store.records(all_repeats=True)]
    assert sorted(repeats) == [(seed, repeat) for seed in range(10) for repeat in (0, 1)]


def test_a_writer_waits_for_the_lock_file_that_network_file_systems_need(tmp_path: Path, start_writer: StartWriter):
    """SQLite's own locks would let it through here; the file lock is for where those do not work."""
    with open_store(tmp_path) as store:
        store.make()
    writer = start_writer(tmp_path, "waiting", 1)

    with (tmp_path / "store.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer.go()
        said_while_locked = writer.has_said_something(within_seconds=0.5)

    assert not said_while_locked
    assert writer.rest() == ["0"]


@pytest.mark.parametrize("lines_before", [1, 7, 30])
def test_what_a_killed_writer_had_finished_is_there_once(tmp_path: Path, start_writer: StartWriter, lines_before: int):
    writer = start_writer(tmp_path, "killed", FOREVER)
    writer.go()
    finished = [writer.line() for _ in range(lines_before)]

    writer.kill()
    finished += writer.rest()

    numbers = [number for _, number in stored(tmp_path)]
    assert numbers == list(range(len(numbers)))
    # The last record may be stored by a writer that was killed before it could say so.
    assert len(numbers) - len(finished) in {0, 1}
    assert integrity(tmp_path) == "ok"


def test_a_store_whose_writer_was_killed_can_be_written_again(tmp_path: Path, start_writer: StartWriter):
    writer = start_writer(tmp_path, "killed", FOREVER)
    writer.go()
    writer.line()
    writer.kill()
    writer.rest()
    before = stored(tmp_path)

    with open_store(tmp_path) as store:
        store.add(make_record(make_task()), CPU)

    assert stored(tmp_path) == [*before, ("tiny", 0)]


def test_a_file_that_cannot_grow_keeps_what_was_stored_and_the_message_says_what_to_do(
    tmp_path: Path, start_writer: StartWriter
):
    """A limit on the size of a process's files stands for a full disk: the same write fails."""
    writer = start_writer(tmp_path, "full", FOREVER, 20_000, 400_000)

    writer.go()
    *numbers, message = writer.rest()

    assert message.startswith(f"StoreError: the store {tmp_path} cannot be used: ")
    assert "free some space and run the same command again, nothing stored is lost" in message
    assert [str(number) for _, number in stored(tmp_path)] == numbers
    assert len(numbers) > 1
