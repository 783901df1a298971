"""Search frontiers: each probe is a process and a record of its own, so that a search goes on where it was killed."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from windtunnel.errors import SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Record, Status
from windtunnel.records.store import DEFAULT_STORE, Run, Store, open_store
from windtunnel.spec.cell import Task
from windtunnel.spec.frontier import Frontier
from windtunnel.spec.quantities import parse_memory_limit
from windtunnel.sweep.bracketing import Bracket, Outcome, bracket
from windtunnel.sweep.engine import DEFAULT_TIMEOUT_SECONDS, lost_record
from windtunnel.sweep.launch import Worker, WorkerLostError, WorkerProcess
from windtunnel.sweep.lines import Line, Predict, lines_of

SAME_BYTES = 16 * 2**20
"""Device memory before and after that differs by less than this is the same: a driver's own bookkeeping moves."""

_OUTCOMES = {
    Status.OK: Outcome.FITS,
    Status.BAD_NUMERICS: Outcome.FITS,  # the step ran: what is wrong with its numbers is not memory
    Status.OUT_OF_MEMORY: Outcome.OUT,
    Status.UNSUPPORTED: Outcome.REFUSED,
}
"""What a record says of memory; any other status: nothing."""


class Prober(Worker, Protocol):
    """A worker that also says what is free on its device; tests put a fake here."""

    def free_bytes(self, device: str) -> int:
        """Return the bytes that a cell could take now."""
        ...


class FrontierObserver(Protocol):
    """Someone who watches a search, such as a progress display."""

    def planned(self, lines: tuple[Line, ...], environment: Environment, budget_bytes: int) -> None:
        """Lines to search, where, and how much memory there is."""
        ...

    def began_line(self, line: Line, predicted: int | None) -> None:
        """Say that the search of a line begins, with the place at which it is predicted to end."""
        ...

    def began(self, task: Task) -> None:
        """Say that a probe was handed to a worker."""
        ...

    def stage(self, name: str) -> None:
        """Name the stage that the present probe has reached."""
        ...

    def ended(self, record: Record, *, was_stored: bool) -> None:
        """Hand over the record of a probe, made now or by an earlier search."""
        ...

    def ended_line(self, line: Line, found: Bracket) -> None:
        """Hand over what was found of a line."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLine:
    """A line with what was found of it; `predicted` is the place at which it was to end, None where not known."""

    line: Line
    predicted: int | None
    bracket: Bracket


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierSummary:
    """What a search did.

    Attributes:
        budget_bytes: The memory that predictions were held against: the limit, or what was free at the start.
        probes: Probes that were made now; `stored` more were in the store.
        free_before_bytes: What was free on the device before the first probe; None on a CPU, as for the next.
        free_after_bytes: What was free after the last one.
    """

    lines: tuple[FoundLine, ...]
    budget_bytes: int
    probes: int
    stored: int
    free_before_bytes: int | None
    free_after_bytes: int | None
    wall_seconds: float
    is_complete: bool

    @property
    def missing_bytes(self) -> int:
        """What was no longer free at the end, by this search or by another process; 0 where it is the same."""
        if self.free_before_bytes is None or self.free_after_bytes is None:
            return 0
        missing = self.free_before_bytes - self.free_after_bytes
        return missing if missing > SAME_BYTES else 0

    def as_json(self) -> Mapping[str, object]:
        """Return what the store keeps of the course of a search; what was found is in its records."""
        return {
            "budget_bytes": self.budget_bytes,
            "probes": self.probes,
            "stored": self.stored,
            "free_before_bytes": self.free_before_bytes,
            "free_after_bytes": self.free_after_bytes,
            "missing_bytes": self.missing_bytes,
            "wall_seconds": self.wall_seconds,
            "is_complete": self.is_complete,
            "lines": [_course(found) for found in self.lines],
        }


def _course(found: FoundLine) -> Mapping[str, object]:
    line, result = found.line, found.bracket
    predicted = found.predicted
    return {
        "identity": line.identity,
        "probes": len(result.tried),
        "contradictions": [line.value(place) for place in result.contradictions],
        "broken": None if result.broken is None else line.value(result.broken),
        "is_settled": result.is_settled,
        "has_prediction": predicted is not None,
        "predicted": line.value(predicted) if predicted is not None and predicted >= 0 else None,
        "is_exhausted": result.smallest is None and result.largest == len(line) - 1,
    }


def search_frontier(
    frontier: Frontier,
    *,
    predict: Predict | None,
    device: str = "auto",
    store: Path | str = DEFAULT_STORE,
    fresh: bool = False,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    observer: FrontierObserver | None = None,
    launch: Callable[[], Prober] = WorkerProcess,
) -> FrontierSummary:
    """Find for each line of `frontier` the largest value that fits, and store every probe.

    A probe is two steps in a process of its own. What the store holds of an earlier search is not probed again, unless
    `fresh` asks for it.

    Args:
        frontier: What to search.
        predict: The peak of a cell in bytes, where the search starts; None: it starts in the middle.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        store: Folder of the store; made when it is not there.
        fresh: Probe again what is stored already.
        timeout: Seconds that one probe may take, building and compiling included.
        observer: Told about every step of the search.
        launch: Starts a worker; tests put a fake here.

    Raises:
        SpecError: The device is not there, or the limit is none of it; on a CPU, there is no limit.
        StoreError: The store cannot be opened or written; what was stored before is safe.
        RunError: No worker can be started.
    """
    with open_store(Path(store)) as opened:
        return _Search(opened, launch, timeout, observer, fresh=fresh).run(frontier, device, predict)


class _Search:
    """One search in progress: its store and its counts."""

    def __init__(
        self,
        store: Store,
        launch: Callable[[], Prober],
        timeout: float,
        observer: FrontierObserver | None,
        *,
        fresh: bool,
    ) -> None:
        self._store = store
        self._launch = launch
        self._timeout = timeout
        self._observer = observer
        self._is_fresh = fresh
        self._begin = time.monotonic()
        self._probes = self._stored = 0

    def run(self, frontier: Frontier, device: str, predict: Predict | None) -> FrontierSummary:
        environment, free_before = self._look(device)
        limit = limit_of(frontier, environment)
        budget = free_before if limit is None else min(limit, free_before)
        lines = lines_of(frontier, device=environment.device, memory_limit_bytes=limit)
        if self._observer:
            self._observer.planned(lines, environment, budget)
        sweep = frontier.model_dump(mode="json", exclude_defaults=True) | {"kind": frontier.kind}
        number = self._store.begin_run(Run(started_at=_now(), sweep=sweep, machine=environment.machine(), summary=None))
        found: list[FoundLine] = []

        def end(free_after: int | None, *, is_complete: bool) -> FrontierSummary:
            summary = FrontierSummary(
                lines=tuple(found),
                budget_bytes=budget,
                probes=self._probes,
                stored=self._stored,
                free_before_bytes=free_before if environment.device != "cpu" else None,
                free_after_bytes=free_after,
                wall_seconds=time.monotonic() - self._begin,
                is_complete=is_complete,
            )
            self._store.end_run(number, summary.as_json())
            return summary

        try:
            for line in lines:
                found.append(self._search(line, environment, line.predicted(budget, predict)))
            free_after = self._look(environment.device)[1] if environment.device != "cpu" else None
        except StoreError:
            raise  # nothing more can be stored, also not the summary
        except BaseException:
            end(None, is_complete=False)
            raise
        return end(free_after, is_complete=True)

    def _look(self, device: str) -> tuple[Environment, int]:
        """Return what `device` is and what is free there, by asking a worker that measures nothing."""
        with closing(self._launch()) as worker:
            environment = worker.describe(device)
            return environment, worker.free_bytes(environment.device)

    def _search(self, line: Line, environment: Environment, predicted: int | None) -> FoundLine:
        if self._observer:
            self._observer.began_line(line, predicted)

        def probe(place: int, attempt: int) -> Outcome:
            record = self._probe(line.task(place), attempt, environment)
            return _OUTCOMES.get(record.status, Outcome.BROKEN)

        found = bracket(len(line), probe, predicted=predicted)
        if self._observer:
            self._observer.ended_line(line, found)
        return FoundLine(line=line, predicted=predicted, bracket=found)

    def _probe(self, task: Task, attempt: int, environment: Environment) -> Record:
        """Return the record of an attempt: that of the store where it has one, or else a new one."""
        stored = () if self._is_fresh else self._attempts(task, environment)
        if attempt < len(stored):
            self._stored += 1
            record = stored[attempt]
        else:
            if self._observer:
                self._observer.began(task)
            record = self._measure(task, environment)
            self._probes += 1
        if self._observer:
            self._observer.ended(record, was_stored=attempt < len(stored))
        return record

    def _attempts(self, task: Task, environment: Environment) -> tuple[Record, ...]:
        machine = environment.machine()
        stored = self._store.records(key_prefix=task.key(), all_repeats=True)
        return tuple(one.record for one in stored if one.environment.machine() == machine)

    def _measure(self, task: Task, environment: Environment) -> Record:
        """Measure one attempt in a process of its own, and store it before that process ends."""
        started_at = _now()
        with closing(self._launch()) as worker:
            try:
                record = worker.measure(task, timeout=self._timeout, on_stage=self._stage, with_probes=False).record
            except WorkerLostError as error:
                record = lost_record(task, error, started_at)
            self._store.add(record, environment)
            return record

    def _stage(self, name: str) -> None:
        if self._observer:
            self._observer.stage(name)


def limit_of(frontier: Frontier, environment: Environment) -> int | None:
    """Return the limit in bytes; None where all the device has may be taken.

    Raises:
        SpecError: It is none of this device, or there is none on a CPU.
    """
    capacity = environment.device_memory_bytes
    if frontier.memory_limit is None:
        if environment.device == "cpu":
            raise SpecError(
                "on a CPU nothing runs out of memory before the kernel swaps or kills: give a limit, "
                "as --memory-limit 4GiB or 10%"
            )
        return None
    assert capacity is not None  # both kinds of devices know it
    try:
        return parse_memory_limit(frontier.memory_limit, capacity)
    except ValueError as error:
        raise SpecError(f"memory limit {error}") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
