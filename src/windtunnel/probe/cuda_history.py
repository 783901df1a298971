"""What the caching allocator of CUDA itself remembers: every allocation and free, stacks, and the viewer's snapshot."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.autograd.profiler import profile

from windtunnel.probe.allocation_log import Event, check_marks, profiled_events
from windtunnel.probe.sites import short_path
from windtunnel.records.snapshot import TraceEntry, rounded, trace_of

SEAT_BYTES = 499
"""A prime that no tensor of a model has."""

SMALL_BYTES = 2**20
"""Blocks up to this size are cut to what was asked for, in steps of 512 bytes (kSmallSize of CUDACachingAllocator)."""


class CudaAllocationLog:
    """Watches one device from `start` to `stop`.

    Its allocator's history has everything in order, but the sizes that were asked for, and no totals. torch's profiler
    has blocks as they were given out, with totals, but on torch 2.11 nothing that is given out or let go outside of
    operators. So order comes from the one, and from the other the sizes of large blocks, of which the allocator does
    not always cut off what was not asked for. A mark gives a seat of an odd size back and takes
    it again: that stands in the history, and needs no memory that was not there before.

    Attributes:
        trace: The history without marks, once stopped; it begins with what was there before.
        is_matched: Whether all that the profiler saw is in the history, once stopped; else blocks are those of the
            history, rounded up as the allocator does it at least.
        snapshot: What torch says of the device, for the public viewer, once stopped.
    """

    def __init__(self, device: torch.device) -> None:
        """Say which device."""
        self._device = device
        self._index = device.index or 0
        self._profile = profile(use_device=None, profile_memory=True)
        self._seat: torch.UntypedStorage | None = torch.UntypedStorage(SEAT_BYTES, device=device)
        self._marks = 0
        self._before: tuple[TraceEntry, ...] = ()
        self._levels = (0, 0)
        self._first_seat = 0
        self.trace: tuple[TraceEntry, ...] = ()
        self.is_matched: bool = True
        self.snapshot: Mapping[str, Any] = {}

    def start(self) -> None:
        """Begin, with nothing remembered of before but what is held."""
        memory = torch.cuda.memory
        memory._record_memory_history(  # pyright: ignore[reportPrivateUsage]
            "all", context="alloc", stacks="python", device=self._device, clear_history=True
        )
        self._before = tuple(
            entries_before(memory._snapshot(self._device), self._index)  # pyright: ignore[reportPrivateUsage]
        )
        self._levels = (memory.memory_allocated(self._device), memory.memory_reserved(self._device))
        self._first_seat = self._seat.data_ptr() if self._seat else 0
        self._profile.__enter__()

    def mark(self) -> int:
        """Put a mark between two events and return how many marks there were before it."""
        self._seat = None
        self._seat = torch.UntypedStorage(SEAT_BYTES, device=self._device)
        self._marks += 1
        return self._marks - 1

    def stop(self) -> tuple[Event, ...]:
        """Stop, keep torch's snapshot, and return the events.

        Raises:
            RunError: Not all marks are in the history, so that nothing can be said to lie between two of them.
        """
        memory = torch.cuda.memory
        self._profile.__exit__(None, None, None)
        remembered = self.snapshot = memory._snapshot(self._device)  # pyright: ignore[reportPrivateUsage]
        memory._record_memory_history(None, device=self._device)  # pyright: ignore[reportPrivateUsage]
        history = trace_of(remembered, self._index, shorten=short_path)
        given = [event for event in profiled_events(self._profile, str(self._device)) if event.size > 0]
        blocks = blocks_of([one for one in history if one.action == "alloc"], given)
        self.is_matched = blocks is not None
        sizes = () if blocks is None else blocks
        events = tuple(merged(history, sizes, seat=self._first_seat, levels=self._levels))
        check_marks(sum(is_seat(one) for one in history), self._marks)
        self.trace = (*self._before, *without_seats(history, self._first_seat))
        return events


def is_seat(entry: TraceEntry) -> bool:
    """Say whether an entry of a history takes the seat of a mark."""
    return entry.action == "alloc" and entry.size == SEAT_BYTES


def without_seats(history: Iterable[TraceEntry], seat: int) -> Iterator[TraceEntry]:
    """Yield a history without its marks; `seat` is the address of the first one."""
    leaving: Counter[int] = Counter()
    for entry in history:
        if is_seat(entry):
            seat = entry.address
        elif entry.action == "free_requested" and entry.address == seat:
            leaving[seat] += 1
            seat = 0
        elif entry.action == "free_completed" and leaving[entry.address]:
            leaving[entry.address] -= 1
        else:
            yield entry


def blocks_of(allocations: Sequence[TraceEntry], given: Sequence[Event]) -> Sequence[Event | None] | None:
    """Return the large block of each allocation of a history; None for a small one, and for one that nobody saw.

    What it saw is in the same order. None instead of a list where that is not so.
    """
    left = deque(block for block in given if block.size > SMALL_BYTES)
    found: list[Event | None] = []
    for entry in allocations:
        size = rounded(entry.size)
        is_this = left and size > SMALL_BYTES and left[0].address == entry.address and left[0].size >= size
        found.append(left.popleft() if is_this else None)
    return None if left else found


def merged(
    history: Iterable[TraceEntry], blocks: Iterable[Event | None], *, seat: int, levels: tuple[int, int]
) -> Iterator[Event]:
    """Yield the events of a history with the sizes of blocks.

    Args:
        history: What the allocator did, in order, with marks.
        blocks: Each allocation of the history as a block with totals; None, or too few, where these are not known.
        seat: The address of the first seat of a mark.
        levels: Bytes allocated and reserved before.
    """
    given = iter(blocks)
    allocated, reserved = levels
    live: dict[int, int] = {}
    marks = 0
    for entry in history:
        match entry.action:
            case "alloc":
                block = next(given, None)
                if is_seat(entry):
                    seat = entry.address
                    marks += 1
                    continue
                size = block.size if block else rounded(entry.size)
                allocated = block.allocated if block else allocated + size
                reserved = block.reserved if block else reserved
                live[entry.address] = size
                yield Event(entry.address, size, allocated, reserved, marks)
            case "free_requested" if entry.address == seat:
                seat = 0
            case "free_requested":
                size = live.pop(entry.address, rounded(entry.size))
                allocated -= size
                yield Event(entry.address, -size, allocated, reserved, marks)
            case "segment_alloc" | "segment_map":
                reserved += entry.size
            case "segment_free" | "segment_unmap":
                reserved -= entry.size
            case _:
                pass


def entries_before(snapshot: Mapping[str, Any], index: int) -> Iterator[TraceEntry]:
    """Yield what a device holds as a history would tell it: pieces of memory, and `held` for what lies in them."""
    for segment in snapshot["segments"]:
        if segment["device"] != index:
            continue
        yield TraceEntry("segment_alloc", segment["address"], segment["total_size"], "", "", None)
        for block in segment["blocks"]:
            if block["state"] == "active_allocated":
                yield TraceEntry("held", block["address"], block["size"], "", "", None)
