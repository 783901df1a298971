"""Run a sweep: what the store lacks goes to a worker, and each answer is stored before the next cell begins."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from windtunnel.cost.step import cost_of
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Record, Status
from windtunnel.records.store import DEFAULT_STORE, Run, Store, open_store
from windtunnel.spec.cell import Task
from windtunnel.spec.quantities import find_faults, parse_seconds
from windtunnel.spec.sweep import AnySweep
from windtunnel.spec.tables import WORKLOADS
from windtunnel.sweep.launch import Launch, Worker, WorkerLostError, WorkerProcess

DEFAULT_TIMEOUT_SECONDS = 1800.0

STAGE_LABELS = {
    "start": "starting processes",
    "build": "building models",
    "compile": "compiling",
    "warmup": "warm-up",
    "measure": "measuring",
    "probe": "probing",
    "clean": "freeing memory",
    "lost": "cells without an answer",
    "store": "storing",
}
"""What a report calls the places where the time of a run goes."""


ChooseSweep = Callable[[Environment], AnySweep]


class Observer(Protocol):
    """Someone who watches a run, such as a progress display."""

    def planned(self, tasks: tuple[Task, ...], todo: tuple[Task, ...], environment: Environment) -> None:
        """Tasks of the sweep, and those of them that are not in the store yet."""
        ...

    def began(self, task: Task) -> None:
        """Say that a task was handed to a worker."""
        ...

    def skipped(self, task: Task) -> None:
        """Say that another run has stored a task since this one was planned."""
        ...

    def stage(self, name: str) -> None:
        """Name the stage that the present task has reached."""
        ...

    def ended(self, record: Record) -> None:
        """Hand over a record that is safely stored."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What a run did and where its wall time went.

    `seconds` has one entry for each label of STAGE_LABELS that took time, and `other`; they add up to
    `wall_seconds`. `cells` and `already_stored` count a cell of several processes once for each of them; a cell that
    another run stored meanwhile was already stored. `measured` counts all new records, `failed` those of them that are
    failures.
    """

    cells: int
    already_stored: int
    measured: int
    failed: int
    processes: int
    wall_seconds: float
    seconds: Mapping[str, float]
    is_complete: bool


@dataclass
class _Times:
    """Seconds by stage, added up over the run."""

    seconds: dict[str, float] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    @contextmanager
    def spent_on(self, stage: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.add(stage, time.monotonic() - begin)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def labelled(self) -> tuple[float, dict[str, float]]:
        wall = time.monotonic() - self.begin
        labelled = {STAGE_LABELS[stage]: seconds for stage, seconds in self.seconds.items()}
        return wall, labelled | {"other": max(0.0, wall - sum(labelled.values()))}


class _Run:
    """One run in progress: its workers, its store, its counts."""

    def __init__(
        self, store: Store, launch: Launch, timeout: float, observer: Observer | None, *, with_probes: bool
    ) -> None:
        self._store = store
        self._launch = launch
        self._timeout = timeout
        self._observer = observer
        self._with_probes = with_probes
        self._worker: Worker | None = None
        self._times = _Times()
        self._processes = 0
        self._stored = 0
        self._measured = 0
        self._failed = 0

    def measure(self, sweep: AnySweep | ChooseSweep, device: str, *, fresh: bool) -> RunSummary:
        try:
            environment = self._ready_worker(needs_fresh=False).describe(device)
            sweep = sweep if isinstance(sweep, AnySweep) else sweep(environment)
            machine = environment.machine()
            tasks = sweep.expand(environment.device)
            stored = frozenset[str]() if fresh else self._store.keys(machine)
            todo = tuple(task for task in tasks if task.key() not in stored)
            self._stored = len(tasks) - len(todo)
            if self._observer:
                self._observer.planned(tasks, todo, environment)
            number = self._store.begin_run(
                Run(
                    started_at=_now(),
                    sweep=sweep.model_dump(mode="json", exclude_defaults=True),
                    machine=machine,
                    summary=None,
                )
            )
            try:
                for task in todo:
                    if not fresh and task.key() in self._store.keys(machine):
                        self._skip(task)  # another run on this store was faster
                    else:
                        self._measure_task(task, environment)
            except StoreError:
                raise  # nothing more can be stored, also not the summary
            except BaseException:
                self._end(number, tasks, is_complete=False)
                raise
            return self._end(number, tasks, is_complete=True)
        finally:
            self._drop_worker()

    def _skip(self, task: Task) -> None:
        self._stored += 1
        if self._observer:
            self._observer.skipped(task)

    def _measure_task(self, task: Task, environment: Environment) -> None:
        worker = self._ready_worker(needs_fresh=task.plan.needs_fresh_process)
        if self._observer:
            self._observer.began(task)
        begin, started_at = time.monotonic(), _now()
        try:
            answer = worker.measure(task, timeout=self._timeout, on_stage=self._stage, with_probes=self._with_probes)
            record, must_replace = answer.record, answer.leaked_bytes > 0
            for stage, seconds in record.stages.items():
                self._times.add(stage, seconds)
        except WorkerLostError as error:
            record, must_replace = lost_record(task, error, started_at), True
            self._times.add("lost", time.monotonic() - begin)
        with self._times.spent_on("store"):
            self._store.add(record, environment)
        self._measured += 1
        self._failed += record.status != Status.OK
        if must_replace or not (record.status == Status.OK or _was_refused(record)):
            self._drop_worker()
        if self._observer:
            self._observer.ended(record)

    def _ready_worker(self, *, needs_fresh: bool) -> Worker:
        if self._worker and needs_fresh and not self._worker.is_fresh:
            self._drop_worker()
        if not self._worker:
            with self._times.spent_on("start"):
                self._worker = self._launch()
            self._processes += 1
        return self._worker

    def _drop_worker(self) -> None:
        if self._worker:
            worker, self._worker = self._worker, None
            worker.close()

    def _stage(self, name: str) -> None:
        if self._observer:
            self._observer.stage(name)

    def _end(self, number: int, tasks: tuple[Task, ...], *, is_complete: bool) -> RunSummary:
        wall, seconds = self._times.labelled()
        summary = RunSummary(
            cells=len(tasks),
            already_stored=self._stored,
            measured=self._measured,
            failed=self._failed,
            processes=self._processes,
            wall_seconds=wall,
            seconds=seconds,
            is_complete=is_complete,
        )
        self._store.end_run(number, asdict(summary))
        return summary


def measure_sweep(
    sweep: AnySweep | ChooseSweep,
    *,
    device: str | None = None,
    store: Path | str = DEFAULT_STORE,
    fresh: bool = False,
    timeout: float | str = DEFAULT_TIMEOUT_SECONDS,
    with_probes: bool = True,
    observer: Observer | None = None,
    launch: Launch = WorkerProcess,
) -> RunSummary:
    """Measure every cell of `sweep` that the store does not hold yet for this machine, and store each at once.

    A cell that fails is stored as a row too and not tried again, unless `fresh` asks for all cells anew; the
    older measurements stay in the store. Code of the user's own is known by its name only: ask for `fresh` after a
    change of it. Interrupted at any point, the next call goes on where this one ended.

    Args:
        sweep: What to measure, or a function that chooses it once the device is known.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; None: what the sweep says.
        store: Folder of the store; made when it is not there.
        fresh: Measure cells again that are stored already.
        timeout: Seconds that one cell may take, building and compiling included; or a text such as 30m.
        with_probes: Look at each cell in other ways after its samples; times and peaks do not need it.
        observer: Told about every step of the run.
        launch: Starts a worker; tests put a fake here.

    Raises:
        SpecError: The device is not there, the sweep expands to no cell or too many, or the timeout is no time.
        StoreError: The store cannot be opened or written; what was stored before is safe.
        RunError: No worker can be started.
    """
    if faults := find_faults({"timeout": (timeout, parse_seconds)}):
        raise SpecError(*faults)
    device = device or (sweep.device if isinstance(sweep, AnySweep) else "auto")
    with open_store(Path(store)) as opened:
        run = _Run(opened, launch, parse_seconds(timeout), observer, with_probes=with_probes)
        return run.measure(sweep, device, fresh=fresh)


def _was_refused(record: Record) -> bool:
    """Say whether the cell was turned down before anything was made for it, so that its worker is as it was."""
    return record.status == Status.UNSUPPORTED and record.failure is not None and record.failure.stage == "build"


def lost_record(task: Task, error: WorkerLostError, started_at: str) -> Record:
    """Return the record of a task whose worker gave no answer."""
    cost, kind = cost_of(task.cell), WORKLOADS[task.cell.workload]
    return Record(
        task=task,
        status=error.status,
        total=kind.total,
        timed=kind.timed,
        flops=cost.flops if cost else {},
        flops_by="formula" if cost else "counter",
        parameters=cost.parameters if cost else None,
        samples=(),
        memory=None,
        failure=error.failure,
        stages={},
        warnings=(),
        process=0,
        is_first_in_process=task.plan.needs_fresh_process,
        started_at=started_at,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
