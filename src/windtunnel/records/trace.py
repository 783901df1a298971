"""A trace of any profiler, as far as a profile needs it: events of the host and of the device; how ranges are named."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from windtunnel.records.profile import Part

PREFIX = "windtunnel::"
"""What the names of our own ranges begin with, in traces of torch and in those of nsys."""

NO_NUMBER = -1
"""No sequence number of autograd; no correlation."""


class HostKind(StrEnum):
    """What an event of the host is."""

    OPERATOR = "operator"
    RANGE = "range"
    RUNTIME = "runtime"
    """A call of CUDA's runtime or driver."""


class HostEvent(NamedTuple):
    """Something that a thread did; times in nanoseconds. A trace has a million of them, so no dataclass.

    `sequence` is autograd's number of the node that an operator makes or runs; `is_backward` tells the two apart.
    """

    name: str
    start: int
    end: int
    thread: int
    kind: HostKind
    sequence: int = NO_NUMBER
    is_backward: bool = False
    correlation: int = NO_NUMBER


class DeviceEvent(NamedTuple):
    """A kernel, copy or fill; `correlation` is that of the call of the runtime which launched it."""

    name: str
    start: int
    end: int
    stream: int
    correlation: int = NO_NUMBER


@dataclass(kw_only=True, slots=True)
class Trace:
    """All events, in no order."""

    source: str
    host: list[HostEvent] = field(default_factory=list[HostEvent])
    device: list[DeviceEvent] = field(default_factory=list[DeviceEvent])
    warnings: list[str] = field(default_factory=list[str])


def step_range(number: int) -> str:
    """Return the name of the range around a step."""
    return f"{PREFIX}step {number}"


def phase_range(phase: str) -> str:
    """Return the name of the range around a phase."""
    return f"{PREFIX}phase {phase}"


def part_range(part: Part, block: str) -> str:
    """Return the name of the range around a part of the model, in a block or (empty) in none."""
    return f"{PREFIX}part {part.value}" + (f" @ {block}" if block else "")


class Range(NamedTuple):
    """What the name of one of our ranges says: what it is around (step, phase, part), which one, in which block."""

    around: str
    name: str
    block: str


def read_range(name: str) -> Range | None:
    """Return what a name of our ranges says; None for a range of somebody else."""
    if not name.startswith(PREFIX):
        return None
    around, _, rest = name.removeprefix(PREFIX).partition(" ")
    inner, _, block = rest.partition(" @ ")
    return Range(around, inner, block)
