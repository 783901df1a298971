"""The loop that everything is measured by, and how its times become samples."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from windtunnel.bench.clock import Clock, StepTimes
from windtunnel.bench.workload import Workload
from windtunnel.records.record import ClockName, Samples


class StepError(Exception):
    """A phase of a step raised; the error itself is the cause."""

    def __init__(self, phase: str) -> None:
        """Keep the name of the phase."""
        super().__init__(phase)
        self.phase = phase


def run_steps(workload: Workload, clock: Clock, count: int) -> None:
    """Run `count` steps under the clock; between the two marks of a phase there is nothing but the phase itself.

    Raises:
        StepError: A phase raised. The steps before it are complete and can be read from the clock.
    """
    phase = workload.phases[0]
    with no_garbage_collection():
        try:
            for _ in range(count):
                workload.reset()
                clock.start()
                for phase in workload.phases:
                    clock.begin()
                    phase.run()
                    clock.end()
                clock.stop()
        except Exception as error:
            raise StepError(phase.name) from error


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect now and not inside a sample, where Python would stop the host for milliseconds at random.

    Inside another such region it does nothing: steps that are run one by one are collected once.
    """
    if not gc.isenabled():
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def to_samples(workload: Workload, *, warmup: Sequence[StepTimes], timed: Sequence[StepTimes]) -> tuple[Samples, ...]:
    """Sort step times into one series for each phase and clock; a step of one phase has no separate whole."""
    steps = timed or warmup
    if not steps:
        return ()
    series = [
        Samples(
            phase=phase.name,
            clock=clock,
            nanoseconds=tuple(step.phases[clock][index] for step in timed),
            warmup_nanoseconds=tuple(step.phases[clock][index] for step in warmup),
        )
        for index, phase in enumerate(workload.phases)
        for clock in steps[0].phases
        if phase.name != workload.total
    ]
    series += [
        Samples(
            phase=workload.total,
            clock=ClockName(clock),
            nanoseconds=tuple(step.total[clock] for step in timed),
            warmup_nanoseconds=tuple(step.total[clock] for step in warmup),
        )
        for clock in steps[0].total
    ]
    return tuple(series)
