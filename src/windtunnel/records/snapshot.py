"""A memory snapshot in the structure that PyTorch documents, from torch itself or from JSON; never from a pickle.

Source: the docstring of torch.cuda.memory._snapshot.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from windtunnel.errors import SpecError

_LIBRARIES = ("/torch/", "/dist-packages/", "/site-packages/", "<")
"""Parts of the paths of code that is not the user's."""


class TraceEntry(NamedTuple):
    """One thing that the allocator did; a trace has a million of them, so no dataclass.

    `site` is the line of code that asked for it; `free` is what the device had left where memory ran out.
    """

    action: str
    address: int
    size: int
    site: str
    category: str
    free: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """Memory that an allocator held without giving it out: whole pieces, and free parts of pieces in use."""

    cached_bytes: int
    fragmented_bytes: int


class _Read(BaseModel):
    """What a file holds more than this is of no interest here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_Bytes = Annotated[int, Field(ge=0)]


class _Frame(_Read):
    filename: str = ""
    line: int = 0
    name: str = ""


class _Entry(_Read):
    action: str
    size: _Bytes = 0
    addr: int = 0
    frames: tuple[_Frame, ...] = ()
    category: str = ""
    device_free: _Bytes | None = None


class _Snapshot(_Read):
    device_traces: tuple[tuple[_Entry, ...], ...]


_ADAPTER = TypeAdapter(_Snapshot)


def read_traces(path: Path) -> tuple[tuple[TraceEntry, ...], ...]:
    """Read the trace of each device from a JSON file, as json.dump(torch.cuda.memory._snapshot(), file) writes it.

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
        snapshot = _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise SpecError(
            f"{path} is damaged, or not a memory snapshot: {_first_fault(error)}; write it anew with "
            "json.dump(torch.cuda.memory._snapshot(), file)"
        ) from None
    return tuple(tuple(map(_read_entry, trace)) for trace in snapshot.device_traces)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


def _read_entry(entry: _Entry) -> TraceEntry:
    site = site_of([(frame.filename, frame.line, frame.name) for frame in entry.frames])
    return TraceEntry(entry.action, entry.addr, entry.size, site, entry.category, entry.device_free)


def trace_of(snapshot: Mapping[str, Any], index: int, *, shorten: Callable[[str], str] = str) -> tuple[TraceEntry, ...]:
    """Return the trace of one device of a snapshot that torch has just made; nothing where it does not know the device.

    Stacks are shared by many entries, so each is looked at once. `shorten` is given the path of a line that is kept.
    """
    traces = snapshot["device_traces"]
    sites: dict[int, str] = {}

    def site(frames: Sequence[Mapping[str, Any]]) -> str:
        if id(frames) not in sites:
            stack = [(frame["filename"], frame["line"], frame["name"]) for frame in frames]
            sites[id(frames)] = site_of(stack, shorten=shorten)
        return sites[id(frames)]

    return tuple(
        TraceEntry(
            entry["action"],
            entry.get("addr", 0),
            entry.get("size", 0),
            site(entry.get("frames", ())),
            entry.get("category", ""),
            entry.get("device_free"),
        )
        for entry in (traces[index] if index < len(traces) else ())
    )


def site_of(frames: Sequence[tuple[str, int, str]], *, shorten: Callable[[str], str] = str) -> str:
    """Return the innermost line that is no library's; the innermost of all where there is no such; empty without any.

    Args:
        frames: File, line and function of each frame, innermost first.
    """
    own = (frame for frame in frames if frame[1] and not any(part in frame[0] for part in _LIBRARIES))
    chosen = next(own, frames[0] if frames else None)
    if chosen is None:
        return ""
    filename, line, name = chosen
    return f"{shorten(filename)}:{line} in {name}" if line else name


def sites_of(trace: Sequence[TraceEntry]) -> tuple[str, ...]:
    """Return the line of code of each allocation, in order."""
    return tuple(entry.site for entry in trace if entry.action == "alloc")


def pieces_at(trace: Sequence[TraceEntry], num_allocations: int) -> Pieces | None:
    """Return what the allocator held without giving it out once it had made so many allocations.

    None where that cannot be told: an allocation lies in no piece that the allocator was seen to take, because the
    trace begins later, or pieces grow (expandable segments).
    """
    segments: dict[int, int] = {}
    live: dict[int, int] = {}
    made = 0
    for entry in trace:
        match entry.action:
            case "segment_alloc":
                segments[entry.address] = entry.size
            case "segment_free":
                segments.pop(entry.address, None)
            case "segment_map":
                return None
            case "held":  # since before the trace
                live[entry.address] = entry.size
            case "alloc":
                live[entry.address] = rounded(entry.size)
                made += 1
            case "free_completed":
                live.pop(entry.address, None)
            case _:
                pass
        if made == num_allocations:
            break
    return _pieces(segments, live)


def rounded(size: int) -> int:
    """Return what the caching allocator gives out for a size: the next multiple of 512 bytes."""
    return -(-size // 512) * 512


def _pieces(segments: Mapping[int, int], live: Mapping[int, int]) -> Pieces | None:
    starts = sorted(segments)
    used = dict.fromkeys(starts, 0)
    for address, size in live.items():
        place = bisect_right(starts, address)
        start = starts[place - 1] if place else None
        if start is None or address >= start + segments[start]:
            return None
        used[start] += size
    return Pieces(
        cached_bytes=sum(segments[start] for start in starts if not used[start]),
        fragmented_bytes=sum(max(0, segments[start] - used[start]) for start in starts if used[start]),
    )
