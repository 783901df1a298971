"""Measure one cell and make its record, whatever happens on the way."""

import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
import torch

from windtunnel import units
from windtunnel.bench.clock import Clock, StepTimes, make_clock
from windtunnel.bench.loop import StepError, run_steps, to_samples
from windtunnel.bench.memory import MemoryMeter
from windtunnel.bench.workload import Workload, build_workload
from windtunnel.cost.step import cost_of
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.records.record import Failure, Memory, Record, Samples, Status
from windtunnel.spec.cell import Task
from windtunnel.spec.tables import WORKLOADS

OnStage = Callable[[str], None]


def measure_cell(task: Task, *, process: int, is_first_in_process: bool, on_stage: OnStage) -> tuple[Record, int]:
    """Build, warm up and sample the cell of `task`; return its record and the bytes it left on the device.

    Every failure becomes a record with its stage; the samples that were complete before it are kept.
    `on_stage` is told the name of each stage as it begins, never while a step runs.
    """
    attempt = _Attempt(task, on_stage)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    status, failure = attempt.run()
    leftover = 0
    if status == Status.OK:  # after a failure the whole process goes; a broken context could not be cleaned
        with attempt.stage("clean"):
            leftover = attempt.clean()
    cost = cost_of(task.cell)
    kind = WORKLOADS[task.cell.workload]
    record = Record(
        task=task,
        status=status,
        total=kind.total,
        timed=kind.timed,
        flops=cost.flops,
        parameters=cost.parameters,
        samples=attempt.samples,
        memory=attempt.memory,
        failure=failure,
        stages=attempt.stages,
        warnings=tuple(attempt.warnings),
        process=process,
        is_first_in_process=is_first_in_process,
        started_at=started_at,
    )
    return record, leftover


@dataclass
class _Attempt:
    """The state of one attempt, so that what was reached before a failure is still there after it."""

    task: Task
    on_stage: OnStage
    stages: dict[str, float] = field(default_factory=dict)
    samples: tuple[Samples, ...] = ()
    memory: Memory | None = None
    warnings: list[str] = field(default_factory=list)
    _meter: MemoryMeter | None = None
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

    def run(self) -> tuple[Status, Failure | None]:
        """Measure, and turn any error into the status of the row."""
        try:
            return self._measure()
        except StepError as error:
            assert error.__cause__ is not None
            return self._explain(error.__cause__, phase=error.phase)
        except Exception as error:  # noqa: BLE001  # the child's top: whatever it was, the sweep goes on
            return self._explain(error, phase=None)

    def clean(self) -> int:
        """Free the cell and return how many bytes it left behind."""
        if self.task.cell.compile != "off":
            torch.compiler.reset()  # compiled code holds the memory of its CUDA graphs
        return self._meter.leftover() if self._meter else 0

    def _measure(self) -> tuple[Status, Failure | None]:
        cell, plan = self.task.cell, self.task.plan
        device = torch.device(cell.device)
        with self.stage("build"):
            if device.type == "cuda":
                torch.cuda.set_device(device)
            self._meter = MemoryMeter(device)
            workload = build_workload(cell)
            clock = make_clock(device, num_phases=len(workload.phases), num_steps=max(plan.warmup, plan.steps))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        watch = None
        if cell.compile != "off":
            from windtunnel.bench.compiling import CompileWatch  # here: importing Dynamo takes seconds

            with self.stage("compile"):
                watch = CompileWatch()
                run_steps(workload, clock, 1)
                clock.read()
                watch.check_compiled()
        workload.reset()
        self._meter.mark_built()
        self._sample(workload, clock)
        if watch and (recompiled := watch.recompiled()):
            self.warnings.append(f"torch.compile made {recompiled} more graphs after its own stage: times hold them")
        fault = workload.fault()
        if fault:
            return Status.BAD_NUMERICS, Failure(stage="measure", message=f"{fault} after {plan.steps} timed steps")
        return Status.OK, None

    def _sample(self, workload: Workload, clock: Clock) -> None:
        warmup: tuple[StepTimes, ...] = ()
        timed: tuple[StepTimes, ...] = ()
        try:
            with self.stage("warmup"):
                run_steps(workload, clock, self.task.plan.warmup)
                warmup = clock.read()
            with self.stage("measure"):
                run_steps(workload, clock, self.task.plan.steps)
                timed = clock.read()
        except StepError:
            with suppress(RuntimeError):  # an error that broke CUDA is in its events too, and must not hide the first
                if self._stage == "measure":
                    timed = clock.read()  # the steps that were complete before the error
                else:
                    warmup = clock.read()
            raise
        finally:
            assert self._meter is not None
            self.memory = self._meter.read()
            self.samples = to_samples(workload, warmup=warmup, timed=timed)

    def _explain(self, error: BaseException, *, phase: str | None) -> tuple[Status, Failure]:
        text = _printable(str(error))
        # torch's CPU allocator has no exception of its own.
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in text:
            on_cuda = self.task.cell.device.startswith("cuda")
            free = _size_in(text, r"of which ([\d.]+ \w+) is free") if on_cuda else psutil.virtual_memory().available
            requested = _size_in(text, r"[Tt]ried to allocate ([\d.]+ \w+)")
            failure = Failure(
                stage=self._stage,
                phase=phase,
                message=f"{units.memory(requested)} asked for, {units.memory(free)} free" if requested else text,
                requested_bytes=requested,
                free_bytes=free,
                details=text,
            )
            return Status.OUT_OF_MEMORY, failure
        if isinstance(error, UnsupportedError | SpecError):
            return Status.UNSUPPORTED, Failure(stage=self._stage, phase=phase, message=text)
        return Status.FAILED, Failure(
            stage=self._stage,
            phase=phase,
            message=f"{type(error).__name__}: {text}",
            details=_printable("".join(traceback.format_exception(error))),
        )


def _printable(text: str) -> str:
    """Return the text with lone surrogates written out: JSON and SQLite cannot hold them."""
    return text.encode(errors="backslashreplace").decode()


_SIZE_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _size_in(text: str, pattern: str) -> int | None:
    """Read a size out of an allocator's message, its only source; None where the wording is another."""
    found = re.search(pattern, text)
    if not found:
        return None
    number, unit = found.group(1).split()
    return round(float(number) * _SIZE_UNITS[unit]) if unit in _SIZE_UNITS else None
