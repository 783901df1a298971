"""Have the memory ledgers of cells made, each in a process of its own, and stored at once."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import Allocations, MemoryLedger
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import Store
from windtunnel.spec.cell import Cell
from windtunnel.spec.sweep import Sweep
from windtunnel.sweep.launch import OnStage, WorkerLostError, WorkerProcess


class LedgerWorker(Protocol):
    """A process that makes ledgers; tests put a fake here."""

    def describe(self, device: str) -> Environment:
        """Return the environment of `device`, or raise SpecError when it is not there."""
        ...

    def look_at_memory(self, cell: Cell, *, snapshot: Path | None, timeout: float, on_stage: OnStage) -> MemoryLedger:
        """Return the memory ledger of a cell, or raise WorkerLostError."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


def look_at_cells(
    sweep: Sweep,
    *,
    store: Store,
    snapshot: Path | None = None,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
    launch: Callable[[], LedgerWorker] = WorkerProcess,
) -> tuple[StoredLook[MemoryLedger], ...]:
    """Return the memory ledger of every cell of `sweep`, each stored before the next cell begins.

    Counts of warm-up and samples have no effect: a ledger is of one step. A fresh process has nothing of an earlier
    cell in its memory.

    Args:
        store: An open store.
        snapshot: Where torch's own snapshot of the one cell goes; None: nowhere.
        timeout: Seconds that one cell may take.
        on_stage: Told the cell and the name of each stage as it begins.
        launch: Starts a worker.

    Raises:
        SpecError: The device is not there, or the sweep expands to no cell or too many.
        StoreError: The store cannot be written; what was stored before is safe.
        RunError: No worker can be started, or the profiler did not see what it should.
    """
    cells = cells_of(sweep)
    made: list[StoredLook[MemoryLedger]] = []
    for cell in cells:
        with closing(launch()) as worker:
            environment = worker.describe(sweep.device)
            store.make()
            own = cell.model_copy(update={"device": environment.device})
            ledger = _looked_at(worker, own, snapshot=snapshot, timeout=timeout, on_stage=on_stage)
            store.add_look(ledger, environment)
        made.append(StoredLook(key=ledger.key(), look=ledger, environment=environment))
    return tuple(made)


def cells_of(sweep: Sweep) -> Sequence[Cell]:
    """Return the cells of a sweep, each once however often and how it is to be measured; their device is left open.

    Raises:
        SpecError: The sweep expands to no cell or too many.
    """
    return list(dict.fromkeys(task.cell for task in sweep.expand("cpu")))


def _looked_at(
    worker: LedgerWorker,
    cell: Cell,
    *,
    snapshot: Path | None,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
) -> MemoryLedger:
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        return worker.look_at_memory(
            cell, snapshot=snapshot, timeout=timeout, on_stage=lambda name: on_stage(cell, name)
        )
    except WorkerLostError as error:
        return _lost_ledger(cell, error.status, error.failure, started_at)


def _lost_ledger(cell: Cell, status: Status, failure: Failure, started_at: str) -> MemoryLedger:
    """Return a ledger of nothing but its failure."""
    return MemoryLedger(
        cell=cell,
        status=status,
        failure=failure,
        started_at=started_at,
        is_watched=False,
        num_events=0,
        built=None,
        phases=(),
        allocations=Allocations(),
        labels=(),
        device=None,
    )
