"""A search's looks, errors and comparisons from a worker, while there is time; what is stored is not measured again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from windtunnel.records.environment import Environment
from windtunnel.records.pair import Pairing, PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Record, Status
from windtunnel.records.store import Store
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.sides import as_side
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.candidates import Candidate
from windtunnel.sweep.engine import lost_record
from windtunnel.sweep.launch import OnStage, PairAnswer, Place, Worker, WorkerLostError
from windtunnel.sweep.pairs import LaunchAt, compare_tasks
from windtunnel.sweep.stored_trials import StoredTrials, was_cut_short
from windtunnel.sweep.tuning import TuneObserver
from windtunnel.sweep.turns import empty_side

LOOKS_SHARE = 0.6
"""Of the budget, what looks may take: the rest is for duels."""

RESERVE_SHARE = 0.15
"""Of the budget, what is kept for the last comparison, of the winner with the present configuration."""

LEAST_PAIR_SECONDS = 2.0
MOST_PAIR_SECONDS = 60.0

_BLOCK_SECONDS = 2.0
"""How long each process samples at least where two candidates do not fit into one."""


class TuneWorker(Worker, Protocol):
    """A worker that measures, compares and looks at numbers; tests put a fake here."""

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        """Compare two tasks within `timeout` seconds, or raise WorkerLostError."""
        ...

    def look_at_precision(self, request: PrecisionRequest, *, timeout: float, on_stage: OnStage) -> PrecisionLook:
        """Return how far the numbers of a step are off, or raise WorkerLostError."""
        ...


class TrialsObserver(TuneObserver, Protocol):
    """Someone who watches a search with workers."""

    def planned(self, candidates: tuple[Candidate, ...], environment: Environment, limit_bytes: int | None) -> None:
        """Hand over what will be tried, the present configuration first."""
        ...

    def began(self, what: str, cell: Cell) -> None:
        """Say what is done to a candidate now: look, error or duel."""
        ...

    def stage(self, name: str) -> None:
        """Name the stage that it has reached."""
        ...


class Budget:
    """The seconds of a search, and those of them that its parts may use."""

    def __init__(self, seconds: float, *, begin: float) -> None:
        """Count from `begin`, a time of the monotonic clock."""
        self._begin = begin
        self._seconds = seconds

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until this share of the budget is used up; negative once it is."""
        return self._begin + share * self._seconds - time.monotonic()

    @property
    def spent(self) -> float:
        """The seconds since the beginning."""
        return time.monotonic() - self._begin


class Workers:
    """The one worker of a search, replaced when it may not be trusted any more."""

    def __init__(self, launch: Callable[[], TuneWorker]) -> None:
        """Start none yet."""
        self._launch = launch
        self._worker: TuneWorker | None = None

    def __enter__(self) -> "Workers":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker."""
        self.drop()

    def ready(self) -> TuneWorker:
        """Return the worker, a new one where there is none."""
        self._worker = self._worker or self._launch()
        return self._worker

    def drop(self) -> None:
        """End the worker."""
        if self._worker:
            worker, self._worker = self._worker, None
            worker.close()


class MeasuredTrials:
    """Gives what is stored, and measures the rest while there is time."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        environment: Environment,
        *,
        budget: Budget,
        timeout: float,
        observer: TrialsObserver | None,
        launch_at: LaunchAt,
        has_limit: bool,
        fresh: bool,
    ) -> None:
        """Read what the store has of this machine, or with `fresh` nothing of it."""
        self.machine = environment.machine()
        empty = StoredTrials(self.machine, records=(), comparisons=(), looks=())
        self._stored = empty if fresh else StoredTrials.of_store(store, self.machine)
        self._store = store
        self._workers = workers
        self._environment = environment
        self._budget = budget
        self._timeout = timeout
        self._observer = observer
        self._launch_at = launch_at
        # The resident set of a process has what the cells before left there.
        self._needs_own_process = has_limit and environment.device == "cpu"
        self.started_at = _now()
        self._counts = dict.fromkeys(("looks", "numbers", "comparisons"), 0)
        self._ran_out = False

    def course(self, *, is_complete: bool) -> Mapping[str, object]:
        """Return what the store keeps of the course of a search; what was found is in its records."""
        return {
            **self._counts,
            "wall_seconds": self._budget.spent,
            "ran_out": self._ran_out,
            "is_complete": is_complete,
        }

    def look(self, task: Task) -> Record | None:
        """Return the record of a candidate; the first one measured may take the whole budget."""
        if stored := self._stored.look(task):
            return stored
        seconds = self._allowed(LOOKS_SHARE if self._counts["looks"] else 1.0)
        if seconds is None:
            return None
        self._say("look", task.cell)
        started_at = _now()
        if self._needs_own_process:
            self._workers.drop()
        try:
            answer = self._workers.ready().measure(task, timeout=seconds, on_stage=self._stage, with_probes=False)
        except WorkerLostError as error:
            self._workers.drop()
            if self._was_cut(error, seconds):
                return None
            record = lost_record(task, error, started_at)
        else:
            record = answer.record
            if answer.leaked_bytes or record.status is not Status.OK:
                self._workers.drop()
        self._store.add(record, self._environment)
        self._counts["looks"] += 1
        return record

    def numbers(self, request: PrecisionRequest) -> PrecisionLook | None:
        """Return how far the numbers of a step are off."""
        if stored := self._stored.numbers(request):
            return stored
        seconds = self._allowed(1.0)
        if seconds is None:
            return None
        self._say("error", request.cell)
        try:
            look = self._workers.ready().look_at_precision(request, timeout=seconds, on_stage=self._stage)
        except WorkerLostError as error:
            self._workers.drop()
            if self._was_cut(error, seconds):
                return None
            look = PrecisionLook(request=request, status=error.status, failure=error.failure, started_at=_now())
        if look.status is not Status.OK:
            self._workers.drop()
        self._store.add_look(look, self._environment)
        self._counts["numbers"] += 1
        return look

    def compare(self, a: Task, b: Task, plan: PairPlan, *, share: int) -> PairRecord | None:
        """Return a comparison in one process, or where both do not fit there, of processes that take turns."""
        a, b = as_side(a), as_side(b)
        record = self._stored.compare(a, b, plan, share=share)
        if record is None or was_cut_short(record):
            seconds = self._allowed(1.0 if share == 1 else 1.0 - RESERVE_SHARE)
            if seconds is None:
                return record
            self._say("duel", b.cell)
            most = min(MOST_PAIR_SECONDS, max(LEAST_PAIR_SECONDS, seconds / share))
            record = self._together(a, b, replace(plan, max_seconds=most), timeout=seconds)
        if record is not None and record.status is Status.OUT_OF_MEMORY and record.failed_side is None:
            return self._in_turns(a, b, plan, share)
        return record

    def _together(self, a: Task, b: Task, plan: PairPlan, *, timeout: float) -> PairRecord | None:
        started_at = _now()
        try:
            answer = self._workers.ready().compare(
                a, b, plan=plan, seed=a.cell.seed, timeout=timeout, on_stage=self._stage
            )
        except WorkerLostError as error:
            self._workers.drop()
            if self._was_cut(error, timeout):
                return None
            record = lost_comparison(a, b, plan, error, started_at)
        else:
            record = answer.record
            if answer.leaked_bytes or record.status is not Status.OK:
                self._workers.drop()
        record = replace(record, run_started_at=self.started_at)
        self._store.add_comparison(record, self._environment, self._environment)
        self._counts["comparisons"] += 1
        return record

    def _in_turns(self, a: Task, b: Task, plan: PairPlan, share: int) -> PairRecord | None:
        """Compare two that do not fit into one process; each turn is a process of its own."""
        seconds = self._allowed(1.0)
        if seconds is None:
            return None
        self._workers.drop()  # its context holds memory
        here = Place()
        (stored,) = compare_tasks(
            [(a, b)],
            plan=replace(plan, max_seconds=max(LEAST_PAIR_SECONDS, seconds / share)),
            places=(here, here),
            block_seconds=_BLOCK_SECONDS,
            store=self._store.folder,
            timeout=self._timeout,
            launch=self._launch_at,
        )
        return stored.record

    def _allowed(self, share: float) -> float | None:
        """Return the seconds that the next request may take; None where this share of the budget is used up."""
        if self._budget.left(share) <= 0:
            self._ran_out = True
            return None
        return min(self._timeout, self._budget.left(share))

    def _was_cut(self, error: WorkerLostError, seconds: float) -> bool:
        """Whether a worker was stopped because the budget ended: that says nothing of its candidate."""
        is_cut = error.status is Status.TIMED_OUT and seconds < self._timeout
        self._ran_out = self._ran_out or is_cut
        return is_cut

    def _say(self, what: str, cell: Cell) -> None:
        if self._observer:
            self._observer.began(what, cell)

    def _stage(self, name: str) -> None:
        if self._observer:
            self._observer.stage(name)


def lost_comparison(a: Task, b: Task, plan: PairPlan, error: WorkerLostError, started_at: str) -> PairRecord:
    """Return the record of a comparison whose worker gave no answer."""
    return PairRecord(
        pairing=Pairing.TOGETHER,
        a=empty_side(a),
        b=empty_side(b),
        plan=plan,
        seed=a.cell.seed,
        status=error.status,
        turns=(),
        failure=error.failure,
        failed_side=None,
        block_seconds=None,
        warnings=(),
        started_at=started_at,
        run_started_at=started_at,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
