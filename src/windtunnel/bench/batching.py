"""Phases that are too short for the clock: how often to run each in a row, and the time of one run."""

from collections.abc import Sequence
from dataclasses import replace

from windtunnel.bench.clock import Clock, StepTimes
from windtunnel.records.record import ClockName

SHORTEST_SINGLE_SECONDS = 50e-6
"""Events resolve 0.5 µs: 1 % of this. Shorter phases are run several times in a row."""

LEAST_BATCH_SECONDS = 100e-6
MOST_RUNS = 1024

NOT_BATCHED = (
    "a phase takes less than 50 µs and is not run several times in a row, as each replay of a CUDA graph overwrites "
    "what the one before returned"
)

LOOK_STEPS = 3
"""The first steps of a warm-up, of which the fastest says how long a phase takes; the first one loads kernels."""


def runs_needed(steps: Sequence[StepTimes]) -> int:
    """Return how often to run each phase in a row: a power of two, 1 where the shortest phase is long enough alone."""
    if not steps:
        return 1
    clock = ClockName.DEVICE if ClockName.DEVICE in steps[0].phases else ClockName.HOST
    shortest = min(min(step.phases[clock]) for step in steps) * 1e-9
    if shortest >= SHORTEST_SINGLE_SECONDS:
        return 1
    runs = 2
    while runs < MOST_RUNS and runs * shortest < LEAST_BATCH_SECONDS:
        runs *= 2
    return runs


def warn_of_batches(runs: int) -> str:
    """Say what a cold cache means where phases run several times in a row."""
    return f"each sample is the mean of {runs} runs in a row; only the first finds a cold cache"


class BatchClock:
    """A clock for steps that run each phase several times in a row: it reads the mean time of one run."""

    def __init__(self, clock: Clock, runs: int) -> None:
        """Divide what `clock` reads by `runs`."""
        self._clock = clock
        self._runs = runs
        self.start, self.begin, self.end, self.stop = clock.start, clock.begin, clock.end, clock.stop

    def read(self) -> tuple[StepTimes, ...]:
        """Return the complete steps, each with the time of one run of its phases."""
        return tuple(
            replace(
                step,
                phases={clock: tuple(each // self._runs for each in times) for clock, times in step.phases.items()},
                total={clock: time // self._runs for clock, time in step.total.items()},
            )
            for step in self._clock.read()
        )
