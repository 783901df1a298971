"""Whole steps run in other ways, in turn, to see what waiting for the device and waiting for the host cost."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random

import torch

from windtunnel.bench.clock import Clock, CudaClock, StepTimes
from windtunnel.bench.loop import no_garbage_collection, run_steps
from windtunnel.bench.spinning import SpinningClock
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName, Probe, ProbeName

LEAST_ROUNDS = 3
MOST_ROUNDS = 8
"""Six paired rounds are the fewest that have a 95 % interval; the interval of eight does not end at the extremes."""


def can_probe(device: torch.device) -> bool:
    """Say whether work is queued on the device, so that there is something to see."""
    return device.type == "cuda"


def probe_steps(
    workload: Workload, clock: Clock, device: torch.device, *, enqueue_seconds: float, seconds: float, seed: int
) -> tuple[Probe, ...]:
    """Run whole steps in three ways, in rounds of one step each, in balanced random order.

    `plain` runs a step as the samples were run. `synchronised` waits for the device after each phase too, as a
    timer of phases by the host's clock must. `queued` lets a kernel spin on the device while the host launches the
    step; the device then has all work before it and waits for nothing. The spin is before the first event, so it is
    in no time of the device; the host's own whole step would hold it, and is left out.

    The queue has limits; beyond them the device waits again, and what is seen of its waiting is a lower bound. CUDA
    holds about 1,024 launches, and a host that is further ahead is stopped. A step that reads a value back drains
    the queue there: so does fp16, whose GradScaler looks at the gradients before the optimizer. CUDA graphs are
    queued like any other work.

    Args:
        workload: The step.
        clock: A clock of `device` that has room for one step.
        device: An accelerator: see `can_probe`.
        enqueue_seconds: How long the host took to launch a step of the samples.
        seconds: After so many, and three rounds, no more rounds begin; eight rounds are the most.
        seed: Of the order.

    Raises:
        StepError: A step failed.
    """
    assert isinstance(clock, CudaClock)
    ways: dict[ProbeName, tuple[Workload, Clock]] = {
        ProbeName.PLAIN: (workload, clock),
        ProbeName.SYNCHRONISED: (_synchronised(workload, device), clock),
        ProbeName.QUEUED: (workload, SpinningClock(clock, enqueue_seconds=enqueue_seconds)),
    }
    steps: dict[ProbeName, list[StepTimes]] = {name: [] for name in ways}
    deadline = time.perf_counter() + seconds
    with no_garbage_collection():
        for number, order in enumerate(islice(draw_rounds(Random(seed)), MOST_ROUNDS), 1):
            for name in order:
                step, its_clock = ways[name]
                run_steps(step, its_clock, 1)
                steps[name] += its_clock.read()
            if number >= LEAST_ROUNDS and time.perf_counter() > deadline:
                break
    return tuple(
        Probe(name=name, clock=kept, nanoseconds=tuple(step.total[kept] for step in taken))
        for name, taken in steps.items()
        for kept in taken[0].total
    )


def time_growth(workload: Workload, clock: Clock) -> float:
    """Return the seconds of a step for which the caching allocator must first get its memory from the device again.

    What a step leaves behind for the next one (weights, the optimizer's state) stays; libraries and kernels are
    loaded, so next to another step it shows what growing the allocator's cache costs.

    Raises:
        StepError: The step failed.
    """
    workload.reset()  # before, or the memory of gradients and logits would still be in use
    torch.cuda.empty_cache()
    run_steps(workload, clock, 1)
    (step,) = clock.read()
    return step.total[ClockName.HOST] * 1e-9


def draw_rounds(generator: Random) -> Iterator[tuple[ProbeName, ...]]:
    """Yield the order of each round for ever: in every three rounds each way has each place once, else chance."""
    names = list(ProbeName)
    while True:
        generator.shuffle(names)
        for shift in generator.sample(range(len(names)), len(names)):
            yield (*names[shift:], *names[:shift])


def _synchronised(workload: Workload, device: torch.device) -> Workload:
    def waiting(phase: Phase) -> Phase:
        def run() -> None:
            phase.run()
            torch.cuda.synchronize(device)

        return Phase(name=phase.name, run=run)

    return replace(workload, phases=tuple(map(waiting, workload.phases)))
