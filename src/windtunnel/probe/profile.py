"""A few steps of a cell under torch's profiler, and what it costs to watch a step with each instrument."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from windtunnel.probe.kernels import Phases, ask_to_let_go_of_cupti, let_go_of_cupti
from windtunnel.probe.ranges import OpenRange, part_ranges
from windtunnel.records.profile import Instrument
from windtunnel.records.trace import phase_range, step_range

FEWEST_PAIRS, MOST_PAIRS = 3, 8
PAIRING_SECONDS = 6.0
"""About so long all pairs of all instruments may take."""
LONGEST_SECONDS = 30.0
"""Where even the fewest pairs take longer, only what a profile is made with is measured."""
OF_A_PROFILE = ("ranges", "ranges + profiler")
"""The instruments that a profile is made with."""
SWITCHING_SECONDS = 0.1
"""About so long an instrument takes to be switched on and off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """What is profiled: the phases of a step, what runs before it, and the model whose parts are told apart.

    `model` is None where they cannot be: compiled code is not compiled under hooks.
    """

    phases: Phases
    reset: Callable[[], None]
    device: torch.device
    model: nn.Module | None

    def run(self, mark: OpenRange | None = None, name: str = "") -> tuple[float, ...]:
        """Run a step; return the seconds of it, and those after which each phase had been handed over.

        The device is waited for before and after the step, not in between. `mark` opens ranges around the step and its
        phases.
        """
        self.reset()
        self.wait()
        ends: list[float] = []
        begin = time.perf_counter()
        with mark(name) if mark else nullcontext():
            for phase, run in self.phases:
                with mark(phase_range(phase)) if mark else nullcontext():
                    run()
                ends.append(time.perf_counter() - begin)
            self.wait()
        return (time.perf_counter() - begin, *ends)

    def wait(self) -> None:
        """Wait for all work of the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def ranges(self, open_range: OpenRange = record_function) -> AbstractContextManager[Any]:
        """Return what opens ranges around the parts of the model."""
        return part_ranges(self.model, open_range) if self.model is not None else nullcontext()


@dataclass(frozen=True, kw_only=True, slots=True)
class Watching:
    """Steps without an instrument, whole and by phase, and what each instrument adds; `left_out` were not measured."""

    stopwatch: tuple[float, ...]
    phases: Mapping[str, tuple[float, ...]]
    instruments: tuple[Instrument, ...]
    left_out: tuple[str, ...] = ()


def export_trace(steps: Steps, count: int, path: Path) -> None:
    """Profile `count` steps with ranges and write the trace; one step more runs first, which is in no range.

    Raises:
        RuntimeError: torch's profiler cannot write the file.
    """
    ask_to_let_go_of_cupti()
    with _no_garbage_collection(), steps.ranges(), profile(activities=_activities(steps.device)) as seen:
        steps.run()
        for number in range(count):
            steps.run(record_function, step_range(number))
    seen.export_chrome_trace(str(path))


def watch_instruments(steps: Steps, *, seed: int = 0) -> Watching:
    """Time plain steps, and steps under each instrument beside plain ones, in pairs of random order.

    An instrument is switched on before its step and off after it; only the step is timed.
    """
    ask_to_let_go_of_cupti()
    with _no_garbage_collection():
        took = steps.run()[0]
        chosen = every = _instruments(steps)
        if took * len(chosen) * (1 + 2 * FEWEST_PAIRS) > LONGEST_SECONDS:
            chosen = {name: chosen[name] for name in OF_A_PROFILE}
        pairs = _pairs(took, len(chosen))
        generator = random.Random(seed)
        instruments = tuple(_compared(name, make, steps, pairs, generator) for name, make in chosen.items())
        phases = [_by_phase(steps) for _ in range(pairs)]
    return Watching(
        stopwatch=tuple(seconds for one in instruments for seconds in one.plain),
        phases={
            name: tuple(seconds[place] for seconds in phases) for place, (name, _) in enumerate(steps.phases)
        },
        instruments=instruments,
        left_out=tuple(name for name in every if name not in chosen),
    )  # fmt: skip


def _pairs(step_seconds: float, num_instruments: int) -> int:
    fitting = PAIRING_SECONDS / (num_instruments * (2 * step_seconds + SWITCHING_SECONDS))
    return min(MOST_PAIRS, max(FEWEST_PAIRS, int(fitting)))


def _by_phase(steps: Steps) -> Sequence[float]:
    """Return the seconds of each phase, each with a wait for the device at its end."""
    steps.reset()
    steps.wait()
    found: list[float] = []
    for _, run in steps.phases:
        begin = time.perf_counter()
        run()
        steps.wait()
        found.append(time.perf_counter() - begin)
    return found


def _compared(
    name: str,
    make: Callable[[], AbstractContextManager[Any]],
    steps: Steps,
    pairs: int,
    generator: random.Random,
) -> Instrument:
    plain: list[float] = []
    watched: list[float] = []
    with make():  # what is loaded or compiled for the first use is none of its cost
        steps.run(record_function, step_range(0))
    if steps.device.type == "cuda":
        let_go_of_cupti(steps.device)
    for _ in range(pairs):
        order = [False, True]
        generator.shuffle(order)
        for is_watched in order:
            if is_watched:
                with make():
                    watched.append(steps.run(record_function, step_range(0))[0])
                if steps.device.type == "cuda":
                    let_go_of_cupti(steps.device)  # or the plain step after it is no plain one
            else:
                plain.append(steps.run()[0])
    return Instrument(name=name, plain=tuple(plain), watched=tuple(watched))


def _instruments(steps: Steps) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return the instruments by name, each one with all that those of torch before it have."""

    def under(**options: Any) -> AbstractContextManager[Any]:
        both = ExitStack()
        both.enter_context(steps.ranges())
        both.enter_context(profile(activities=_activities(steps.device), **options))
        return both

    found: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        **dict(zip(OF_A_PROFILE, (steps.ranges, under), strict=True)),
        "profiler with shapes": lambda: under(record_shapes=True),
        "profiler with stacks": lambda: under(with_stack=True),
        "profiler with memory": lambda: under(profile_memory=True),
    }
    if steps.device.type == "cuda":
        found["memory history"] = _memory_history
    return found


@contextmanager
def _memory_history() -> Iterator[None]:
    torch.cuda.memory._record_memory_history(stacks="python")  # pyright: ignore[reportPrivateUsage]  # the only way to it
    try:
        yield
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)  # pyright: ignore[reportPrivateUsage]


def _activities(device: torch.device) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect before and not inside a step, where Python would stop the host at random."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
