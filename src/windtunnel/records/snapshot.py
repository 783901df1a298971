"""A memory snapshot in the structure that PyTorch documents, read from JSON or straight from torch; never a pickle.

Source: the docstring of torch.cuda.memory._snapshot.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from windtunnel.errors import SpecError
from windtunnel.records.memory_ledger import (
    ALIVE,
    Allocations,
    Category,
    DeviceLevels,
    Label,
    MemoryLedger,
    Span,
)
from windtunnel.records.record import Failure, Status

_LIBRARIES = ("/torch/", "/dist-packages/", "/site-packages/", "<")
"""Parts of the paths of code that is not the user's."""

_GROWS, _SHRINKS = frozenset({"segment_alloc", "segment_map"}), frozenset({"segment_free", "segment_unmap"})


class _Read(BaseModel):
    """What a snapshot holds more than this is of no interest here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Frame(_Read):
    """A line of a stack."""

    filename: str = ""
    line: int = 0
    name: str = ""

    @property
    def text(self) -> str:
        """The line as `file.py:12 in name`."""
        return f"{self.filename}:{self.line} in {self.name}" if self.line else self.name


class TraceEntry(_Read):
    """One thing that the allocator did; `device_free` is there where it ran out of memory."""

    action: str
    size: int = 0
    addr: int = 0
    frames: tuple[Frame, ...] = ()
    category: str = ""
    device_free: int | None = None

    @property
    def site(self) -> str:
        """The innermost line that is no library's; the innermost of all where there is no such; empty without any."""
        own = (f for f in self.frames if f.line and not any(part in f.filename for part in _LIBRARIES))
        chosen = next(own, self.frames[0] if self.frames else None)
        return chosen.text if chosen else ""


class Snapshot(_Read):
    """What a snapshot says of the past: for each device, what its allocator did, in order."""

    device_traces: tuple[tuple[TraceEntry, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """Memory that an allocator held without giving it out: whole pieces, and free parts of pieces in use."""

    cached_bytes: int
    fragmented_bytes: int


def snapshot_of(data: object) -> Snapshot:
    """Check a snapshot.

    Raises:
        SpecError: It has not the structure of one; the message names the first thing that is not as it should be.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        raise SpecError(f"this is not a memory snapshot: {_first_fault(error)}") from None


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot from a JSON file, as json.dump(torch.cuda.memory._snapshot(), file) writes it.

    Raises:
        SpecError: The file cannot be read, is a pickle, is cut off, or has not the structure of a snapshot.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read the snapshot {str(path)!r}: {error.strerror}") from None
    if text[:1] == b"\x80":
        raise SpecError(
            f"{path} is a pickle, and reading one may run code: load it in Python that you trust, and write it with "
            "json.dump(snapshot, file)"
        )
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise SpecError(
            f"{path} is damaged, or not a memory snapshot: {_first_fault(error)}; write it anew with "
            "json.dump(torch.cuda.memory._snapshot(), file)"
        ) from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


_ADAPTER = TypeAdapter(Snapshot)


def sites_of(trace: Sequence[TraceEntry]) -> tuple[str, ...]:
    """Return the line of code of each allocation, in order."""
    return tuple(entry.site for entry in trace if entry.action == "alloc")


def pieces_at(trace: Sequence[TraceEntry], num_allocations: int) -> Pieces | None:
    """Return what the allocator held without giving it out once it had made so many allocations.

    None where an allocation lies in no piece that it was seen to take: then the trace does not begin at the start.
    """
    segments: dict[int, int] = {}
    live: dict[int, int] = {}
    made = 0
    for entry in trace:
        if entry.action in _GROWS:
            segments[entry.addr] = entry.size
        elif entry.action in _SHRINKS:
            segments.pop(entry.addr, None)
        elif entry.action == "alloc":
            live[entry.addr] = _rounded(entry.size)
            made += 1
            if made == num_allocations:
                break
        elif entry.action == "free_completed":
            live.pop(entry.addr, None)
    starts = sorted(segments)
    used = dict.fromkeys(starts, 0)
    for address, size in live.items():
        start = _last_at_most(starts, address)
        if start is None or address >= start + segments[start]:
            return None
        used[start] += size
    return Pieces(
        cached_bytes=sum(segments[start] for start in starts if not used[start]),
        fragmented_bytes=sum(max(0, segments[start] - used[start]) for start in starts if used[start]),
    )


def _rounded(size: int) -> int:
    """Return what the caching allocator gives out for a size: the next multiple of 512 bytes."""
    return -(-size // 512) * 512


def _last_at_most(starts: Sequence[int], address: int) -> int | None:
    place = bisect_right(starts, address)
    return starts[place - 1] if place else None


def ledger_of_snapshot(snapshot: Snapshot, *, started_at: str) -> MemoryLedger:
    """Return the busiest device of a snapshot as a ledger without a cell: lines of code in place of categories.

    Categories are those that the snapshot names, as one of a CPU profile does, and otherwise not attributed. Memory
    that was there before the trace is not in it.

    Raises:
        SpecError: No device of the snapshot allocated anything.
    """
    trace = max(snapshot.device_traces, key=len, default=())
    entries = [entry for entry in trace if entry.action in {"alloc", "free_requested", "oom"}]
    if not any(entry.action == "alloc" for entry in entries):
        raise SpecError(
            "the snapshot holds no allocation; record some with torch.cuda.memory._record_memory_history() first"
        )
    labels: dict[Label, int] = {}
    sizes, places, born, died = (list[int]() for _ in range(4))
    live: dict[int, int] = {}
    number = total = peak = 0
    for entry in entries:
        if entry.action == "alloc":
            live[entry.addr] = len(sizes)
            sizes.append(entry.size)
            born.append(number)
            died.append(ALIVE)
            places.append(labels.setdefault(_label_of(entry), len(labels)))
            total += entry.size
            peak = max(peak, total)
            number += 1
        elif entry.action == "free_requested" and entry.addr in live:
            place = live.pop(entry.addr)
            died[place] = number
            total -= sizes[place]
            number += 1
    out_of_memory = next((entry for entry in entries if entry.action == "oom"), None)
    return MemoryLedger(
        cell=None,
        status=Status.OUT_OF_MEMORY if out_of_memory else Status.OK,
        failure=_failure_of(out_of_memory) if out_of_memory else None,
        started_at=started_at,
        is_watched=False,
        num_events=number,
        built=None,
        phases=(Span(name="whole trace", begin=0, end=number),),
        allocations=Allocations(sizes=tuple(sizes), labels=tuple(places), born=tuple(born), died=tuple(died)),
        labels=tuple(labels),
        device=DeviceLevels(source="the trace of a snapshot, in bytes asked for", peak_allocated_bytes=peak),
    )


_CATEGORIES: Mapping[str, Category] = {
    "parameter": Category.PARAMETERS,
    "optimizer_state": Category.OPTIMIZER,
    "gradient": Category.GRADIENTS,
    "input": Category.INPUTS,
    "activation": Category.ACTIVATIONS,
    "temporary": Category.TEMPORARIES,
    "autograd_detail": Category.TEMPORARIES,
}
"""What the memory profiler of PyTorch calls a category."""


def _label_of(entry: TraceEntry) -> Label:
    return Label(category=_CATEGORIES.get(entry.category, Category.NOT_ATTRIBUTED), site=entry.site)


def _failure_of(entry: TraceEntry) -> Failure:
    return Failure(
        stage="trace", message="out of memory", requested_bytes=entry.size or None, free_bytes=entry.device_free
    )
