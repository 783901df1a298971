"""A clock for steps on a device that has all work before it: a kernel spins there until the host has launched it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from windtunnel.bench.batching import BatchClock
from windtunnel.bench.cache import CacheFlush, FlushingClock
from windtunnel.bench.clock import Clock, CudaClock, StepTimes, make_clock
from windtunnel.records.record import ClockName

LONGEST_SPIN_SECONDS = 1.0
"""A host that takes longer to launch a step is one that waits for the device inside it, and no spin helps."""

FIRST_GUESS_SECONDS = 0.02
"""What a host may take to launch a step, before it is known: the first launches of a kernel load it."""

_FASTEST_CLOCK_HZ = 3e9  # no NVIDIA GPU is faster, so a spin of so many cycles lasts at least as long as is asked
_SPIN_FACTOR = 1.5
_SPIN_MARGIN_SECONDS = 1e-3


def make_attention_clock(
    device: torch.device, *, num_phases: int, num_steps: int, runs: int, flush: CacheFlush | None
) -> Clock:
    """Return the clock for steps of attention alone, with room for `num_steps` of them between two reads.

    Args:
        device: Where the steps run.
        num_phases: Of one step.
        num_steps: Between two reads.
        runs: How often the steps run each phase in a row.
        flush: What makes the cache cold before each step; None leaves it as the step before did.
    """
    clock = make_clock(device, num_phases=num_phases, num_steps=num_steps)
    if isinstance(clock, CudaClock):
        clock = SpinningClock(clock, prepare=flush.flush if flush else lambda: None)
    elif flush:
        clock = FlushingClock(clock, flush)
    return BatchClock(clock, runs) if runs > 1 else clock


class SpinningClock:
    """CUDA's clock, with a kernel that spins on the device between the start of a step and its first phase.

    The spin is before the first event, so it is in no time of the device, and neither is what the device would wait
    for the host. The host's own whole step holds the spin, and is left out. How long to spin follows from the fastest
    launch of a step so far, read or given: where the queue is full the host waits for the spin itself, so slower ones
    would make spins longer and longer.
    """

    def __init__(
        self,
        clock: CudaClock,
        *,
        enqueue_seconds: float = FIRST_GUESS_SECONDS,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Spin before the steps of `clock`.

        Args:
            clock: What times the steps.
            enqueue_seconds: How long the host takes to launch a step, as far as that is known.
            prepare: Launched after the spin and before the first phase, in no time either.
        """
        self._clock = clock
        self._enqueue_seconds = enqueue_seconds
        self._prepare = prepare
        self._is_gap_hidden: list[bool] = []
        self.begin, self.end = clock.begin, clock.end

    def start(self) -> None:
        """Wait until the device is idle, then keep it busy."""
        self._clock.start()
        seconds = min(LONGEST_SPIN_SECONDS, _SPIN_FACTOR * self._enqueue_seconds + _SPIN_MARGIN_SECONDS)
        cycles = round(seconds * _FASTEST_CLOCK_HZ)
        torch.cuda._sleep(cycles)  # pyright: ignore[reportPrivateUsage]  # the only kernel of torch that spins
        self._prepare()

    def stop(self) -> None:
        """See whether the device is still busy with the spin, then wait for it and mark the end of the step."""
        self._is_gap_hidden.append(not self._clock.has_begun())
        self._clock.stop()

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps on the device and enqueue clocks."""
        hidden, self._is_gap_hidden = self._is_gap_hidden, []
        steps = tuple(
            replace(step, total=_without_host(step), is_gap_hidden=is_hidden)
            for step, is_hidden in zip(self._clock.read(), hidden, strict=False)
        )
        spans = [step.total[ClockName.ENQUEUE] * 1e-9 for step in steps]
        self._enqueue_seconds = min([self._enqueue_seconds, *spans])
        return steps


def _without_host(step: StepTimes) -> dict[ClockName, int]:
    return {clock: nanoseconds for clock, nanoseconds in step.total.items() if clock != ClockName.HOST}


def warn_of_gaps(steps: Sequence[StepTimes]) -> tuple[str, ...]:
    """Say in how many steps the device may have waited for the host although a spin was to prevent it."""
    open_ = sum(step.is_gap_hidden is False for step in steps)
    if not open_:
        return ()
    return (
        f"in {open_} of {len(steps)} samples the device began before the host had launched the whole step: "
        "their times may hold waiting for the host",
    )
