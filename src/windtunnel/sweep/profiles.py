"""Have the profiles of cells made, each in a process of its own, and stored at once."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.profile import Profile, Unit
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import Store
from windtunnel.spec.cell import Cell
from windtunnel.sweep.launch import OnStage, WorkerLostError, WorkerProcess


class ProfileWorker(Protocol):
    """A process that makes profiles; tests put a fake here."""

    def describe(self, device: str) -> Environment:
        """Return the environment of `device`, or raise SpecError when it is not there."""
        ...

    def look_at_profile(
        self, cell: Cell, *, steps: int, trace: Path | None, timeout: float, on_stage: OnStage
    ) -> Profile:
        """Return the profile of a cell, or raise WorkerLostError."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


def profile_cells(
    cells: Sequence[Cell],
    *,
    device: str,
    store: Store,
    steps: int,
    trace: Path | None = None,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
    launch: Callable[[], ProfileWorker] = WorkerProcess,
) -> tuple[StoredLook[Profile], ...]:
    """Return the profile of each of `cells`, each stored before the next begins; a failure is a profile, too.

    Args:
        cells: What is profiled, whatever device they name.
        device: Where.
        store: An open store.
        steps: How many steps of each are profiled.
        trace: Where the trace of the one cell goes; None: nowhere that stays.
        timeout: Seconds that one cell may take.
        on_stage: Told the cell and the name of each stage as it begins.
        launch: Starts a worker.

    Raises:
        SpecError: The device is not there.
        StoreError: The store cannot be written; what was stored before is safe.
        RunError: No worker can be started.
    """
    made: list[StoredLook[Profile]] = []
    for cell in cells:
        with closing(launch()) as worker:
            environment = worker.describe(device)
            store.make()
            own = cell.model_copy(update={"device": environment.device})
            profile = _profiled(worker, own, steps=steps, trace=trace, timeout=timeout, on_stage=on_stage)
            made.append(keep_profile(profile, environment, store))
    return tuple(made)


def keep_profile(profile: Profile, environment: Environment, store: Store) -> StoredLook[Profile]:
    """Store a profile, and return it as a report reads it."""
    store.add_look(profile, environment)
    calibration = store.calibration(environment.machine())
    return StoredLook(key=profile.key(), look=profile, environment=environment, calibration=calibration)


def _profiled(
    worker: ProfileWorker,
    cell: Cell,
    *,
    steps: int,
    trace: Path | None,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
) -> Profile:
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        return worker.look_at_profile(
            cell, steps=steps, trace=trace, timeout=timeout, on_stage=lambda name: on_stage(cell, name)
        )
    except WorkerLostError as error:
        return failed_profile(cell, error.status, error.failure, started_at)


def failed_profile(cell: Cell, status: Status, failure: Failure, started_at: str) -> Profile:
    """Return a profile of nothing but its failure."""
    return Profile(
        cell=cell,
        source="no profiler",
        unit=Unit.OPERATORS if cell.device == "cpu" else Unit.KERNELS,
        status=status,
        failure=failure,
        started_at=started_at,
    )
