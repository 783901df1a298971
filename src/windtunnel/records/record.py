"""One measured cell: what was asked, what happened, and every raw sample."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from windtunnel.spec.cell import Task


class Status(StrEnum):
    """How a cell ended; all but OK are failures, and a failure is a row like any other."""

    OK = "ok"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    CRASHED = "crashed"
    UNSUPPORTED = "unsupported"
    BAD_NUMERICS = "bad numerics"
    FAILED = "failed"


class ClockName(StrEnum):
    """Which clock timed a phase."""

    HOST = "host"
    """Wall clock of the host; on an accelerator it waits for the device before and after the step."""
    DEVICE = "device"
    """Events in the device's own stream, at the phase boundaries, without waiting in between."""
    ENQUEUE = "enqueue"
    """Wall clock of the host without waiting: how long the host took to launch the work."""


def whole_clock(clocks: Collection[ClockName]) -> ClockName:
    """Return the clock by which a whole step is judged, of those that timed it: the host's, else the device's.

    Attention alone on an accelerator has none of the host: what the host waits for there is no part of it.
    """
    return ClockName.HOST if ClockName.HOST in clocks or not clocks else ClockName.DEVICE


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The times of one phase on one clock, in nanoseconds, in the order in which they were taken.

    The warm-up iterations are kept beside the samples; no statistic uses them.
    """

    phase: str
    clock: ClockName
    nanoseconds: tuple[int, ...]
    warmup_nanoseconds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Memory of the device during warm-up and samples; None means not known.

    On CUDA the bytes are those of PyTorch's caching allocator. On a CPU `built_bytes` and `peak_bytes` are the
    resident set of the worker process, Python and libraries included, and nothing is reserved.
    """

    built_bytes: int | None
    peak_bytes: int | None
    peak_reserved_bytes: int | None
    capacity_bytes: int | None
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseMemory:
    """Memory of one phase of a step that was run on its own for this, after the samples.

    `allocated_bytes` is what the device held when the phase was over, `peak_bytes` the most during it, both with all
    that was there before the cell taken off; None where the device has no count of its own (CPU). `saved_bytes` is
    what autograd keeps for backward once the phase is over, each storage once, inputs among them; None after backward.
    """

    phase: str
    allocated_bytes: int | None
    peak_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A kernel that ran in a phase of one step, seen in a pass of its own, never while timing.

    `launches` is how often it ran, `nanoseconds` how long in all, slowed by being watched. On a CPU it is an operator
    of PyTorch, with the time of its own code.
    """

    phase: str
    name: str
    launches: int
    nanoseconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorError:
    """How far a result is from the same one in float64: ||x - reference|| / ||reference|| over some heads.

    `tensor` is O, dQ, dK or dV; `num_heads` of the batch's query heads were compared. nan or inf where x has such.
    """

    tensor: str
    relative_error: float
    num_heads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """What sensors said of the device from the first warm-up step to the last sample, one entry for each reading.

    Times are in nanoseconds since `Record.began_nanoseconds` counts them. A column is empty where the source does
    not know it. `clock_mhz` is the clock of the streaming multiprocessors, or the mean of the CPU's cores;
    `throttle_reasons` are NVML's bits (nvmlDeviceGetCurrentClocksEventReasons).
    """

    source: str
    nanoseconds: tuple[int, ...]
    clock_mhz: tuple[int, ...] = ()
    power_watts: tuple[float, ...] = ()
    temperature_celsius: tuple[int, ...] = ()
    throttle_reasons: tuple[int, ...] = ()


class ProbeName(StrEnum):
    """How whole steps were run after the samples, in turn, to see what a habit of running them costs."""

    PLAIN = "plain"
    """As the samples were."""
    SYNCHRONISED = "synchronised"
    """Waiting for the device after each phase too."""
    QUEUED = "queued"
    """Launched while the device was kept busy, so that it never waits for the host."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Whole steps run in one way, on one clock, in nanoseconds; those of one record were run in turn."""

    name: ProbeName
    clock: ClockName
    nanoseconds: tuple[int, ...]


class ColdCause(StrEnum):
    """What of the start of a cell was timed on its own."""

    CONTEXT = "context"
    """Making the device's context, where the process had none."""
    COMPILE = "compile"
    """Compiling, by Dynamo's own count of its time on whole frames."""
    ALLOCATOR = "allocator"
    """A step that begins with an empty allocator cache, beyond the median of the samples after the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a cell has no (complete) samples; fields that do not apply are None.

    `stage` is when it happened: start, build, compile, warmup or measure; `phase` is the part of the step.
    `details` is a traceback or the end of what the worker printed.
    """

    stage: str
    message: str
    phase: str | None = None
    requested_bytes: int | None = None
    free_bytes: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    details: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What became of one task.

    Attributes:
        total: The name of the phase that is the whole step.
        timed: For each phase, what lies inside its timed region, in words.
        flops: Matrix-product FLOPs by phase, by closed form; of a user's own model as counted, or empty.
        flops_by: Where these come from: a formula, or torch's counter on tensors without memory.
        parameters: Of the model, 0 of attention alone; None of a user's own model that was never built.
        stages: Seconds that the worker spent: build, compile, warmup, measure, probe, clean.
        warnings: What a reader should know before trusting the numbers.
        process: A number that tells the processes of one run apart.
        is_first_in_process: Whether no other cell ran in this process before.
        started_at: UTC, ISO 8601.
        warmed_by: What ended an automatic warm-up: `steady` or `cap`; None where the count was exact.
        stopped_by: What ended the samples: `target`, `max_samples` or `max_seconds`; None where the count was exact.
        began_nanoseconds: When each timed step began, on the host's clock, since the first warm-up step.
        warmup_began_nanoseconds: The same of the warm-up steps.
        telemetry: What sensors said meanwhile; None where there is no sensor, or the record is older than them.
        probes: Steps run in other ways after the samples.
        cold_causes: Seconds that the start of the cell took, by `ColdCause`, as far as each was timed on its own.
        calls_per_sample: How often each phase was run in a row for one sample, which is the mean time of one run.
        phase_memory: Memory by phase, of attention alone.
        kernels: What ran on the device in one step, by phase; empty where nobody looked, or looking failed.
        errors: Distance of the results from float64, of attention alone.
    """

    # By default pydantic writes inf and nan as null, which is no number when it is read.
    __pydantic_config__: ClassVar = ConfigDict(ser_json_inf_nan="strings")

    task: Task
    status: Status
    total: str
    timed: Mapping[str, str]
    flops: Mapping[str, int]
    parameters: int | None
    samples: tuple[Samples, ...]
    memory: Memory | None
    failure: Failure | None
    stages: Mapping[str, float]
    warnings: tuple[str, ...]
    process: int
    is_first_in_process: bool
    started_at: str
    warmed_by: str | None = None
    stopped_by: str | None = None
    began_nanoseconds: tuple[int, ...] = ()
    warmup_began_nanoseconds: tuple[int, ...] = ()
    telemetry: Telemetry | None = None
    probes: tuple[Probe, ...] = ()
    cold_causes: Mapping[str, float] = field(default_factory=dict[str, float])
    calls_per_sample: int = 1
    phase_memory: tuple[PhaseMemory, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    errors: tuple[TensorError, ...] = ()
    flops_by: Literal["formula", "counter"] = "formula"

    def series(self, phase: str, clock: ClockName) -> Samples | None:
        """Return the samples of a phase on a clock, or None where there are none."""
        for series in self.samples:
            if series.phase == phase and series.clock == clock:
                return series
        return None

    def whole_series(self) -> Samples | None:
        """Return the samples of the whole step on the clock by which it is judged, or None where there are none."""
        clocks = {series.clock for series in self.samples if series.phase == self.total}
        return self.series(self.total, whole_clock(clocks))


_ADAPTER = TypeAdapter(Record)


def record_to_json(record: Record) -> str:
    """Write a record as one JSON object."""
    return _ADAPTER.dump_json(record).decode()


def record_from_json(text: str | bytes) -> Record:
    """Read a record; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a record.
    """
    return _ADAPTER.validate_json(text)
