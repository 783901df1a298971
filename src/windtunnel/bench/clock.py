"""What times a step: marks at the phase boundaries, on the host and on the device."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch

from windtunnel.records.record import ClockName


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """One step: nanoseconds of each phase in order, by clock, and of the whole step.

    `began` is when it began, on the host's monotonic clock (perf_counter_ns).
    """

    began: int
    phases: dict[ClockName, tuple[int, ...]]
    total: dict[ClockName, int]


@runtime_checkable  # tests check types as the code runs
class Clock(Protocol):
    """Marks the boundaries of the phases of a step; nothing is read or computed before `read`."""

    def start(self) -> None:
        """Wait until the device is idle, then mark the beginning of a step."""
        ...

    def mark(self) -> None:
        """Mark the end of a phase, without waiting for the device."""
        ...

    def stop(self) -> None:
        """Wait until the device is idle, then mark the end of the step."""
        ...

    def read(self) -> tuple[StepTimes, ...]:
        """Return all complete steps since the last call, oldest first, and forget them."""
        ...


class HostClock:
    """The host's monotonic clock, for work that is done when the call returns (CPU)."""

    def __init__(self) -> None:
        """Start without any step."""
        self._steps: list[list[int]] = []
        self._ends: list[int] = []

    def start(self) -> None:
        """Mark the beginning of a step."""
        self._steps.append([time.perf_counter_ns()])

    def mark(self) -> None:
        """Mark the end of a phase."""
        self._steps[-1].append(time.perf_counter_ns())

    def stop(self) -> None:
        """Mark the end of the step."""
        self._ends.append(time.perf_counter_ns())

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps; a step that an error cut short has no end and is left out."""
        steps = tuple(
            StepTimes(
                began=marks[0], phases={ClockName.HOST: _differences(marks)}, total={ClockName.HOST: end - marks[0]}
            )
            for marks, end in zip(self._steps, self._ends, strict=False)
        )
        self._steps, self._ends = [], []
        return steps


class CudaClock:
    """Three clocks at once: host wall around the synchronised step, CUDA events and host time at the boundaries.

    Events resolve about 0.5 µs (CUDA Runtime API, cudaEventElapsedTime). They are recorded in the current
    stream, so a phase ends on the device when its last kernel does.
    """

    def __init__(self, device: torch.device, *, num_phases: int, num_steps: int) -> None:
        """Create all events now, so that no step pays for them; at most `num_steps` steps between two reads."""
        self._device = device
        self._events = [[torch.cuda.Event(enable_timing=True) for _ in range(num_phases + 1)] for _ in range(num_steps)]
        self._host = HostClock()
        self._step = -1
        self._phase = 0

    def start(self) -> None:
        """Wait for the device, then mark the beginning on all clocks."""
        self._step, self._phase = self._step + 1, 0
        torch.cuda.synchronize(self._device)
        self._host.start()
        self._events[self._step][0].record()

    def mark(self) -> None:
        """Mark the end of a phase in the stream and on the host."""
        self._phase += 1
        self._events[self._step][self._phase].record()
        self._host.mark()

    def stop(self) -> None:
        """Wait for the device, then mark the end on the host."""
        torch.cuda.synchronize(self._device)
        self._host.stop()

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps on the host, device and enqueue clocks."""
        steps: list[StepTimes] = []
        for host, events in zip(self._host.read(), self._events, strict=False):
            enqueue = host.phases[ClockName.HOST]
            device = tuple(round(1e6 * begin.elapsed_time(end)) for begin, end in pairwise(events))
            whole = round(1e6 * events[0].elapsed_time(events[-1]))
            steps.append(
                StepTimes(
                    began=host.began,
                    phases={ClockName.DEVICE: device, ClockName.ENQUEUE: enqueue},
                    total={
                        ClockName.HOST: host.total[ClockName.HOST],
                        ClockName.DEVICE: whole,
                        ClockName.ENQUEUE: sum(enqueue),
                    },
                )
            )
        self._step = -1
        return tuple(steps)


def _differences(marks: Sequence[int]) -> tuple[int, ...]:
    return tuple(end - begin for begin, end in pairwise(marks))


def make_clock(device: torch.device, *, num_phases: int, num_steps: int) -> Clock:
    """Return the clock for a device."""
    if device.type == "cuda":
        return CudaClock(device, num_phases=num_phases, num_steps=num_steps)
    return HostClock()
