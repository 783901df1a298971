"""Measure one cell and make its record, whatever happens on the way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch

from windtunnel.bench.batching import LOOK_STEPS, NOT_BATCHED, runs_needed, warn_of_batches
from windtunnel.bench.build import build_workload
from windtunnel.bench.cache import CacheFlush
from windtunnel.bench.clock import Clock, StepTimes, make_clock
from windtunnel.bench.counting import count_step
from windtunnel.bench.failing import explain_error
from windtunnel.bench.inspection import Findings, Inspection, Look, Sampled
from windtunnel.bench.loop import StepError, no_garbage_collection, run_steps, to_samples
from windtunnel.bench.memory import LEFTOVER_LIMIT_BYTES, MemoryMeter
from windtunnel.bench.memory_limit import limited_memory
from windtunnel.bench.spinning import make_attention_clock, warn_of_gaps
from windtunnel.bench.telemetry import TelemetrySampler
from windtunnel.bench.workload import Workload
from windtunnel.cost.step import cost_of
from windtunnel.errors import WindtunnelError
from windtunnel.records.record import ColdCause, Failure, Memory, Record, Samples, Status, Telemetry
from windtunnel.spec.cell import FEWEST_SAMPLES, Cell, Task
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import WORKLOADS
from windtunnel.statistics.steady import WINDOW, is_steady
from windtunnel.statistics.stopping import StoppingRule, precision_of

MAX_WARMUP_STEPS = 500
MAX_WARMUP_SECONDS = 30.0
"""What ends an automatic warm-up that finds no steady state."""

OnStage = Callable[[str], None]


def measure_cell(
    task: Task,
    *,
    process: int,
    is_first_in_process: bool,
    on_stage: OnStage,
    with_probes: bool = True,
    look: Look | None = None,
) -> tuple[Record, int]:
    """Build, warm up and sample the cell of `task`; return its record and the bytes it left on the device.

    Every failure becomes a record with its stage; the samples that were complete before it are kept.
    `on_stage` is told the name of each stage as it begins, never while a step runs. Probes come after the samples:
    of a whole model only where the device can be probed, and `look` among them.
    """
    attempt = _Attempt(task, on_stage, with_probes, look)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    status, failure = attempt.run()
    leftover = 0
    findings = attempt.findings
    if findings.is_broken:  # so may be the context: its process has to go, as after a leak
        leftover = LEFTOVER_LIMIT_BYTES[torch.device(task.cell.device).type] + 1
    elif status == Status.OK:  # after a failure the whole process goes; a broken context could not be cleaned
        with attempt.stage("clean"):
            leftover = attempt.clean()
    cost = cost_of(task.cell)
    kind = WORKLOADS[task.cell.workload]
    record = Record(
        task=task,
        status=status,
        total=kind.total,
        timed=kind.timed,
        flops=cost.flops if cost else attempt.flops,
        flops_by="formula" if cost else "counter",
        parameters=cost.parameters if cost else attempt.parameters,
        samples=attempt.samples,
        memory=attempt.memory,
        failure=failure,
        stages=attempt.stages,
        warnings=tuple(attempt.warnings),
        process=process,
        is_first_in_process=is_first_in_process,
        started_at=started_at,
        warmed_by=attempt.warmed_by,
        stopped_by=attempt.stopped_by,
        began_nanoseconds=attempt.began,
        warmup_began_nanoseconds=attempt.warmup_began,
        telemetry=attempt.telemetry,
        probes=findings.probes,
        cold_causes=attempt.cold_causes | findings.cold_causes,
        calls_per_sample=attempt.runs,
        phase_memory=findings.phase_memory,
        kernels=findings.kernels,
        errors=findings.errors,
    )
    return record, leftover


@dataclass
class _Attempt:
    """The state of one attempt, so that what was reached before a failure is still there after it."""

    task: Task
    on_stage: OnStage
    with_probes: bool
    look: Look | None
    stages: dict[str, float] = field(default_factory=dict)
    samples: tuple[Samples, ...] = ()
    memory: Memory | None = None
    warnings: list[str] = field(default_factory=list)
    warmed_by: str | None = None
    stopped_by: str | None = None
    began: tuple[int, ...] = ()
    warmup_began: tuple[int, ...] = ()
    telemetry: Telemetry | None = None
    cold_causes: dict[str, float] = field(default_factory=dict)
    runs: int = 1
    parameters: int | None = None
    flops: Mapping[str, int] = field(default_factory=dict[str, int])
    findings: Findings = field(default_factory=Findings)
    _flush: CacheFlush | None = None
    _meter: MemoryMeter | None = None
    _is_compiled: bool = False
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
            with limited_memory(torch.device(self.task.cell.device), self.task.plan.memory_limit_bytes):
                return self._explained()
        except WindtunnelError as error:  # the limit cannot be set here
            return explain_error(error, stage="start", phase=None, device=self.task.cell.device)

    def _explained(self) -> tuple[Status, Failure | None]:
        """Measure, and explain an error while the limit holds under which it came."""
        try:
            return self._measure()
        except StepError as error:
            assert error.__cause__ is not None
            return explain_error(error.__cause__, stage=self._stage, phase=error.phase, device=self.task.cell.device)
        except Exception as error:  # noqa: BLE001  # the child's top: whatever it was, the sweep goes on
            return explain_error(error, stage=self._stage, phase=None, device=self.task.cell.device)

    def clean(self) -> int:
        """Free the cell and return how many bytes it left behind."""
        if self._is_compiled:
            torch.compiler.reset()  # compiled code holds the memory of its CUDA graphs
        return self._meter.leftover() if self._meter else 0

    def _measure(self) -> tuple[Status, Failure | None]:
        cell, plan = self.task.cell, self.task.plan
        device = torch.device(cell.device)
        with self.stage("build"):
            if device.type == "cuda":
                self._open(device)
            self._meter = MemoryMeter(device)
            workload = build_workload(cell)
            self.parameters = workload.parameters
            self._is_compiled = workload.is_compiled
            if plan.cache == "cold":
                self._flush = CacheFlush(device)
                self._meter.set_apart(self._flush.num_bytes)
            clock = self._make_clock(workload, device)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        watch = None
        if workload.is_compiled:
            from windtunnel.bench.compiling import CompileWatch  # here: importing Dynamo takes seconds

            with self.stage("compile"):
                watch = CompileWatch()
                run_steps(workload, clock, 1)
                clock.read()
                watch.check_compiled()
                self.cold_causes[ColdCause.COMPILE] = watch.seconds()
        workload.reset()
        self._meter.mark_built()
        self._sample(workload, clock, watch.graphs if watch else lambda: 0)
        if self._flush:
            self._flush.free()
        if watch:
            self.warnings += watch.warnings()
        if plan.purpose == "fit":
            return Status.OK, None  # a look at the numbers takes memory that the step does not
        fault = workload.fault()
        if fault:
            count = len(self.samples[0].nanoseconds)
            return Status.BAD_NUMERICS, Failure(stage="measure", message=f"{fault} after {count} timed steps")
        if self.with_probes:
            self._inspect(workload, clock)
            if isinstance(cell.model, OwnModel):
                self._count_step(cell)
        return Status.OK, None

    def _count_step(self, cell: Cell) -> None:
        """Count what no formula knows; after the samples, as it takes the host's time."""
        with self.stage("probe"):
            counted = count_step(cell)
        self.flops = counted.flops
        if counted.warning:
            self.warnings.append(counted.warning)

    def _make_clock(self, workload: Workload, device: torch.device) -> Clock:
        """Return the clock of the cell, for as many steps as are run between two looks at it."""
        plan = self.task.plan
        at_once = (WINDOW if plan.warmup == "auto" else plan.warmup, 1 if plan.target else plan.steps)
        num_phases, num_steps = len(workload.phases), max(at_once)
        if not self.task.cell.is_attention:
            return make_clock(device, num_phases=num_phases, num_steps=num_steps)
        return make_attention_clock(
            device, num_phases=num_phases, num_steps=num_steps, runs=self.runs, flush=self._flush
        )

    def _open(self, device: torch.device) -> None:
        """Make the device the current one; where this process has not used it yet, time what its context takes."""
        is_new = not torch.cuda.is_initialized()
        begin = time.perf_counter()
        torch.cuda.set_device(device)
        torch.cuda.init()
        torch.cuda.synchronize(device)
        if is_new:
            self.cold_causes[ColdCause.CONTEXT] = time.perf_counter() - begin

    def _inspect(self, workload: Workload, clock: Clock) -> None:
        """Look after the samples for what they cannot show, where there is anything."""
        assert self._meter is not None
        sampled = Sampled(
            task=self.task,
            workload=workload,
            clock=clock,
            meter=self._meter,
            samples=self.samples,
            spent_seconds=self.stages["warmup"] + self.stages["measure"],
        )
        inspection = Inspection(sampled, self.look, self.findings)
        if not inspection.passes():
            return
        if workload.repeat:
            workload.repeat(1)
        with self.stage("probe"):
            inspection.run()
        self.warnings += self.findings.warnings

    def _sample(self, workload: Workload, clock: Clock, graphs: Callable[[], int]) -> None:
        warmup: list[StepTimes] = []
        timed: list[StepTimes] = []
        plan = self.task.plan
        sampler = TelemetrySampler(torch.device(self.task.cell.device))
        sampler.start()
        try:
            with self.stage("warmup"):
                if self.task.cell.is_attention and plan.purpose == "time":  # phases in a row would hold more memory
                    clock = self._begin_warmup(workload, clock, warmup)
                if plan.warmup == "auto":
                    self.warmed_by = self._warm_up(workload, clock, warmup, graphs)
                else:
                    _take(workload, clock, plan.warmup - len(warmup), warmup)
            with self.stage("measure"):
                if plan.target is None:
                    _take(workload, clock, plan.steps, timed)
                else:
                    self.stopped_by = self._sample_to_target(workload, clock, timed, plan.target)
        finally:
            assert self._meter is not None
            self._note_telemetry(sampler, warmup, timed)
            self.memory = self.memory or self._meter.read()
            self.warnings += (*self._meter.warnings(), *warn_of_gaps(timed))
            self.samples = to_samples(workload, warmup=warmup, timed=timed)

    def _begin_warmup(self, workload: Workload, clock: Clock, into: list[StepTimes]) -> Clock:
        """Run the first steps, and run phases that are too short several times in a row from then on."""
        assert self._meter is not None
        plan, device = self.task.plan, torch.device(self.task.cell.device)
        _take(workload, clock, LOOK_STEPS if plan.warmup == "auto" else min(LOOK_STEPS, plan.warmup), into)
        runs = runs_needed(into)
        if runs == 1:
            return clock
        if workload.repeat is None:
            self.warnings.append(NOT_BATCHED)
            return clock
        self.runs = runs
        workload.repeat(runs)
        into.clear()  # a single run is another quantity: the warm-up begins anew
        if plan.cache == "cold":
            self.warnings.append(warn_of_batches(runs))
        self.memory = self._meter.read()  # of single runs: those in a row keep what each has for backward
        return self._make_clock(workload, device)

    def _note_telemetry(self, sampler: TelemetrySampler, warmup: list[StepTimes], timed: list[StepTimes]) -> None:
        """Keep what the sensors said and when each step began, both in time since the first step of all."""
        first = next((step.began for step in (*warmup, *timed)), None)
        self.telemetry = sampler.stop(first)
        self.warnings += sampler.warnings()
        if first is not None:
            self.began = tuple(step.began - first for step in timed)
            self.warmup_began = tuple(step.began - first for step in warmup)

    def _warm_up(self, workload: Workload, clock: Clock, into: list[StepTimes], graphs: Callable[[], int]) -> str:
        """Run windows of steps until two agree and nothing grows any more; return what ended it."""
        assert self._meter is not None
        deadline = time.perf_counter() + MAX_WARMUP_SECONDS
        state = None
        while True:
            before, state = state, (self._meter.settled_bytes(), graphs())
            _take(workload, clock, WINDOW, into)
            if state == before and is_steady(_totals(into)):
                return "steady"
            if len(into) >= MAX_WARMUP_STEPS or time.perf_counter() > deadline:
                self.warnings.append(f"the steps were not steady after {len(into)} warm-up steps, where warm-up ends")
                return "cap"

    def _sample_to_target(self, workload: Workload, clock: Clock, into: list[StepTimes], target: float) -> str:
        """Take samples one by one until the rule says stop; return its reason."""
        plan = self.task.plan
        rule = StoppingRule(
            target=target,
            min_samples=min(FEWEST_SAMPLES, plan.max_samples),
            max_samples=plan.max_samples,
            max_seconds=plan.max_seconds,
        )
        begin = time.perf_counter()
        with no_garbage_collection():
            while True:
                _take(workload, clock, 1, into)
                spent = time.perf_counter() - begin
                stop = rule.check(len(into), spent, lambda: precision_of(_totals(into)))
                if stop:
                    return stop.reason.value


def _take(workload: Workload, clock: Clock, count: int, into: list[StepTimes]) -> None:
    """Run `count` steps and add their times; those that were complete before an error are added too."""
    try:
        run_steps(workload, clock, count)
    except StepError:
        with suppress(RuntimeError):  # an error that broke CUDA is in its events too, and must not hide the first
            into.extend(clock.read())
        raise
    into.extend(clock.read())


def _totals(steps: Sequence[StepTimes]) -> list[int]:
    return [step.whole for step in steps]
