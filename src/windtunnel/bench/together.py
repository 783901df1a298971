"""Compare two cells in one process: build both, warm up both, then take pairs of steps in drawn order."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from windtunnel.bench.batching import LOOK_STEPS, NOT_BATCHED, runs_needed, warn_of_batches
from windtunnel.bench.build import build_workload
from windtunnel.bench.cache import CacheFlush
from windtunnel.bench.cell import MAX_WARMUP_SECONDS, MAX_WARMUP_STEPS
from windtunnel.bench.clock import Clock, StepTimes, make_clock
from windtunnel.bench.failing import explain_error
from windtunnel.bench.loop import StepError, no_garbage_collection, run_steps, to_samples
from windtunnel.bench.memory import MemoryMeter
from windtunnel.bench.spinning import make_attention_clock, warn_of_gaps
from windtunnel.bench.workload import Workload
from windtunnel.records.pair import Pairing, PairRecord, PairSide
from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Task
from windtunnel.spec.tables import WORKLOADS
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import (
    Differences,
    PairPlan,
    Turn,
    differences,
    draw_samples,
    take_pairs,
)
from windtunnel.statistics.steady import WINDOW, is_steady

if TYPE_CHECKING:
    from windtunnel.bench.compiling import CompileWatch

OnStage = Callable[[str], None]


def compare_cells(a: Task, b: Task, *, plan: PairPlan, seed: int, on_stage: OnStage) -> tuple[PairRecord, int]:
    """Measure `b` against `a` in pairs of whole steps; return the record and the bytes left on the device.

    Both stay built, with gradients and the state of their optimizers, and run by the loop and the clocks of ordinary
    cells. Every failure becomes a record with its stage and side; the pairs that were complete before it are kept.
    """
    attempt = _Attempt(plan, {Side.A: _Half(a), Side.B: _Half(b)}, seed, on_stage)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    status, failure = attempt.run()
    record = PairRecord(
        pairing=Pairing.TOGETHER,
        a=attempt.halves[Side.A].pair_side(),
        b=attempt.halves[Side.B].pair_side(),
        plan=plan,
        seed=seed,
        status=status,
        turns=tuple(attempt.turns),
        failure=failure,
        failed_side=attempt.side if failure else None,
        block_seconds=None,
        calls_per_sample=attempt.runs,
        warnings=tuple(attempt.warnings),
        started_at=started_at,
        run_started_at=started_at,
    )
    # After a failure the whole process goes; a broken context could not be cleaned.
    return record, attempt.clean() if status == Status.OK else 0


@dataclass
class _Half:
    """One of the two cells, once it is built, and its steps so far."""

    task: Task
    workload: Workload | None = None
    clock: Clock | None = None
    flush: CacheFlush | None = None
    warmup: list[StepTimes] = field(default_factory=list)
    timed: list[StepTimes] = field(default_factory=list)

    def build(self, device: torch.device) -> None:
        """Build the cell, and the clock for one step at a time."""
        self.workload = build_workload(self.task.cell)
        if self.task.plan.cache == "cold":
            self.flush = CacheFlush(device)
        self.clock = self._make_clock(device, runs=1)

    def repeat(self, device: torch.device, runs: int) -> None:
        """Run each phase so often in a row from the next step on, and forget the steps so far."""
        assert self.workload is not None
        assert self.workload.repeat is not None
        self.workload.repeat(runs)
        self.warmup.clear()  # a single run is another quantity: the warm-up begins anew
        self.clock = self._make_clock(device, runs=runs)

    def free(self) -> None:
        """Give up what was built."""
        self.workload = self.clock = self.flush = None

    def _make_clock(self, device: torch.device, *, runs: int) -> Clock:
        assert self.workload is not None
        num_phases = len(self.workload.phases)
        if not self.task.cell.is_attention:
            return make_clock(device, num_phases=num_phases, num_steps=1)
        return make_attention_clock(device, num_phases=num_phases, num_steps=1, runs=runs, flush=self.flush)

    @property
    def is_compiled(self) -> bool:
        """Whether there is something in it that is compiled in its first step."""
        return self.workload is not None and self.workload.is_compiled

    def step(self) -> StepTimes:
        """Run one step and return its times."""
        assert self.workload is not None
        assert self.clock is not None
        run_steps(self.workload, self.clock, 1)
        (times,) = self.clock.read()
        return times

    def pair_side(self) -> PairSide:
        """Return what the record says of this side."""
        samples = to_samples(self.workload, warmup=self.warmup, timed=self.timed) if self.workload else ()
        return PairSide(
            task=self.task,
            total=WORKLOADS[self.task.cell.workload].total,
            samples=samples,
            steps=(1,) * len(self.timed),
            warmup_steps=(len(self.warmup),),
        )


@dataclass
class _Attempt:
    """The state of one attempt, so that what was reached before a failure is still there after it."""

    plan: PairPlan
    halves: dict[Side, _Half]
    seed: int
    on_stage: OnStage
    turns: list[Turn] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    runs: int = 1
    side: Side | None = None
    """Whose code runs now; None while it is both sides' matter."""
    _meter: MemoryMeter | None = None
    _stage: str = "start"

    def run(self) -> tuple[Status, Failure | None]:
        """Measure, and turn any error into the status of the comparison."""
        device = self.halves[Side.A].task.cell.device
        try:
            return self._measure(torch.device(device))
        except StepError as error:
            assert error.__cause__ is not None
            explained = explain_error(error.__cause__, stage=self._stage, phase=error.phase, device=device)
        except Exception as error:  # noqa: BLE001  # the child's top: whatever it was, the grid goes on
            explained = explain_error(error, stage=self._stage, phase=None, device=device)
        status, failure = explained
        return (status, self._not_together(failure)) if status is Status.OUT_OF_MEMORY else explained

    def clean(self) -> int:
        """Free both cells and return how many bytes they left behind."""
        self.on_stage("clean")
        is_compiled = self._compiled()
        for half in self.halves.values():
            half.free()
        if is_compiled:
            torch.compiler.reset()  # compiled code holds the memory of its CUDA graphs
        return self._meter.leftover() if self._meter else 0

    def _measure(self, device: torch.device) -> tuple[Status, Failure | None]:
        self._begin("build")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._meter = MemoryMeter(device)
        for half in self._each():
            half.build(device)
        watch = self._compile()
        with no_garbage_collection():
            self._begin("warmup")
            self._batch(device)
            self._warm_up(watch)
            self._begin("measure")
            self._take_pairs()
        if watch:
            self.warnings += watch.warnings()
        for side, half in self.halves.items():
            self.warnings += (f"{side.upper()}: {warning}" for warning in warn_of_gaps(half.timed))
        for half in self._each():
            half.step()  # compiled steps of the other side may have overwritten what this one left
            assert half.workload is not None
            if fault := half.workload.fault():
                message = f"{fault} after {len(half.timed)} timed steps"
                return Status.BAD_NUMERICS, Failure(stage=self._stage, message=message)
        return Status.OK, None

    def _compile(self) -> "CompileWatch | None":
        """Compile the sides that ask for it after one reset: a second one would throw away the first side's code."""
        if not self._compiled():
            return None
        from windtunnel.bench.compiling import CompileWatch  # here: importing Dynamo takes seconds

        self._begin("compile")
        watch = CompileWatch()
        for half in self._each():
            if half.is_compiled:
                half.step()
                watch.check_compiled()
        return watch

    def _batch(self, device: torch.device) -> None:
        """Take the first steps of attention alone, and run phases that are too short several times in a row.

        Both sides run theirs equally often: a cache that is warm from the run before must be so on both.
        """
        halves = tuple(self.halves.values())
        if not all(half.task.cell.is_attention for half in halves):
            return
        for half in self._each():
            wanted = half.task.plan.warmup
            for _ in range(LOOK_STEPS if wanted == "auto" else min(LOOK_STEPS, wanted)):
                half.warmup.append(half.step())
        runs = max(runs_needed(half.warmup) for half in halves)
        if runs == 1:
            return
        if any(half.workload is None or half.workload.repeat is None for half in halves):
            self.warnings.append(NOT_BATCHED)
            return
        self.runs = runs
        for half in self._each():
            half.repeat(device, runs)
        if any(half.task.plan.cache == "cold" for half in halves):
            self.warnings.append(warn_of_batches(runs))

    def _warm_up(self, watch: "CompileWatch | None") -> None:
        """Warm up both sides in turn: exact counts one by one, automatic ones by windows until nothing changes."""
        assert self._meter is not None
        deadline = time.perf_counter() + MAX_WARMUP_SECONDS
        state = None
        cold = [side for side in Side if self._wants_more(self.halves[side])]
        while cold:
            before, state = state, (self._meter.settled_bytes(), watch.graphs() if watch else 0)
            for side in cold:
                half = self.halves[side]
                with self._of(side):
                    for _ in range(WINDOW if half.task.plan.warmup == "auto" else 1):
                        half.warmup.append(half.step())
            is_late = time.perf_counter() > deadline
            cold = [side for side in cold if not self._is_warm(side, has_settled=state == before, is_late=is_late)]

    def _wants_more(self, half: _Half) -> bool:
        """Whether the warm-up of a side is not over with the steps that `_batch` took."""
        wanted = half.task.plan.warmup
        return wanted == "auto" or not half.warmup or len(half.warmup) < wanted

    def _is_warm(self, side: Side, *, has_settled: bool, is_late: bool) -> bool:
        half = self.halves[side]
        wanted, num_steps = half.task.plan.warmup, len(half.warmup)
        if wanted != "auto":
            return num_steps >= wanted
        if has_settled and is_steady([step.whole for step in half.warmup]):
            return True
        if num_steps < MAX_WARMUP_STEPS and not is_late:
            return False
        self.warnings.append(
            f"the steps of {side.upper()} were not steady after {num_steps} warm-up steps, where warm-up ends"
        )
        return True

    def _take_pairs(self) -> None:
        begin = time.perf_counter()

        def take(block: tuple[Turn, ...]) -> None:
            for turn in block:
                half = self.halves[turn.side]
                with self._of(turn.side):
                    half.timed.append(half.step())
                self.turns.append(turn)

        def read() -> Differences:
            times = {side: (step.whole for step in half.timed) for side, half in self.halves.items()}
            return differences(self.turns, [max(1, next(times[turn.side])) for turn in self.turns])

        taken = take_pairs(
            self.plan,
            seed=self.seed,
            draw=draw_samples,
            take=take,
            read=read,
            elapsed=lambda: time.perf_counter() - begin,
        )
        self.warnings += taken.warnings

    def _compiled(self) -> bool:
        return any(half.is_compiled for half in self.halves.values())

    def _begin(self, stage: str) -> None:
        self._stage = stage
        self.on_stage(stage)

    def _each(self) -> Iterator[_Half]:
        """Yield both halves, each while it is the one whose code runs."""
        for side, half in self.halves.items():
            with self._of(side):
                yield half

    @contextmanager
    def _of(self, side: Side) -> Iterator[None]:
        """Name the side whose code runs; after an error the name stays."""
        self.side = side
        yield
        self.side = None

    def _not_together(self, failure: Failure) -> Failure:
        """Say whether memory ran out for one side alone or for both together."""
        if self._stage == "build" and self.side is Side.A:
            return replace(failure, message=f"A alone does not fit on this device ({failure.message})")
        self.side = None
        return replace(
            failure,
            message=f"A and B do not fit together on this device ({failure.message}): use --pair process",
        )
