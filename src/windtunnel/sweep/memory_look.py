"""The child's part of a memory ledger: build a cell, run it, and keep what was seen, whatever happens on the way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from windtunnel.bench.build import build_workload
from windtunnel.bench.failing import explain_error
from windtunnel.bench.workload import Workload
from windtunnel.errors import UnsupportedError
from windtunnel.probe.memory import Found, MemoryLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Cell

OnStage = Callable[[str], None]

_STEPS_BEFORE = {False: 1, True: 3}
"""Steps before the one that counts, by whether it is compiled: optimizer states are made in the first one, and CUDA
graphs are recorded in the first two after compiling."""


def look_at_memory(cell: Cell, *, snapshot: Path | None, on_stage: OnStage) -> MemoryLedger:
    """Build `cell` and run some steps of it under a look; return the ledger of the last one.

    The step that fails is the last one, and its ledger ends where it failed. Nothing here is timed: watching costs more
    than most operations.

    Args:
        snapshot: Where torch's own snapshot is written, for the public viewer; None: nowhere.
        on_stage: Told the name of each stage as it begins.
    """
    attempt = _Attempt(cell, on_stage)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    look = MemoryLook(torch.device(cell.device), context_length=cell.context_length)
    with look:
        status, failure = attempt.run(look)
        with attempt.stage("attribute"):
            found = look.finish(snapshot)
    return _ledger(cell, found, attempt, status, failure, started_at)


@dataclass
class _Attempt:
    """How far one look has come."""

    cell: Cell
    on_stage: OnStage
    stages: dict[str, float] = field(default_factory=dict)
    _stage: str = "start"
    _phase: str | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name what is being done, and add its wall time."""
        self._stage = name
        self.on_stage(name)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begin

    def run(self, look: MemoryLook) -> tuple[Status, Failure | None]:
        """Build and run, and turn any error into the status of the ledger."""
        try:
            self._run(look)
        except Exception as error:  # noqa: BLE001  # the child's top: the ledger up to here is what is wanted
            return explain_error(error, stage=self._stage, phase=self._phase, device=self.cell.device)
        return Status.OK, None

    def _run(self, look: MemoryLook) -> None:
        with self.stage("build"):
            workload = build_workload(self.cell)
            if workload.model is None or workload.held is None:
                raise UnsupportedError(
                    f"workload {self.cell.workload!r} has no memory ledger; those of whole models have: forward, "
                    "forward_backward, train_step"
                )
            look.mark_built(workload.model, workload.held)
            if workload.is_compiled:
                look.stop_watching()
        with self.stage("warmup"):
            for _ in range(_STEPS_BEFORE[workload.is_compiled]):
                self._step(look, workload)
        with self.stage("look"):
            self._step(look, workload)
            look.end_step(workload.reset)

    def _step(self, look: MemoryLook, workload: Workload) -> None:
        workload.reset()
        look.begin_step()
        for phase in workload.phases:
            self._phase = phase.name
            with look.phase(phase.name):
                phase.run()
        self._phase = None


def _ledger(
    cell: Cell,
    found: Found,
    attempt: _Attempt,
    status: Status,
    failure: Failure | None,
    started_at: str,
) -> MemoryLedger:
    attributed = found.attributed
    return MemoryLedger(
        cell=cell,
        status=status,
        failure=failure,
        started_at=started_at,
        is_watched=found.is_watched,
        num_events=found.num_events,
        built=attributed.built,
        phases=attributed.phases,
        allocations=attributed.allocations,
        labels=attributed.labels,
        device=found.device,
        warnings=found.warnings,
        stages=attempt.stages,
        snapshot=found.snapshot,
    )
