"""What times a step: marks at the beginning and the end of each phase, on the host and on the device."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import torch

from windtunnel.records.record import ClockName, whole_clock


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """One step: nanoseconds of each phase in order, by clock, and of the whole step.

    `began` is when it began, on the host's monotonic clock (perf_counter_ns). `is_gap_hidden` says whether the host
    had launched the whole step before the device began it; None where the clock does not see to that.
    """

    began: int
    phases: dict[ClockName, tuple[int, ...]]
    total: dict[ClockName, int]
    is_gap_hidden: bool | None = None

    @property
    def whole(self) -> int:
        """The whole step on the clock that it is judged by: the host's, or the device's where that holds it alone."""
        return self.total[whole_clock(self.total)]


@runtime_checkable  # tests check types as the code runs
class Clock(Protocol):
    """Marks where a step and its phases begin and end; nothing is read or computed before `read`.

    What happens between the end of a phase and the beginning of the next one is in the step and in no phase.
    """

    def start(self) -> None:
        """Wait until the device is idle, then mark the beginning of a step."""
        ...

    def begin(self) -> None:
        """Mark the beginning of a phase, without waiting for the device."""
        ...

    def end(self) -> None:
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

    def begin(self) -> None:
        """Mark the beginning of a phase."""
        self._steps[-1].append(time.perf_counter_ns())

    def end(self) -> None:
        """Mark the end of a phase."""
        self._steps[-1].append(time.perf_counter_ns())

    def stop(self) -> None:
        """Mark the end of the step."""
        self._ends.append(time.perf_counter_ns())

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps; a step that an error cut short has no end and is left out."""
        steps = tuple(
            StepTimes(
                began=marks[0], phases={ClockName.HOST: _phase_times(marks)}, total={ClockName.HOST: end - marks[0]}
            )
            for marks, end in zip(self._steps, self._ends, strict=False)
        )
        self._steps, self._ends = [], []
        return steps

    def spans(self) -> tuple[int, ...]:
        """Return the time from the first beginning to the last end of a phase, of the steps that `read` will give."""
        return tuple(marks[-1] - marks[1] for marks, _ in zip(self._steps, self._ends, strict=False))


class CudaClock:
    """Three clocks at once: host wall around the synchronised step, CUDA events and host time around each phase.

    Events resolve about 0.5 µs (CUDA Runtime API, cudaEventElapsedTime). They are recorded in the current
    stream, so a phase begins on the device when what was launched before it is done, and ends when its own last
    kernel is. The whole step on the device and enqueue clocks is from the first beginning to the last end.
    """

    def __init__(self, device: torch.device, *, num_phases: int, num_steps: int) -> None:
        """Create all events now, so that no step pays for them; at most `num_steps` steps between two reads."""
        self._device = device
        self._events = [[torch.cuda.Event(enable_timing=True) for _ in range(2 * num_phases)] for _ in range(num_steps)]
        self._stream = torch.cuda.current_stream(device)  # once: looking it up takes as long as recording
        for event in chain.from_iterable(self._events):
            event.record(self._stream)  # torch makes the event of the driver when it is first recorded
        self._host = HostClock()
        self._step = -1
        self._mark = 0

    def start(self) -> None:
        """Wait for the device, then mark the beginning on the host."""
        self._step, self._mark = self._step + 1, 0
        torch.cuda.synchronize(self._device)
        self._host.start()

    def begin(self) -> None:
        """Mark the beginning of a phase in the stream, then on the host: recording is no part of the launch."""
        self._record()
        self._host.begin()

    def end(self) -> None:
        """Mark the end of a phase on the host, then in the stream."""
        self._host.end()
        self._record()

    def stop(self) -> None:
        """Wait for the device, then mark the end on the host."""
        torch.cuda.synchronize(self._device)
        self._host.stop()

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps on the host, device and enqueue clocks."""
        steps: list[StepTimes] = []
        spans = self._host.spans()
        for host, span, events in zip(self._host.read(), spans, self._events, strict=False):
            enqueue = host.phases[ClockName.HOST]
            pairs = zip(events[::2], events[1::2], strict=True)
            device = tuple(round(1e6 * begin.elapsed_time(end)) for begin, end in pairs)
            whole = round(1e6 * events[0].elapsed_time(events[-1]))
            steps.append(
                StepTimes(
                    began=host.began,
                    phases={ClockName.DEVICE: device, ClockName.ENQUEUE: enqueue},
                    total={
                        ClockName.HOST: host.total[ClockName.HOST],
                        ClockName.DEVICE: whole,
                        ClockName.ENQUEUE: span,
                    },
                )
            )
        self._step = -1
        return tuple(steps)

    def has_begun(self) -> bool:
        """Say whether the device has come to the first phase of this step."""
        return self._events[self._step][0].query()

    def _record(self) -> None:
        self._events[self._step][self._mark].record(self._stream)
        self._mark += 1


def _phase_times(marks: Sequence[int]) -> tuple[int, ...]:
    """Return the times of the phases from the marks of a step: its start, then a beginning and an end for each."""
    return tuple(end - begin for begin, end in zip(marks[1::2], marks[2::2], strict=True))


def make_clock(device: torch.device, *, num_phases: int, num_steps: int) -> Clock:
    """Return the clock for a device."""
    if device.type == "cuda":
        return CudaClock(device, num_phases=num_phases, num_steps=num_steps)
    return HostClock()
