"""The profile of a step: what ran on the device, where in the program it belongs, and what the host did meanwhile."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import TypeAdapter

from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Cell

NO_LAUNCH = -1
"""In the column `launched`: which call of the host began it is not known, or there is none (operators of a CPU)."""


class Part(StrEnum):
    """A part of a model; what backward does for a part belongs to it, too."""

    EMBEDDING = "embedding"
    PROJECTIONS = "attention projections"
    ROTATION = "rotation"
    SCORES = "scores"
    """The product of queries and keys, and the scaling of queries before it."""
    MASK = "mask"
    SOFTMAX = "softmax"
    WEIGHTED_SUM = "weighted sum"
    ATTENTION = "fused attention"
    """Scores, softmax and weighted sum in one kernel, or by code that is not told apart."""
    ATTENTION_OTHER = "attention, other"
    """In attention, but none of the above: heads brought into another order."""
    FEED_FORWARD = "feed-forward"
    NORM = "norm"
    RESIDUAL = "residual"
    HEAD = "head"
    LOSS = "loss"
    OPTIMIZER = "optimizer"
    OTHER = "no part"
    """Outside of every module that was told apart; under torch.compile all of the model."""


class Unit(StrEnum):
    """What a row of a profile is."""

    KERNELS = "kernels"
    """What ran on the device: kernels, copies and fills of memory."""
    OPERATORS = "operators"
    """PyTorch's operators on a CPU, each with the time of its own code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in the program something belongs: when it ran, in which part, in which block; empty text is none."""

    phase: str
    part: Part
    block: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One entry in each column for each kernel or operator, in the order in which they began; times in nanoseconds.

    Attributes:
        names: Place of its name in `Profile.names`.
        places: Place of its place in `Profile.places`.
        starts: When it began, counted from the beginning of the profile.
        spans: How long it ran.
        owns: How long without what it called: of kernels the same as `spans`.
        launched: When the host's call that launched it began, or `NO_LAUNCH`.
        streams: The stream that it ran on; the thread of an operator.
    """

    names: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    spans: tuple[int, ...] = ()
    owns: tuple[int, ...] = ()
    launched: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the columns are of one length."""
        columns = (self.names, self.places, self.starts, self.spans, self.owns, self.launched, self.streams)
        if len({len(column) for column in columns}) != 1:
            raise ValueError("the columns of work differ in length")

    def __len__(self) -> int:
        """Count the kernels or operators."""
        return len(self.names)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostCalls:
    """What the host did, as far as it explains gaps: its outermost operators, and calls of the runtime that wait.

    `is_wait` says that the host itself waited for the device in that call.
    """

    names: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    spans: tuple[int, ...] = ()
    is_wait: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Check that the columns are of one length."""
        if len({len(self.names), len(self.starts), len(self.spans), len(self.is_wait)}) != 1:
            raise ValueError("the columns of host calls differ in length")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A step, a phase or a range of the host; nanoseconds since the beginning of the profile."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Launches:
    """How many launches the host made, and how many of them the trace has work for; None: calls were not recorded.

    `graphs` are launches of CUDA graphs, each of many kernels; `uneven_graphs` of them had fewer kernels in the trace
    than the same launch of another step: those are not all recorded.
    """

    calls: int
    matched: int
    graphs: int = 0
    uneven_graphs: int = 0


NSYS = "nsys"
"""The instrument that is in a process from its beginning: its pairs are of processes, the median step of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """What watching costs: seconds of steps without and with one instrument, in pairs of random order."""

    name: str
    plain: tuple[float, ...]
    watched: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that each step without has one with it."""
        if len(self.plain) != len(self.watched):
            raise ValueError(f"{self.name}: {len(self.plain)} plain steps, {len(self.watched)} watched ones")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A few steps of a cell under a profiler; after a failure, with nothing but that.

    Attributes:
        cell: What was looked at; None for a trace of another program.
        source: Whose numbers these are, in words.
        unit: What a row of `work` is.
        steps: The steps that were profiled, each from its first call to the end of all its work.
        phases: The phases of all steps, as the host went through them.
        ranges: The host's ranges inside phases, which say where it was in a gap.
        names: Names of kernels, operators and calls.
        places: Where work belongs.
        stopwatch: Seconds of whole steps without any instrument, timed in the same process, to which the profile is
            compared. They enter no table of times.
        stopwatch_phases: The same of each phase.
        has_parts: Whether modules were told apart.
        trace: Name of the file that the trace was written to; None where it was not asked for.
    """

    cell: Cell | None
    source: str
    unit: Unit
    status: Status
    failure: Failure | None
    started_at: str
    steps: tuple[Interval, ...] = ()
    phases: tuple[Interval, ...] = ()
    ranges: tuple[Interval, ...] = ()
    names: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    work: Work = field(default_factory=Work)
    host: HostCalls = field(default_factory=HostCalls)
    launches: Launches | None = None
    instruments: tuple[Instrument, ...] = ()
    stopwatch: tuple[float, ...] = ()
    stopwatch_phases: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    has_parts: bool = False
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict[str, float])
    trace: str | None = None

    def __post_init__(self) -> None:
        """Check that everything that ran has a name and a place."""
        if any(not 0 <= name < len(self.names) for name in {*self.work.names, *self.host.names}):
            raise ValueError("something in the profile has no name")
        if any(not 0 <= place < len(self.places) for place in set(self.work.places)):
            raise ValueError("something in the profile has no place")

    def key(self) -> str:
        """Return the content hash of the cell: 16 hex digits over every field that differs from its default."""
        fields = self.cell.model_dump(mode="json", exclude_defaults=True) if self.cell else {}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def kernel_rows(profile: Profile) -> list[tuple[str, str, str, str, int, int]]:
    """Return phase, part, block, name, calls and own nanoseconds of what ran in all steps, for other tools to query."""
    sums: dict[tuple[int, int], tuple[int, int]] = {}
    work = profile.work
    for place, name, own in zip(work.places, work.names, work.owns, strict=True):
        calls, spent = sums.get((place, name), (0, 0))
        sums[place, name] = calls + 1, spent + own
    found: list[tuple[str, str, str, str, int, int]] = []
    for (place, name), (calls, spent) in sums.items():
        where = profile.places[place]
        found.append((where.phase, where.part.value, where.block, profile.names[name], calls, spent))
    return found


_ADAPTER = TypeAdapter(Profile)


def profile_to_json(profile: Profile) -> str:
    """Write a profile as one JSON object."""
    return _ADAPTER.dump_json(profile).decode()


def profile_from_json(text: str | bytes) -> Profile:
    """Read a profile; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a profile.
    """
    return _ADAPTER.validate_json(text)
