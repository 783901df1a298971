"""One callable of any kind under the clock: batched where it is short, and without effect on what comes after it."""

import inspect
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from windtunnel.bench.clock import Clock
from windtunnel.bench.failing import is_out_of_memory
from windtunnel.bench.guards import MemoryWatch, OutOfTimeError, TimeLimit
from windtunnel.errors import RunError, SpecError, UnsupportedError
from windtunnel.language import counted
from windtunnel.records.record import ClockName
from windtunnel.units import duration

LEAST_SAMPLE_NS = 50_000
"""Shorter work is repeated inside one sample: two readings of a clock and a synchronisation cost up to a few µs."""

MOST_CALLS = 1 << 20
"""A callable that takes no measurable time after this many calls in a row cannot be measured."""

WARMUP_SHARE = 0.25
"""The part of the time limit after which a warm-up that is not done ends."""

TIMEOUT_SECONDS = 600.0
"""Longest time for one sample unless the user says otherwise: long for any step, short for who waits in vain."""

Call = Callable[[], object]


class CallTimer:
    """Runs a callable under the clock, each sample from the same global state, and notes what it changed in it."""

    def __init__(
        self,
        call: Call,
        name: str,
        *,
        clock: Clock,
        state: "GlobalState",
        memory: MemoryWatch,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Wrap a callable; nothing runs yet. `timeout` is the longest time for one sample in seconds."""
        self.name = name
        self.changes: list[str] = []
        self._call = call
        self._clock = clock
        self._state = state
        self._limit = TimeLimit(timeout)
        self._memory = memory
        self._calls_made = 0
        self._fault: str | None = None

    def time(self, calls: int) -> int:
        """Return the nanoseconds of `calls` calls in a row, at least 1.

        Raises:
            RunError: The callable raised, did not return in time, or keeps too much memory; the error says in which
                of all its calls.
            SpecError: A call of it only makes a coroutine or a generator, whose body does not run.
        """
        call = self._call if self._calls_made else self._call_first
        clock, numbers = self._clock, range(calls)
        index = 0
        self._state.restore()  # also what other threads changed between two samples
        self._memory.before()
        try:
            with self._limit:  # the alarm is set before the clock starts and taken back after it stops
                clock.start()
                clock.begin()
                for index in numbers:  # noqa: B007  # the errors below say which call it was
                    call()
                clock.end()
                clock.stop()
        except OutOfTimeError as error:
            raise RunError(
                f"{self.name} did not return within {duration(self._limit.seconds)}, the limit for one sample, in its "
                f"call {self._calls_made + index + 1}; call it alone to see whether it ends, and give a longer "
                "timeout if it does"
            ) from error
        except Exception as error:
            raise RunError(self._explain(error, self._calls_made + index + 1)) from error
        finally:
            changed = self._state.find_changes()
            self._state.restore()
        if self._fault:
            raise SpecError(self._fault)
        self._calls_made += calls
        self.changes += [what for what in changed if what not in self.changes]
        (step,) = clock.read()
        self._memory.after(calls)
        return max(1, step.total[ClockName.HOST])

    def _call_first(self) -> None:
        returned = self._call()
        if inspect.iscoroutine(returned):
            returned.close()  # or Python warns that nobody awaited it
            self._fault = _explain_lazy(self.name, "a coroutine", "lambda: asyncio.run(f())")
        elif inspect.isasyncgen(returned):
            self._fault = _explain_lazy(self.name, "an async generator", "lambda: asyncio.run(go_through(f()))")
        elif inspect.isgenerator(returned):
            self._fault = _explain_lazy(self.name, "a generator", "lambda: list(f())")

    def warnings(self) -> tuple[str, ...]:
        """Say what the callable changed that others would have felt, and what was not watched."""
        changes = tuple(f"{self.name} changes {what}; it was set back after each sample" for what in self.changes)
        return (*changes, *self._limit.warnings(self.name))

    def _explain(self, error: Exception, number: int) -> str:
        if is_out_of_memory(error):
            return (
                f"{self.name} ran out of memory in its call {number}: {type(error).__name__}: {error}; "
                f"{self._memory.describe()}; give it less to do, or stop what else holds memory"
            )
        return f"{self.name} raised {type(error).__name__} in its call {number}: {error}; call it alone to see why"


def _explain_lazy(name: str, made: str, instead: str) -> str:
    return f"{name} returns {made}, so its body would never run; pass a function that runs it, as `{instead}`"


@contextmanager
def keep_samples(samples: Sequence[object]) -> Iterator[None]:
    """Hand on the samples that were complete before a RunError, in the error.

    Raises:
        RunError: The one that the block raised, with the samples.
    """
    try:
        yield
    except RunError as error:
        if not samples:
            raise
        kept = f"{error}; the {counted(len(samples), 'sample')} before it: `samples` of this error"
        raise RunError(kept, samples=tuple(samples)) from error.__cause__


def choose_calls_per_sample(timers: Sequence[CallTimer]) -> int:
    """Repeat calls inside a sample until the fastest callable takes long enough for the clock; return how many.

    All get the same number, so the cost of the loop (some 20 ns a call) is the same in all.

    Raises:
        RunError: A callable raised, or takes no measurable time.
    """
    calls = 1
    while True:
        shortest = min(min(timer.time(calls) for _ in range(2)) for timer in timers)
        if shortest >= LEAST_SAMPLE_NS:
            return calls
        # Twice what should do, as the next reading may be a faster one.
        calls *= min(64, math.ceil(2 * LEAST_SAMPLE_NS / shortest))
        if calls > MOST_CALLS:
            raise RunError(
                f"{MOST_CALLS:,} calls together take less than {duration(LEAST_SAMPLE_NS * 1e-9)} on this clock; "
                "give the callables more to do"
            )


def batching_note(calls: int) -> tuple[str, ...]:
    """Say that samples are batches, where they are."""
    if calls == 1:
        return ()
    return (f"one call takes less than {duration(LEAST_SAMPLE_NS * 1e-9)}: each sample is {calls:,} calls in a row",)


class GlobalState:
    """What a callable can change for the one after it: random states, default dtype and default device."""

    def __init__(self, device: torch.device) -> None:
        """Remember the state as it is now."""
        self._device = device
        self._dtype = torch.get_default_dtype()
        self._default_device = torch.get_default_device()
        self._torch = torch.get_rng_state()
        self._torch_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._python = random.getstate()
        self._numpy: dict[str, Any] = np.random.get_state(legacy=False)  # pyright: ignore[reportAttributeAccessIssue]

    def restore(self) -> None:
        """Set all of it back."""
        torch.set_default_dtype(self._dtype)
        if torch.get_default_device() != self._default_device:
            # None, not "cpu": an explicit default makes every later torch call slower.
            torch.set_default_device(None if self._default_device.type == "cpu" else self._default_device)
        torch.set_rng_state(self._torch)
        if self._torch_cuda is not None:
            torch.cuda.set_rng_state(self._torch_cuda, self._device)
        random.setstate(self._python)
        np.random.set_state(self._numpy)

    def find_changes(self) -> list[str]:
        """Name what is no longer as it was."""
        numpy_state: dict[str, Any] = np.random.get_state(legacy=False)["state"]  # pyright: ignore[reportAttributeAccessIssue]
        numpy_before = self._numpy["state"]
        is_same_numpy = numpy_state["pos"] == numpy_before["pos"] and np.array_equal(
            numpy_state["key"], numpy_before["key"]
        )
        is_same_device_state = self._torch_cuda is None or torch.equal(
            torch.cuda.get_rng_state(self._device), self._torch_cuda
        )
        names = {
            f"torch's default dtype (to {torch.get_default_dtype()})": torch.get_default_dtype() == self._dtype,
            f"torch's default device (to {torch.get_default_device()})": torch.get_default_device()
            == self._default_device,
            "torch's global random state": torch.equal(torch.get_rng_state(), self._torch),
            "the device's global random state": is_same_device_state,
            "Python's global random state": random.getstate() == self._python,
            "numpy's global random state": is_same_numpy,
        }
        return [name for name, is_same in names.items() if not is_same]


def find_device(name: str | None) -> torch.device:
    """Return the named device, or the current CUDA device if there is one, or else the CPU.

    Raises:
        SpecError: The name is none of a CPU or a CUDA device.
        UnsupportedError: There is no such device here.
    """
    if name is None:
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SpecError(f"unknown device {name!r}; known: cpu, cuda, cuda:0, cuda:1, …") from error
    if device.type not in {"cpu", "cuda"}:
        raise SpecError(f"device {name!r} has no clock here; known: cpu, cuda, cuda:0, cuda:1, …")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedError(f"device {name!r} is not there: {counted(torch.cuda.device_count(), 'CUDA device')}")
    return device
