"""The child's part of a profile: build a cell, watch some steps of it, and keep what was seen, whatever happens."""

import tempfile
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
from windtunnel.probe.profile import Steps, Watching, export_trace, watch_instruments
from windtunnel.records.chrome_trace import read_chrome_trace
from windtunnel.records.profile import Profile, Unit
from windtunnel.records.record import Failure, Status
from windtunnel.records.trace import Trace
from windtunnel.records.trace_profile import Columns, columns_of, with_columns
from windtunnel.spec.cell import Cell

OnStage = Callable[[str], None]

_WARMUP, _LEAST_WARMUP = 5, 3
"""Steps before any is looked at: libraries are loaded, the allocator has grown, CUDA graphs are recorded."""
_WARMUP_SECONDS = 5.0
"""From then on the least is enough."""

NO_PARTS = (
    "the model is compiled as a whole: parts, and the kernels of single operations, cannot be told apart; phases and "
    "kinds can"
)


def look_at_profile(cell: Cell, *, steps: int, trace: Path | None, on_stage: OnStage) -> Profile:
    """Build `cell`, and return the profile of `steps` steps beside what watching them costs.

    Args:
        cell: A step of a model, on a device that is there.
        steps: How many are profiled.
        trace: Where the trace is written to, compressed by gzip; None: nowhere that stays.
        on_stage: Told the name of each stage as it begins.
    """
    attempt = _Attempt(cell, on_stage)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    status, failure = attempt.run(steps, trace)
    return attempt.profile(status, failure, started_at, trace)


def steps_of(workload: Workload, cell: Cell) -> Steps:
    """Return what is profiled of a cell.

    Raises:
        UnsupportedError: It is no step of a model.
    """
    if workload.model is None:
        raise UnsupportedError(
            f"workload {cell.workload!r} has no profile; those of whole models have: forward, forward_backward, "
            "train_step"
        )
    return Steps(
        phases=[(phase.name, phase.run) for phase in workload.phases],
        reset=workload.reset,
        device=torch.device(cell.device),
        model=None if cell.compile != "off" else workload.model,
    )


def warm_up(steps: Steps) -> None:
    """Run steps that nobody looks at."""
    begin = time.perf_counter()
    for done in range(_WARMUP):
        if done >= _LEAST_WARMUP and time.perf_counter() - begin > _WARMUP_SECONDS:
            return
        steps.run()


@dataclass
class _Attempt:
    """How far one look has come."""

    cell: Cell
    on_stage: OnStage
    stages: dict[str, float] = field(default_factory=dict)
    watching: Watching | None = None
    columns: Columns | None = None
    warnings: list[str] = field(default_factory=list)
    _stage: str = "start"

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

    def run(self, count: int, path: Path | None) -> tuple[Status, Failure | None]:
        """Build, watch and profile, and turn any error into the status of the profile."""
        try:
            self._run(count, path)
        except Exception as error:  # noqa: BLE001  # the child's top: the failure is what is wanted then
            return explain_error(error, stage=self._stage, phase=None, device=self.cell.device)
        return Status.OK, None

    def _run(self, count: int, path: Path | None) -> None:
        with self.stage("build"):
            steps = steps_of(build_workload(self.cell), self.cell)
        if steps.model is None:
            self.warnings.append(NO_PARTS)
        with self.stage("warmup"):
            warm_up(steps)
        with self.stage("instruments"):
            self.watching = watch_instruments(steps, seed=self.cell.seed)
        if self.watching.left_out:
            self.warnings.append(f"a step is long: what {', '.join(self.watching.left_out)} cost was not measured")
        with tempfile.TemporaryDirectory() as folder:
            file = path or Path(folder) / "trace.json.gz"
            with self.stage("profile"):
                export_trace(steps, count, file)
            with self.stage("attribute"):
                self.columns = columns_of(self._read(file))

    def _read(self, path: Path) -> Trace:
        trace = read_chrome_trace(path)
        self.warnings += trace.warnings
        return trace

    def profile(self, status: Status, failure: Failure | None, started_at: str, trace: Path | None) -> Profile:
        """Put together what was seen."""
        watching = self.watching
        is_cuda = self.cell.device != "cpu"
        profile = Profile(
            cell=self.cell,
            source=f"torch.profiler of torch {torch.__version__}",
            status=status,
            failure=failure,
            started_at=started_at,
            instruments=watching.instruments if watching else (),
            stopwatch=watching.stopwatch if watching else (),
            stopwatch_phases=watching.phases if watching else {},
            warnings=tuple(self.warnings),
            stages=self.stages,
            trace=trace.name if trace and self.columns else None,
            unit=Unit.KERNELS if is_cuda else Unit.OPERATORS,
        )
        return with_columns(profile, self.columns) if self.columns else profile
