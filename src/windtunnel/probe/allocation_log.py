"""Every allocation and free of a device in its order, with marks between them, as torch's profiler sees them."""

from typing import Any, NamedTuple

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


class AllocationLog:
    """Watches one device from `start` to `stop`.

    The profiler's memory events are used because the CPU's allocator and the caching allocator of CUDA report to it
    alike: exact block sizes, each with the allocator's own total. Marks are allocations of an odd size on the host,
    which the same list holds in order; there is no clock to compare.
    """

    def __init__(self, device: torch.device) -> None:
        """Say which device is watched."""
        self._device = device
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
        found = _allocations(self._profile.kineto_results)
        self._profile.kineto_results = None
        events: list[Event] = []
        marks = 0
        for _, address, size, allocated, reserved, device in found:
            if device == "cpu" and abs(size) == _MARK_BYTES:
                marks += size > 0
            elif device == str(self._device):
                events.append(Event(address, size, allocated, reserved, marks))
        if marks != self._marks:
            raise RunError(f"the profiler saw {marks:,} of {self._marks:,} marks: what was allocated when is not known")
        return tuple(events)


def _allocations(results: Any) -> list[tuple[int, int, int, int, int, str]]:
    """Return time, address, size, totals and device of each allocation and free, in order of time."""
    found: list[tuple[int, int, int, int, int, str]] = []
    names: dict[Any, str] = {}
    waiting = list(reversed(results.experimental_event_tree()))
    while waiting:
        event = waiting.pop()
        if event.tag == _EventType.Allocation:
            seen = event.extra_fields
            name = names.setdefault(seen.device, str(seen.device))
            found.append(
                (event.start_time_ns, seen.ptr, seen.alloc_size, seen.total_allocated, seen.total_reserved, name)
            )
        waiting.extend(reversed(event.children))
    found.sort(key=lambda one: one[0])
    return found
