"""The device's own numbers beside a ledger, from the events, from its allocator, and from what that remembers."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from windtunnel.probe.allocation_log import Event
from windtunnel.records.memory_ledger import DeviceLevels, Span
from windtunnel.records.snapshot import TraceEntry, pieces_at

_SOURCES = {
    True: "CUDA caching allocator",
    False: "PyTorch's allocator of host memory, by its profiler",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnNumbers:
    """What a device says of itself after the step; None where its allocator has no such number (CPU).

    `capacity` and `used` are of the whole device, or of the host; the others are of PyTorch's allocator: the peaks of
    the step, and what it holds now.
    """

    capacity: int
    used: int
    peak: int | None = None
    peak_reserved: int | None = None
    reserved: int | None = None


def read_own_numbers(device: torch.device) -> OwnNumbers:
    """Ask the device; the peaks are those since they were last reset."""
    if device.type != "cuda":
        memory = psutil.virtual_memory()
        return OwnNumbers(capacity=memory.total, used=memory.total - memory.available)
    free, total = torch.cuda.mem_get_info(device)
    return OwnNumbers(
        capacity=total,
        used=total - free,
        peak=torch.cuda.max_memory_allocated(device),
        peak_reserved=torch.cuda.max_memory_reserved(device),
        reserved=torch.cuda.memory_reserved(device),
    )


def device_levels(
    events: Sequence[Event], phases: Sequence[Span], trace: Sequence[TraceEntry], own: OwnNumbers, *, before: int
) -> DeviceLevels:
    """Return the numbers of the step, or of all events where it did not begin.

    Args:
        trace: What the allocator remembers of the same allocations; empty where it remembers nothing.
        before: Bytes that it had given out before the first event.
    """
    begin, end = (phases[0].begin, phases[-1].end) if phases else (0, len(events))
    levels = own_levels(events)
    peak = max(range(begin, end), key=levels.__getitem__, default=None)
    has_reserve = own.reserved is not None
    pieces = None
    if trace and peak is not None:
        pieces = pieces_at(trace, sum(event.size > 0 for event in events[: peak + 1]))
    by_events = levels[peak] if peak is not None else 0
    now = levels[-1] if levels else 0
    # Some of what was there before may have gone by then, as compiled code of an earlier cell that nobody uses.
    left = before if peak is None else events[peak].allocated - by_events
    return DeviceLevels(
        source=_SOURCES[has_reserve],
        peak_allocated_bytes=by_events if own.peak is None else own.peak - left,
        before_bytes=before,
        reserved_at_peak_bytes=events[peak].reserved if has_reserve and peak is not None else None,
        peak_reserved_bytes=own.peak_reserved,
        fragmented_at_peak_bytes=pieces.fragmented_bytes if pieces else None,
        capacity_bytes=own.capacity,
        external_bytes=max(0, own.used - (now if own.reserved is None else own.reserved)),
    )


def own_levels(events: Sequence[Event]) -> list[int]:
    """Return what the allocator had given out after each event by its own count, beyond what was there before.

    Its total falls when something of before is freed; that is added back.
    """
    if not events:
        return []
    base = events[0].allocated - events[0].size
    live: set[int] = set()
    levels: list[int] = []
    for event in events:
        if event.size > 0:
            live.add(event.address)
        elif event.address in live:
            live.remove(event.address)
        else:
            base += event.size
        levels.append(event.allocated - base)
    return levels
