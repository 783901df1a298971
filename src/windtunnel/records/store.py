"""The store: one SQLite file that several writers may share, one transaction a record, readable by any tool."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from windtunnel.errors import StoreError
from windtunnel.records.calibration import Calibration, calibration_from_json, calibration_to_json
from windtunnel.records.environment import Environment
from windtunnel.records.looks import Look, LookT, StoredLook, format_of
from windtunnel.records.pair import PairRecord, pair_from_json, pair_to_json
from windtunnel.records.record import Record, record_from_json, record_to_json
from windtunnel.records.store_file import (
    FILE_NAME,
    check_can_make,
    connect_to_read,
    connect_to_write,
    damage_named,
    explained,
    write_lock,
)

DEFAULT_STORE = Path("windtunnel-results")

_AUTO = -1  # in the columns for browsing: the count was not asked for, but found

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRecord:
    """A record with what the store knows about it.

    `repeat` counts the measurements of the same task on the same machine from 0; readers show the latest. `digest` is
    the hash of its text in the store; empty where it comes from none.
    """

    key: str
    repeat: int
    record: Record
    environment: Environment
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredComparison:
    """A comparison with the environments of its two sides, which are one where both shared a process.

    `digest` is the hash of its text in the store; empty where it comes from none.
    """

    record: PairRecord
    environment_a: Environment
    environment_b: Environment
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One call of the engine: its sweep as the user wrote it, and where the time went once it has ended."""

    started_at: str
    sweep: Mapping[str, object]
    machine: str
    summary: Mapping[str, object] | None


class Store:
    """An open store. Use it as a context manager, or close it.

    One that is not there yet is empty, and made by the first write: a request that is refused leaves none behind.
    Writes are durable when a call returns: WAL with synchronous=FULL, and a file lock held over each write
    transaction, because SQLite's own locks are not enough on some network file systems.
    """

    def __init__(self, connection: sqlite3.Connection | None, folder: Path, *, is_writable: bool) -> None:
        """Wrap an open connection, None where there is no file yet; call `open_store` or `read_store` instead."""
        self._opened = connection
        self._is_writable = is_writable
        self._is_closed = False
        self.folder = folder

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the file; what was added is already on disk."""
        self._is_closed = True
        if self._opened:
            self._opened.close()

    def make(self) -> None:
        """Make the file where there is none yet, so that what cannot be written is said before anything is measured.

        Raises:
            StoreError: The folder cannot be made or written, or the store was closed.
        """
        if self._is_closed:
            raise StoreError(f"the store {self.folder} was closed")
        self._opened = self._opened or connect_to_write(self.folder)

    @property
    def _connection(self) -> sqlite3.Connection:
        """The open file, which is made now where there is none yet."""
        self.make()
        assert self._opened
        return self._opened

    def add(self, record: Record, environment: Environment) -> int:
        """Store a record in one transaction and return its repeat number.

        Raises:
            StoreError: The file cannot be written: read-only, disk full, not a store any more.
        """
        cell, plan = record.task.cell, record.task.plan
        key, machine = record.task.key(), environment.machine()

        def write() -> int:
            self._add_environment(environment)
            (repeat,) = self._connection.execute(
                "SELECT coalesce(max(repeat) + 1, 0) FROM records WHERE key = ? AND machine = ?", (key, machine)
            ).fetchone()
            columns = {
                "key": key,
                "machine": machine,
                "repeat": repeat,
                "environment_id": environment.key(),
                "started_at": record.started_at,
                "status": record.status.value,
                "size": cell.model.name,
                "workload": cell.workload,
                "batch_size": cell.batch_size,
                "context_length": cell.context_length,
                "precision": cell.precision,
                "attention": cell.attention_name,
                "compile": cell.compile,
                "device": cell.device,
                "warmup": _AUTO if plan.warmup == "auto" else plan.warmup,
                "steps": _AUTO if plan.target else plan.steps,
                "record": record_to_json(record),
            }
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            self._connection.execute(f"INSERT INTO records ({names}) VALUES ({marks})", tuple(columns.values()))
            return repeat

        return self._write(write)

    def begin_run(self, run: Run) -> int:
        """Note that a run has begun and return its number."""

        def write() -> int:
            cursor = self._connection.execute(
                "INSERT INTO runs (started_at, sweep, machine, summary) VALUES (?, ?, ?, NULL)",
                (run.started_at, json.dumps(run.sweep), run.machine),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

        return self._write(write)

    def end_run(self, number: int, summary: Mapping[str, object]) -> None:
        """Note how the run ended and where its time went."""
        self._write(
            lambda: self._connection.execute("UPDATE runs SET summary = ? WHERE id = ?", (json.dumps(summary), number))
        )

    def add_calibration(self, calibration: Calibration, environment: Environment) -> None:
        """Store a calibration in one transaction; earlier ones of the machine stay.

        Raises:
            StoreError: The file cannot be written: read-only, disk full, not a store any more.
        """

        def write() -> None:
            self._add_environment(environment)
            self._connection.execute(
                "INSERT INTO calibrations (machine, environment_id, started_at, calibration) VALUES (?, ?, ?, ?)",
                (
                    environment.machine(),
                    environment.key(),
                    calibration.started_at,
                    calibration_to_json(calibration),
                ),
            )

        self._write(write)

    def calibration(self, machine: str) -> Calibration | None:
        """Return the latest calibration of a machine; None where it has none.

        Raises:
            StoreError: The row cannot be read as a calibration.
        """
        if not self._read("SELECT 1 FROM sqlite_schema WHERE name = 'calibrations'"):
            return None  # schema version 1, opened for reading
        rows = self._read(
            "SELECT id, calibration FROM calibrations WHERE machine = ? ORDER BY id DESC LIMIT 1", (machine,)
        )
        for number, text in rows:
            with damage_named(f"calibration {number}", self.folder):
                return calibration_from_json(text)
        return None

    def calibrations(self) -> tuple[tuple[Calibration, Environment], ...]:
        """Return all calibrations with the machine that each is of, the latest first.

        Raises:
            StoreError: A row cannot be read as a calibration.
        """
        if not self._read("SELECT 1 FROM sqlite_schema WHERE name = 'calibrations'"):
            return ()  # schema version 1, opened for reading
        environments = self._environments()
        found: list[tuple[Calibration, Environment]] = []
        for number, identity, text in self._read(
            "SELECT id, environment_id, calibration FROM calibrations ORDER BY id DESC"
        ):
            with damage_named(f"calibration {number}", self.folder):
                found.append((calibration_from_json(text), environments[identity]))
        return tuple(found)

    def add_comparison(self, record: PairRecord, environment_a: Environment, environment_b: Environment) -> None:
        """Store a comparison in one transaction, under the machine of side A; earlier ones stay.

        Raises:
            StoreError: The file cannot be written: read-only, disk full, not a store any more.
        """

        def write() -> None:
            self._add_environment(environment_a)
            self._add_environment(environment_b)
            columns = {
                "machine": environment_a.machine(),
                "environment_a": environment_a.key(),
                "environment_b": environment_b.key(),
                "run_started_at": record.run_started_at,
                "started_at": record.started_at,
                "status": record.status.value,
                "comparison": pair_to_json(record),
            }
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            self._connection.execute(f"INSERT INTO comparisons ({names}) VALUES ({marks})", tuple(columns.values()))

        self._write(write)

    def comparisons(self) -> tuple[StoredComparison, ...]:
        """Return all comparisons in the order in which they were made.

        Raises:
            StoreError: A row cannot be read as a comparison.
        """
        if not self._read("SELECT 1 FROM sqlite_schema WHERE name = 'comparisons'"):
            return ()  # an older schema version, opened for reading
        rows = self._read("SELECT id, environment_a, environment_b, comparison FROM comparisons ORDER BY id")
        environments = self._environments() if rows else {}
        found: list[StoredComparison] = []
        for number, a, b, text in rows:
            with damage_named(f"comparison {number}", self.folder):
                stored = StoredComparison(
                    record=pair_from_json(text),
                    environment_a=environments[a],
                    environment_b=environments[b],
                    digest=_digest(text),
                )
            found.append(stored)
        return tuple(found)

    def add_look(self, look: Look, environment: Environment) -> None:
        """Store a look inside a step in one transaction; earlier ones of the same kind and cell stay.

        Raises:
            StoreError: The file cannot be written: read-only, disk full, not a store any more.
        """
        kept = format_of(type(look))

        def write() -> None:
            self._add_environment(environment)
            columns = {
                "kind": kept.kind,
                "key": look.key(),
                "machine": environment.machine(),
                "environment_id": environment.key(),
                "started_at": look.started_at,
                "status": look.status.value,
                "look": kept.to_json(look),
            }
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            cursor = self._connection.execute(f"INSERT INTO looks ({names}) VALUES ({marks})", tuple(columns.values()))
            self._connection.executemany(
                "INSERT INTO look_kernels (look_id, phase, part, block, name, calls, nanoseconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((cursor.lastrowid, *row) for row in kept.kernel_rows(look)),
            )

        self._write(write)

    def looks(self, of: type[LookT]) -> tuple[StoredLook[LookT], ...]:
        """Return the latest look of this class at each cell on each machine, in the order in which they were made.

        Raises:
            StoreError: A row cannot be read as one.
        """
        if not self._read("SELECT 1 FROM sqlite_schema WHERE name = 'looks'"):
            return ()  # an older schema version, opened for reading
        kept = format_of(of)
        rows = self._read(
            "SELECT id, key, machine, environment_id, look FROM looks"
            " WHERE id IN (SELECT max(id) FROM looks WHERE kind = ? GROUP BY key, machine) ORDER BY id",
            (kept.kind,),
        )
        environments = self._environments() if rows else {}
        calibrations = {machine: self.calibration(machine) for machine in {row[2] for row in rows}}
        found: list[StoredLook[LookT]] = []
        for number, key, machine, environment_id, text in rows:
            with damage_named(f"{kept.kind} {number}", self.folder):
                stored = StoredLook(
                    key=key,
                    look=kept.from_json(text),
                    environment=environments[environment_id],
                    calibration=calibrations[machine],
                    digest=_digest(text),
                )
            found.append(stored)
        return tuple(found)

    def add_claims(self, ledger: str, *, written_at: str, windtunnel: str, language: str) -> bool:
        """Keep the claim ledger of a report in one transaction; return whether it was not there yet.

        Raises:
            StoreError: The file cannot be written: read-only, disk full, not a store any more.
        """

        def write() -> bool:
            cursor = self._connection.execute(
                "INSERT OR IGNORE INTO claims (written_at, windtunnel, language, digest, ledger)"
                " VALUES (?, ?, ?, ?, ?)",
                (written_at, windtunnel, language, _digest(ledger), ledger),
            )
            return cursor.rowcount > 0

        return self._write(write)

    def claims(self) -> tuple[str, ...]:
        """Return the claim ledgers of all reports of this store, as they were written, the latest last."""
        if not self._read("SELECT 1 FROM sqlite_schema WHERE name = 'claims'"):
            return ()  # an older schema version, opened for reading
        return tuple(ledger for (ledger,) in self._read("SELECT ledger FROM claims ORDER BY id"))

    def keys(self, machine: str) -> frozenset[str]:
        """Return the keys of all tasks that were measured on `machine`, failures included."""
        rows = self._read("SELECT DISTINCT key FROM records WHERE machine = ?", (machine,))
        return frozenset(key for (key,) in rows)

    def records(self, *, key_prefix: str = "", all_repeats: bool = False) -> Iterator[StoredRecord]:
        """Yield the records in the order in which they were made, the latest repeat of each task on each machine.

        Raises:
            StoreError: A row cannot be read as a record.
        """
        environments = self._environments()
        latest = (
            ""
            if all_repeats
            else (
                "AND repeat = (SELECT max(repeat) FROM records AS other"
                " WHERE other.key = records.key AND other.machine = records.machine)"
            )
        )
        rows = self._read(
            "SELECT key, repeat, environment_id, record FROM records"
            f" WHERE substr(key, 1, length(?)) = ? {latest} ORDER BY id",
            (key_prefix, key_prefix),
        )
        for key, repeat, environment_id, text in rows:
            with damage_named(f"record {key}", self.folder):
                stored = StoredRecord(
                    key=key,
                    repeat=repeat,
                    record=record_from_json(text),
                    environment=environments[environment_id],
                    digest=_digest(text),
                )
            yield stored

    def runs(self) -> tuple[Run, ...]:
        """Return all runs, oldest first.

        Raises:
            StoreError: A row cannot be read as a run.
        """
        found: list[Run] = []
        for number, started_at, sweep, machine, summary in self._read(
            "SELECT id, started_at, sweep, machine, summary FROM runs ORDER BY id"
        ):
            with damage_named(f"run {number}", self.folder):
                run = Run(
                    started_at=started_at,
                    sweep=json.loads(sweep),
                    machine=machine,
                    summary=json.loads(summary) if summary else None,
                )
            found.append(run)
        return tuple(found)

    def _environments(self) -> dict[str, Environment]:
        environments: dict[str, Environment] = {}
        for identity, text in self._read("SELECT id, environment FROM environments"):
            with damage_named(f"environment {identity}", self.folder):
                environments[identity] = Environment(**json.loads(text))
        return environments

    def _add_environment(self, environment: Environment) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO environments VALUES (?, ?, ?)",
            (environment.key(), environment.machine(), json.dumps(asdict(environment))),
        )

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with explained(self.folder):
            if self._opened is None and not has_store(self.folder):  # nor has another writer made it since
                return []
            return self._connection.execute(query, values).fetchall()  # all: the last page may be the damaged one

    def _write(self, write: Callable[[], _Result]) -> _Result:
        if not self._is_writable:
            raise StoreError(f"the store {self.folder} was opened for reading only")
        self.make()  # before its lock is held, which making it takes too
        with explained(self.folder), write_lock(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = write()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result


def open_store(folder: Path) -> Store:
    """Open the store in `folder` for reading and writing; one that is not there is made by the first write.

    A store of an older schema version is upgraded in place; what it holds stays as it is.

    Raises:
        StoreError: The folder cannot be made or written, or what is there is not a store of this version.
    """
    with explained(folder):
        is_there = has_store(folder)
    if is_there:
        return Store(connect_to_write(folder), folder, is_writable=True)
    check_can_make(folder)
    return Store(None, folder, is_writable=True)


def read_store(folder: Path) -> Store:
    """Open the store in `folder` for reading only.

    Raises:
        StoreError: There is no store, or what is there is not a store of this version.
    """
    return Store(connect_to_read(folder), folder, is_writable=False)


def has_store(folder: Path) -> bool:
    """Whether there is a store in `folder`."""
    return (folder / FILE_NAME).exists()


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
