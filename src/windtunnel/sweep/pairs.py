"""Compare two sweeps cell by cell: in one process, or in processes that take turns; each result is stored at once."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from windtunnel.errors import RunError, SpecError
from windtunnel.records.environment import Environment
from windtunnel.records.pair import Pairing, PairRecord, PairSide
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import DEFAULT_STORE, Store, StoredComparison, open_store
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.spec.quantities import find_faults, parse_seconds
from windtunnel.spec.sides import as_side, match_sides
from windtunnel.spec.sweep import AnySweep
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import PairPlan, Turn, draw_processes, take_pairs
from windtunnel.sweep.engine import DEFAULT_TIMEOUT_SECONDS
from windtunnel.sweep.launch import OnStage, PairAnswer, Place, Worker, WorkerLostError, WorkerProcess
from windtunnel.sweep.turns import Sides, empty_side

DEFAULT_BLOCK_SECONDS = 5.0

_BLOCK_TARGET = 1e-9
"""A block ends by its time: no interval of real samples is as narrow as this."""
_MOST_BLOCK_SAMPLES = 100_000
_TURNS_OF_A_PAIR = 2.25
"""A B B A needs a fifth turn for the control, B A A B has it in its middle."""

_HERE = Place()


class PairWorker(Worker, Protocol):
    """A worker that can also compare."""

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        """Compare two tasks within `timeout` seconds, or raise WorkerLostError."""
        ...


LaunchAt = Callable[[Place], PairWorker]

_Match = Callable[[str], tuple[tuple[Task, Task], ...]]
"""Gives the pairs of cells once the device is known."""


class PairObserver(Protocol):
    """Someone who watches comparisons, such as a progress display."""

    def planned(
        self, pairs: tuple[tuple[Task, Task], ...], environments: tuple[Environment, Environment], seconds: float | None
    ) -> None:
        """Cells of A and B, on what they run, and of processes that take turns about how long."""
        ...

    def began(self, a: Task, b: Task) -> None:
        """Say that two cells are being compared."""
        ...

    def stage(self, name: str) -> None:
        """Name the stage that the present comparison has reached."""
        ...

    def ended(self, record: PairRecord) -> None:
        """Hand over a comparison that is safely stored."""
        ...


def compare_sweeps(
    a: AnySweep,
    b: AnySweep,
    *,
    plan: PairPlan,
    pairing: Pairing = Pairing.TOGETHER,
    device: str | None = None,
    places: tuple[Place, Place] = (_HERE, _HERE),
    block_seconds: float = DEFAULT_BLOCK_SECONDS,
    store: Path | str = DEFAULT_STORE,
    timeout: float | str = DEFAULT_TIMEOUT_SECONDS,
    observer: PairObserver | None = None,
    launch: LaunchAt = WorkerProcess,
) -> tuple[StoredComparison, ...]:
    """Compare each cell of `a` with its match in `b`, store each comparison, and return them all.

    A comparison that fails is stored too, with the pairs that it had, and the next one goes on.

    Args:
        a: The cells that are compared with.
        b: The cells that are compared; see `match_sides` for which with which.
        plan: When a comparison ends.
        pairing: Both cells in one process, or each turn in a fresh one.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; None: what the sweeps say.
        places: Where the workers of A and of B run; only processes that take turns have places of their own.
        block_seconds: How long each process samples at least, and never fewer than ten steps.
        store: Folder of the store; made when it is not there.
        timeout: Seconds that one turn of a process may take; that both together may take beyond the plan's. Or a text
            such as 30m.
        observer: Told about every step of the run.
        launch: Starts a worker; tests put a fake here.

    Raises:
        SpecError: The sweeps do not match, the plan or the timeout is out of range, or a device or a place is not
                there.
        StoreError: The store cannot be opened or written; what was stored before is safe.
        RunError: No worker can be started.
    """
    faults = plan.faults() + find_faults({"timeout": (timeout, parse_seconds)})
    if not block_seconds > 0:
        faults.append(f"block_seconds is {block_seconds}; it is a number above 0")
    if pairing is Pairing.TOGETHER and places != (_HERE, _HERE):
        faults.append("a side has a project or a python of its own, but both share one process: use --pair process")
    if device is None and a.device != b.device:
        faults.append(f"A asks for device {a.device!r} and B for {b.device!r}: name one device for both")
    if faults:
        raise SpecError(*faults)
    for place in places:
        place.check()
    with open_store(Path(store)) as opened:
        run = _Run(
            opened,
            plan=plan,
            pairing=pairing,
            places=dict(zip(Side, places, strict=True)),
            block_seconds=block_seconds,
            timeout=parse_seconds(timeout),
            observer=observer,
            launch=launch,
        )
        return run.compare(lambda device: match_sides(a, b, device), device or a.device)


def compare_tasks(
    pairs: Sequence[tuple[Task, Task]],
    *,
    plan: PairPlan,
    places: tuple[Place, Place] | None = None,
    block_seconds: float = DEFAULT_BLOCK_SECONDS,
    store: Path | str = DEFAULT_STORE,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    observer: PairObserver | None = None,
    launch: LaunchAt = WorkerProcess,
) -> tuple[StoredComparison, ...]:
    """Compare cells that are matched already; store each comparison, return them all.

    Args:
        pairs: Cells A and B, all on one device; of their plans warm-up and cache are kept.
        plan: When a comparison ends.
        places: Where the workers of A and of B run, each turn in a fresh one; None: both cells in one process.
        block_seconds: How long each process samples at least, where processes take turns.
        store: Folder of the store; made when it is not there.
        timeout: Seconds that one comparison may take beyond the plan's.
        observer: Told about every step of the run.
        launch: Starts a worker; tests put a fake here.

    Raises:
        SpecError: The plan is out of range, or the device or a place is not there.
        StoreError: The store cannot be opened or written; what was stored before is safe.
        RunError: No worker can be started.
    """
    if faults := plan.faults():
        raise SpecError(*faults)
    if not pairs:
        return ()
    for place in places or ():
        place.check()
    with open_store(Path(store)) as opened:
        run = _Run(
            opened,
            plan=plan,
            pairing=Pairing.PROCESS if places else Pairing.TOGETHER,
            places=dict(zip(Side, places or (_HERE, _HERE), strict=True)),
            block_seconds=block_seconds,
            timeout=timeout,
            observer=observer,
            launch=launch,
        )
        return run.compare(lambda _: tuple((as_side(a), as_side(b)) for a, b in pairs), pairs[0][0].cell.device)


class _Run:
    """One run in progress: its worker where one is kept, its store, its limits."""

    def __init__(
        self,
        store: Store,
        *,
        plan: PairPlan,
        pairing: Pairing,
        places: dict[Side, Place],
        block_seconds: float,
        timeout: float,
        observer: PairObserver | None,
        launch: LaunchAt,
    ) -> None:
        self._store = store
        self._plan = plan
        self._pairing = pairing
        self._places = places
        self._block_seconds = block_seconds
        self._timeout = timeout
        self._observer = observer
        self._launch = launch
        self._worker: PairWorker | None = None
        self._commits = {side: _commit_of(place.project) for side, place in places.items()}
        self._started_at = _now()

    def compare(self, match: _Match, device: str) -> tuple[StoredComparison, ...]:
        try:
            environments, start_seconds = self._describe(device)
            pairs = match(environments[0].device)
            self._store.make()
            if self._observer:
                turn_seconds = start_seconds + self._block_seconds
                seconds = _TURNS_OF_A_PAIR * self._plan.max_pairs * turn_seconds
                self._observer.planned(pairs, environments, seconds if self._is_by_process else None)
            return tuple(self._compare_pair(*pair, environments) for pair in pairs)
        finally:
            self._drop_worker()

    @property
    def _is_by_process(self) -> bool:
        return self._pairing is Pairing.PROCESS

    def _describe(self, device: str) -> tuple[tuple[Environment, Environment], float]:
        """Return what each side runs on, and how many seconds a worker took to start and say so.

        Raises:
            SpecError: The device is not there, or not the same on both sides.
        """
        begin = time.monotonic()
        described = {place: self._describe_at(place, device) for place in dict.fromkeys(self._places.values())}
        seconds = (time.monotonic() - begin) / len(described)
        of_a, of_b = (described[place] for place in self._places.values())
        if of_a.device != of_b.device:
            raise SpecError(f"device {device!r} is {of_a.device} for A and {of_b.device} for B; name one that both see")
        return (of_a, of_b), seconds

    def _describe_at(self, place: Place, device: str) -> Environment:
        worker = self._worker = self._launch(place)
        environment = worker.describe(device)
        if self._is_by_process:
            self._drop_worker()
        return environment

    def _compare_pair(self, a: Task, b: Task, environments: tuple[Environment, Environment]) -> StoredComparison:
        if self._observer:
            self._observer.began(a, b)
        record = self._by_process(a, b) if self._is_by_process else self._together(a, b)
        record = replace(record, run_started_at=self._started_at)
        self._store.add_comparison(record, *environments)
        if self._observer:
            self._observer.ended(record)
        of_a, of_b = environments
        return StoredComparison(record=record, environment_a=of_a, environment_b=of_b)

    def _together(self, a: Task, b: Task) -> PairRecord:
        sides = Sides({Side.A: empty_side(a), Side.B: empty_side(b)})
        timeout = self._timeout + self._plan.max_seconds
        started_at = _now()
        try:
            self._worker = self._worker or self._launch(_HERE)
            answer = self._worker.compare(
                a, b, plan=self._plan, seed=a.cell.seed, timeout=timeout, on_stage=self._stage
            )
        except RunError as error:
            self._drop_worker()
            return self._record(sides, started_at, _LostError(None, *_explain(error)))
        if answer.leaked_bytes or answer.record.status != Status.OK:
            self._drop_worker()
        return answer.record

    def _by_process(self, a: Task, b: Task) -> PairRecord:
        """Take turns of whole processes; a failure of one ends the comparison with the turns before it."""
        sides = Sides({Side.A: self._side(Side.A, a), Side.B: self._side(Side.B, b)})
        begin, started_at = time.monotonic(), _now()

        def take(turns: tuple[Turn, ...]) -> None:
            for turn in turns:
                sides.add(turn, self._measure_block(sides.sides[turn.side].task, turn.side, len(sides.turns) + 1))

        try:
            taken = take_pairs(
                self._plan,
                seed=a.cell.seed,
                draw=draw_processes,
                take=take,
                read=sides.differences,
                elapsed=lambda: time.monotonic() - begin,
            )
        except _LostError as error:
            return self._record(sides, started_at, error)
        for warning in taken.warnings:
            sides.warn(warning)
        return self._record(sides, started_at, None)

    def _measure_block(self, task: Task, side: Side, number: int) -> Record:
        """Measure a cell in a process of its own; every failure of it becomes a _LostError."""
        plan = MeasurePlan(
            warmup=task.plan.warmup,
            target=_BLOCK_TARGET,
            max_samples=_MOST_BLOCK_SAMPLES,
            max_seconds=self._block_seconds,
            cache=task.plan.cache,
        )
        try:
            self._stage(f"process {number}, {side.upper()}: start")
            self._worker = self._launch(self._places[side])
            answer = self._worker.measure(
                Task(cell=task.cell, plan=plan),
                timeout=self._timeout,
                on_stage=lambda name: self._stage(f"process {number}, {side.upper()}: {name}"),
                with_probes=False,  # nobody would see them
            )
        except RunError as error:
            raise _LostError(side, *_explain(error)) from error
        finally:
            self._drop_worker()
        if answer.record.status != Status.OK:
            assert answer.record.failure is not None
            raise _LostError(side, answer.record.status, answer.record.failure)
        return answer.record

    def _side(self, side: Side, task: Task) -> PairSide:
        place = self._places[side]
        return replace(empty_side(task), project=place.project, commit=self._commits[side], python=place.python)

    def _record(self, sides: Sides, started_at: str, lost: "_LostError | None") -> PairRecord:
        return PairRecord(
            pairing=self._pairing,
            a=sides.complete(Side.A),
            b=sides.complete(Side.B),
            plan=self._plan,
            seed=sides.sides[Side.A].task.cell.seed,
            status=lost.status if lost else Status.OK,
            turns=tuple(sides.turns),
            failure=lost.failure if lost else None,
            failed_side=lost.side if lost else None,
            block_seconds=self._block_seconds if self._is_by_process else None,
            warnings=tuple(sides.warnings),
            started_at=started_at,
            run_started_at=self._started_at,
        )

    def _drop_worker(self) -> None:
        if self._worker:
            worker, self._worker = self._worker, None
            worker.close()

    def _stage(self, name: str) -> None:
        if self._observer:
            self._observer.stage(name)


class _LostError(Exception):
    """A comparison that cannot go on: whose failure it was (None: that of both), and what its row says."""

    def __init__(self, side: Side | None, status: Status, failure: Failure) -> None:
        super().__init__(failure.message)
        self.side = side
        self.status = status
        self.failure = failure


def _explain(error: RunError) -> tuple[Status, Failure]:
    if isinstance(error, WorkerLostError):
        return error.status, error.failure
    return Status.CRASHED, Failure(stage="start", message=str(error))


def _commit_of(project: str | None) -> str | None:
    """Return the commit of a folder, with `+changes` when files differ from it; None where git knows none."""
    if project is None:
        return None
    command = ["git", "-C", project, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
