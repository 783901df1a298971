"""Have the number formats of cells looked at, each in a process of its own, and what was found stored at once."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Protocol

from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.store import Store
from windtunnel.spec.cell import Cell
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.sweep.launch import OnStage, WorkerLostError, WorkerProcess


class PrecisionWorker(Protocol):
    """A process that looks at formats; tests put a fake here."""

    def describe(self, device: str) -> Environment:
        """Return the environment of `device`, or raise SpecError when it is not there."""
        ...

    def look_at_precision(self, request: PrecisionRequest, *, timeout: float, on_stage: OnStage) -> PrecisionLook:
        """Return the formats of a cell's step, or raise WorkerLostError."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


def look_at_formats(
    requests: Sequence[PrecisionRequest],
    *,
    device: str,
    store: Store,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
    launch: Callable[[], PrecisionWorker] = WorkerProcess,
) -> tuple[StoredLook[PrecisionLook], ...]:
    """Return what was found about the formats of each cell, stored before the next one begins.

    Args:
        requests: What is looked at; the device of the cells is left open.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        store: An open store.
        timeout: Seconds that one cell may take.
        on_stage: Told the cell and the name of each stage as it begins.
        launch: Starts a worker.

    Raises:
        SpecError: The device is not there.
        StoreError: The store cannot be written; what was stored before is safe.
        RunError: No worker can be started.
    """
    made: list[StoredLook[PrecisionLook]] = []
    for request in requests:
        with closing(launch()) as worker:
            environment = worker.describe(device)
            store.make()
            cell = request.cell.model_copy(update={"device": environment.device})
            own = request.model_copy(update={"cell": cell})
            look = _look(worker, own, timeout=timeout, on_stage=on_stage)
            store.add_look(look, environment)
        made.append(StoredLook(key=look.key(), look=look, environment=environment))
    return tuple(made)


def _look(
    worker: PrecisionWorker, request: PrecisionRequest, *, timeout: float, on_stage: Callable[[Cell, str], None]
) -> PrecisionLook:
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        return worker.look_at_precision(request, timeout=timeout, on_stage=lambda name: on_stage(request.cell, name))
    except WorkerLostError as error:
        return PrecisionLook(request=request, status=error.status, failure=error.failure, started_at=started_at)
