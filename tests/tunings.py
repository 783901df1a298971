"""Searches for the fastest configuration with workers that measure nothing: a lab of scripted candidates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from factory import CPU, make_pair, make_record
from precision_looks import NUMERICS, gradient, make_look
from windtunnel.records.environment import Environment
from windtunnel.records.pair import PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Failure, Memory, Status
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.tuning import Tuning, make_tuning
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.launch import Answer, OnStage, PairAnswer, Place, WorkerLostError

SHAPE = {"d_model": 64, "layers": 2, "heads": 4, "context": 16}
AXES = {"attention": ["eager", "sdpa", "flash-eager"], "compile": ["off"], "precision": ["fp32"]}


def asked(axes: Mapping[str, list[object]] | None = None, **limits: object) -> Callable[[str], Tuning]:
    """Return what makes a search among the attentions, or among what `axes` say, once the device is known."""
    budget = limits.pop("budget", "1h")

    def make(device: str) -> Tuning:
        return make_tuning(SHAPE, AXES | (axes or {}), device=device, budget=budget, **limits)

    return make


def attention_of(cell: Cell) -> str:
    return cell.attention


@dataclass
class Lab:
    """Launches fake workers.

    Attributes:
        milliseconds: Of a step, by the name that `name` gives a cell.
        peaks: Bytes, by the same.
        errors: Relative error of logits, by precision; of others 1e-6.
        fails: How a look at a cell ends, by the same.
        fails_together: How a comparison ends whose side B is that cell; None of the status: the worker is lost.
    """

    milliseconds: Mapping[str, float]
    name: Callable[[Cell], str] = attention_of
    environment: Environment = CPU
    peaks: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    fails: Mapping[str, Status] = field(default_factory=dict)
    fails_together: Mapping[str, Status] = field(default_factory=dict)
    looked: list[str] = field(default_factory=list)
    compared: list[tuple[str, str]] = field(default_factory=list)
    plans: list[PairPlan] = field(default_factory=list)
    numbers: list[PrecisionRequest] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    launched: int = 0
    open: int = 0
    noise: Random = field(default_factory=lambda: Random(3))

    def launch(self, place: Place | None = None) -> "FakeWorker":
        self.launched += 1
        self.open += 1
        return FakeWorker(self)

    def takes(self, cell: Cell) -> float:
        return self.milliseconds[self.name(cell)]


class FakeWorker:
    """A worker without a process."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.is_fresh = True

    def describe(self, device: str) -> Environment:
        return self.lab.environment

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        lab, name = self.lab, self.lab.name(task.cell)
        assert not with_probes
        on_stage("build")
        if task.plan.target:
            lab.blocks.append(name)
        else:
            lab.looked.append(name)
            lab.timeouts.append(timeout)
        status = lab.fails.get(name, Status.OK)
        if status in {Status.CRASHED, Status.TIMED_OUT}:
            raise WorkerLostError(status, Failure(stage="warmup", message="it is gone"))
        failure = None if status is Status.OK else Failure(stage="build", message="as scripted")
        times = [lab.takes(task.cell) * (1 + 0.01 * lab.noise.gauss(0, 1)) for _ in range(9)]
        peak = lab.peaks.get(name, 2**20)
        memory = Memory(built_bytes=1, peak_bytes=peak, peak_reserved_bytes=None, capacity_bytes=None, source="a lab")
        record = make_record(task, milliseconds=times, status=status, failure=failure, memory=memory)
        return Answer(record=record, leaked_bytes=0)

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        lab = self.lab
        lab.compared.append((lab.name(a.cell), lab.name(b.cell)))
        lab.plans.append(plan)
        status = lab.fails_together.get(lab.name(b.cell))
        if status is Status.CRASHED:
            raise WorkerLostError(status, Failure(stage="measure", message="it is gone"))
        if status:
            failure = Failure(stage="build", message="A and B do not fit together")
            return PairAnswer(record=make_pair(a, b, status=status, failure=failure, plan=plan), leaked_bytes=0)
        ratio = lab.takes(b.cell) / lab.takes(a.cell)
        return PairAnswer(record=pair_by(plan, a, b, ratio), leaked_bytes=0)

    def look_at_precision(self, request: PrecisionRequest, *, timeout: float, on_stage: OnStage) -> PrecisionLook:
        self.lab.numbers.append(request)
        error = self.lab.errors.get(request.cell.precision, 1e-6)
        (run, *_) = NUMERICS.runs
        numbers = replace(run, logits=gradient("logits", error), gradients=())
        return make_look(request=request, formats=None, numerics=replace(NUMERICS, runs=(numbers,)), curves=None)

    def close(self) -> None:
        self.lab.open -= 1


def pair_by(plan: PairPlan, a: Task, b: Task, ratio: float) -> PairRecord:
    """Return a comparison of as many pairs as the plan allows, with noise of 0.2 %."""
    return make_pair(a, b, ratio=ratio, num_pairs=plan.max_pairs, plan=plan)
