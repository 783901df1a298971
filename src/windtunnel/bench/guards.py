"""What ends a callable that does not return, or that does not stop taking memory."""

import gc
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import FrameType, TracebackType
from typing import Any

import psutil
import torch

from windtunnel.errors import RunError
from windtunnel.language import counted
from windtunnel.units import duration, memory, percent

MOST_GROWTH = 0.5
"""What is measured may keep this share of the memory that was free at the start."""

LEAST_GROWTH_BYTES = 2**20
"""Less in a whole measurement is the allocator's own."""

_LEAST_LEVELS = 16
_REPEAT_SECONDS = 1.0


class OutOfTimeError(BaseException):
    """Raised inside a callable that takes too long; no Exception, so that its own handlers let it pass."""


class TimeLimit:
    """A region of code that is interrupted when it runs longer than `seconds`, by an alarm of the process.

    The alarm raises OutOfTimeError where Python code runs. Code in C that never comes back to Python, such as waiting
    for a kernel on a GPU that does not end, is not interrupted. `hindrance` says why there can be no alarm at all, or
    is None; then the region does nothing. Somebody else's alarm that is due before the limit stays as it is.
    """

    def __init__(self, seconds: float) -> None:
        """Look whether this thread can have an alarm; set none yet."""
        self.seconds = seconds
        self.hindrance = _find_hindrance()
        self._before: tuple[Any, float, float] | None = None  # handler, seconds left, interval
        self._began = 0.0

    def __enter__(self) -> None:
        """Set the alarm."""
        if self.hindrance is not None:
            return
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        if 0 < left <= self.seconds:
            return
        self._began = time.monotonic()
        self._before = signal.signal(signal.SIGALRM, self._interrupt), left, interval
        # Again each second: the callable may have caught the first one, as a bare `except` in a loop does.
        signal.setitimer(signal.ITIMER_REAL, self.seconds, _REPEAT_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the alarm back and set the one that was there before."""
        if self._before is None:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        handler, left, interval = self._before
        self._before = None
        signal.signal(signal.SIGALRM, handler)
        if left:
            # Never 0, which would cancel it: an alarm that came due in the meantime comes now.
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, left - (time.monotonic() - self._began)), interval)

    def warnings(self, name: str) -> tuple[str, ...]:
        """Say that a callable would not have been stopped, where that is so."""
        if self.hindrance is None:
            return ()
        return (f"the limit of {duration(self.seconds)} for one sample was not watched for {name}: {self.hindrance}",)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename == __file__ and frame.f_code.co_name in {"__enter__", "__exit__"}:
                return  # raised there, the error would leave the alarm on, and come again in whatever runs next
            frame = frame.f_back
        raise OutOfTimeError


def _find_hindrance() -> str | None:
    if not hasattr(signal, "setitimer"):
        return "this system has no alarms"
    if threading.current_thread() is not threading.main_thread():
        return "alarms reach only the main thread; call this from there"
    if signal.getsignal(signal.SIGALRM) is None:
        return "code outside of Python handles this process's alarms"
    if signal.getitimer(signal.ITIMER_REAL)[1]:
        return "this process uses its alarm already, again and again"
    return None


class MemoryWatch:
    """Watches how much memory callables keep: of the process, and on CUDA of the device's allocator.

    Two callables that take turns share one watch: what one frees stays with the process and is handed to the other, so
    its resident set does not tell which of them keeps it.
    """

    def __init__(self, device: torch.device, name: str) -> None:
        """Note what is free now; `name` is that of the callable, or of all of them."""
        self._name = name
        self._places = [_Place("memory", *_host_memory())]
        if device.type == "cuda":
            self._places.append(_Place("device memory", *_cuda_memory(device)))

    def before(self) -> None:
        """Note the levels right before a sample: what others take between two samples does not count."""
        for place in self._places:
            place.level = place.read()

    def after(self, calls: int) -> None:
        """Add what a sample of `calls` calls kept.

        Raises:
            RunError: Too much of what was free is kept.
        """
        gc.collect(0)  # what it left in cycles; the collector is off, and all generations would take too long
        for place in self._places:
            place.add(calls)
            if place.grown[-1] > MOST_GROWTH * place.free:
                gc.collect()
                place.correct()
            if place.grown[-1] > MOST_GROWTH * place.free:
                kept, made = place.grown[-1], place.calls[-1]
                raise RunError(
                    f"{self._name} holds {memory(kept)} more {place.name} after {counted(made, 'call')}, about "
                    f"{memory(kept / made)} a call; {memory(place.free)} were free before and no more than "
                    f"{percent(MOST_GROWTH, 0)} of that is given away; let go of what each call makes, or measure "
                    "fewer samples"
                )

    def warnings(self) -> tuple[str, ...]:
        """Say that more and more is kept, where that is so from beginning to end."""
        rising = [place for place in self._places if place.steady_growth()]
        if rising:
            gc.collect()
        for place in rising:
            place.correct()
        leaks = [(place.name, place.steady_growth()) for place in rising]
        return tuple(
            f"{self._name} keeps about {memory(each)} more {place} after each call" for place, each in leaks if each
        )

    def describe(self) -> str:
        """Say what is held and free now."""
        return ", ".join(
            f"{memory(place.read())} of {place.name} are held and {memory(place.read_free())} free"
            for place in self._places
        )


class _Place:
    """One kind of memory: its level now, and after each sample how much is kept after how many calls."""

    def __init__(self, name: str, read: Callable[[], int], read_free: Callable[[], int]) -> None:
        self.name, self.read, self.read_free = name, read, read_free
        self.free = read_free()
        self.level = read()
        self.grown: list[int] = [0]
        self.calls: list[int] = [0]

    def add(self, calls: int) -> None:
        self.grown.append(self.grown[-1] + self.read() - self.level)
        self.calls.append(self.calls[-1] + calls)
        self.level += self.grown[-1] - self.grown[-2]

    def correct(self) -> None:
        """Take off what a full collection has freed."""
        self.grown[-1] -= self.level - (level := self.read())
        self.level = level

    def steady_growth(self) -> float | None:
        """Return the bytes that each call adds, where each quarter of the samples ends above the one before it."""
        if len(self.grown) < _LEAST_LEVELS:
            return None
        quarter = len(self.grown) // 4
        ends = [len(self.grown) - k * quarter for k in (3, 2, 1, 0)]
        parts = [self.grown[end - quarter : end] for end in ends]
        rises = all(max(low) <= min(high) and low[-1] < high[-1] for low, high in pairwise(parts))
        first = ends[0] - 1
        grown = self.grown[-1] - self.grown[first]
        if not rises or grown < LEAST_GROWTH_BYTES:
            return None
        return grown / (self.calls[-1] - self.calls[first])


def _host_memory() -> tuple[Callable[[], int], Callable[[], int]]:
    process = psutil.Process()
    return lambda: int(process.memory_info().rss), lambda: int(psutil.virtual_memory().available)


def _cuda_memory(device: torch.device) -> tuple[Callable[[], int], Callable[[], int]]:
    def read_free() -> int:
        """Return what the driver has left, and what the allocator keeps for later."""
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused

    return lambda: torch.cuda.memory_allocated(device), read_free
