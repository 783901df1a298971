"""Every allocation and free of a device in its order, with marks between them; of a CPU by torch's profiler."""

from typing import Any, NamedTuple, Protocol

import torch
from torch._C._profiler import _EventType  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
from torch.autograd.profiler import profile

from windtunnel.errors import RunError

_MARK_BYTES = 100_003
"""A prime that no tensor has; small enough that the C library needs no system call for it."""


class Event(NamedTuple):
    """One allocation, or one free where `size` is negative; a million of them are made, so no dataclass.

    `allocated` is what the device's allocator had given out after it by its own count, `reserved` what it held of the
    device (0 on a CPU, which reserves nothing), `mark` how many marks had been made before.
    """

    address: int
    size: int
    allocated: int
    reserved: int
    mark: int


class AllocationLog(Protocol):
    """Watches one device from `start` to `stop`."""

    def start(self) -> None:
        """Begin to watch."""
        ...

    def mark(self) -> int:
        """Put a mark between two events and return how many marks there were before it."""
        ...

    def stop(self) -> tuple[Event, ...]:
        """Stop watching and return the events.

        Raises:
            RunError: Not all marks are in the list, so that nothing can be said to lie between two of them.
        """
        ...


class HostAllocationLog:
    """Watches the host's memory through torch's profiler, to which its allocator reports exact sizes.

    Marks are allocations of an odd size, which the same list holds in order; there is no clock to compare.
    """

    def __init__(self) -> None:
        """Make the profiler."""
        self._profile = profile(use_device=None, profile_memory=True)
        self._marks = 0

    def start(self) -> None:
        """Begin to watch."""
        self._profile.__enter__()

    def mark(self) -> int:
        """Put a mark between two events and return how many marks there were before it."""
        torch.UntypedStorage(_MARK_BYTES)
        self._marks += 1
        return self._marks - 1

    def stop(self) -> tuple[Event, ...]:
        """Stop watching and return the events.

        Raises:
            RunError: Not all marks are in the list, so that nothing can be said to lie between two of them.
        """
        self._profile.__exit__(None, None, None)
        found = profiled_events(self._profile, "cpu")
        events: list[Event] = []
        marks = 0
        for event in found:
            if abs(event.size) == _MARK_BYTES:
                marks += event.size > 0
            else:
                events.append(event._replace(mark=marks))
        check_marks(marks, self._marks)
        return tuple(events)


def check_marks(found: int, made: int) -> None:
    """Check that all marks were found.

    Raises:
        RunError: They were not.
    """
    if found != made:
        raise RunError(f"{found:,} of {made:,} marks were found: what was allocated when is not known")


def profiled_events(seen: profile, device: str) -> list[Event]:
    """Return what a profiler that has ended saw of a device, in order, without marks, and let its results go."""
    found: list[tuple[int, Event]] = []
    names: dict[Any, str] = {}
    results: Any = seen.kineto_results
    waiting = list(reversed(results.experimental_event_tree()))
    while waiting:
        event = waiting.pop()
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            if names.setdefault(fields.device, str(fields.device)) == device:
                totals = (fields.total_allocated, fields.total_reserved)
                found.append((event.start_time_ns, Event(fields.ptr, fields.alloc_size, *totals, 0)))
        waiting.extend(reversed(event.children))
    seen.kineto_results = None
    found.sort(key=lambda one: one[0])
    return [event for _, event in found]
