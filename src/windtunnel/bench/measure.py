"""One callable measured on its own: warmed up until steady, sampled until its median is known well enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from windtunnel.bench.callables import (
    TIMEOUT_SECONDS,
    WARMUP_SHARE,
    Call,
    CallTimer,
    GlobalState,
    batching_note,
    choose_calls_per_sample,
    find_device,
    keep_samples,
)
from windtunnel.bench.clock import Clock, make_clock
from windtunnel.bench.guards import MemoryWatch
from windtunnel.bench.loop import no_garbage_collection
from windtunnel.errors import SpecError
from windtunnel.spec.cell import FEWEST_SAMPLES
from windtunnel.spec.quantities import find_faults, parse_fraction, parse_seconds, parse_warmup
from windtunnel.statistics.interval import Estimate, median_interval
from windtunnel.statistics.series import irregularities_of, level_intervals
from windtunnel.statistics.steady import WINDOW, is_steady
from windtunnel.statistics.stopping import StoppingRule, StopReason, precision_of
from windtunnel.units import duration, percent


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What a callable takes.

    `estimate` is the median of one call in seconds with its interval. `nanoseconds` are the raw samples in order,
    each of `calls_per_sample` calls; those of the warm-up are kept beside them and enter nothing. `stopped_by`
    says what ended the samples.
    """

    name: str
    estimate: Estimate
    nanoseconds: tuple[int, ...]
    warmup_nanoseconds: tuple[int, ...]
    calls_per_sample: int
    stopped_by: StopReason
    device: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one sentence."""
        known = self.estimate
        interval = "no interval" if known.low is None else f"[{duration(known.low)}, {duration(known.high)}]"
        return f"{self.name} takes {duration(known.value)} {interval} (n = {known.n}, host clock, {self.device})"


def measure(
    f: Call,
    *,
    target: float | str = 0.01,
    warmup: int | Literal["auto"] = "auto",
    max_samples: int = 1000,
    max_seconds: float | str = 60.0,
    timeout: float | str = TIMEOUT_SECONDS,
    device: str | None = None,
) -> Measurement:
    """Measure any callable without arguments; what it returns is dropped.

    The host's clock is read around each sample, and on CUDA the device is waited for before both readings. Calls
    shorter than 50 µs are repeated inside a sample. Before each sample the global random state is set to what it
    was when this function was called.

    Args:
        target: Sampling ends when half of the interval is at most this fraction of the median.
        warmup: Untimed samples before; `auto` runs windows of five until two agree, for a quarter of the time at most.
        max_samples: The most samples.
        max_seconds: The longest time, warm-up included; checked between samples, so one slow call can exceed it.
        timeout: The longest time for one sample, a number of seconds or a text such as 30s. A call in Python that
            takes longer is stopped by an alarm of the process; where there is none (outside of the main thread, on
            Windows) a warning says so. A call that stays in C, as one that waits for a kernel that never ends, cannot
            be stopped from here: measure it in a process of its own that has a limit.
        device: Synchronised around each sample. None takes the current CUDA device if there is one.

    Raises:
        SpecError: An argument is out of its range, `f` cannot be called, or it returns a coroutine or a generator.
        UnsupportedError: The device is not there.
        RunError: `f` raised, which is the cause of this error; it did not return in time; it keeps more than half of
            the memory that was free; or it takes no measurable time. `samples` of the error are those before it.
    """
    faults = [] if callable(f) else [f"f is {f!r}, which is not callable; pass a function without arguments"]
    if max_samples < 1:
        faults.append(f"max_samples is {max_samples}; it is a number from 1")
    faults += find_faults(
        {
            "target": (target, parse_fraction),
            "max_seconds": (max_seconds, parse_seconds),
            "timeout": (timeout, parse_seconds),
            "warmup": (warmup, parse_warmup),
        }
    )
    if faults:
        raise SpecError(*faults)
    place = find_device(device)
    with no_garbage_collection():
        return measure_call(
            f,
            clock=make_clock(place, num_phases=1, num_steps=1),
            target=parse_fraction(target),
            warmup=parse_warmup(warmup),
            max_samples=max_samples,
            max_seconds=parse_seconds(max_seconds),
            timeout=parse_seconds(timeout),
            device=place,
        )


def measure_call(
    f: Call,
    *,
    clock: Clock,
    target: float,
    warmup: int | Literal["auto"],
    max_samples: int,
    max_seconds: float,
    device: torch.device,
    timeout: float = TIMEOUT_SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Do what `measure` says with a given clock; `now` gives the seconds that count towards the limit."""
    started_at = now()
    name = getattr(f, "__name__", type(f).__name__)
    memory = MemoryWatch(device, name)
    timer = CallTimer(f, name, clock=clock, state=GlobalState(device), memory=memory, timeout=timeout)
    first = timer.time(1)  # its cost is the callable's own start, which would make every batch too small
    calls = choose_calls_per_sample((timer,))
    warm = [first] if warmup and calls == 1 else []
    warnings = list(batching_note(calls))
    if warmup == "auto":
        while not is_steady(warm):
            warm += [timer.time(calls) for _ in range(WINDOW)]
            if now() - started_at > WARMUP_SHARE * max_seconds:
                warnings.append(f"not steady after {len(warm)} warm-up samples, where warm-up ends")
                break
    else:
        warm += [timer.time(calls) for _ in range(warmup - len(warm))]
    rule = StoppingRule(
        target=target,
        min_samples=min(FEWEST_SAMPLES, max_samples),
        max_samples=max_samples,
        max_seconds=max_seconds,
    )
    samples: list[int] = []
    stop = None
    while stop is None:
        with keep_samples(samples):
            samples.append(timer.time(calls))
        stop = rule.check(len(samples), now() - started_at, lambda: precision_of(samples))
    if stop.reason is not StopReason.TARGET:
        reached = "no interval" if stop.half_width is None else f"±{percent(stop.half_width, 2)}"
        warnings.append(f"the target of ±{percent(target, 2)} was not reached: the samples allow {reached}")
    per_call = [value * 1e-9 / calls for value in samples]
    levels = level_intervals(per_call, irregularities_of(per_call))
    if levels is not None:
        low, high = (duration(level.value) for level in levels)
        warnings.append(f"it takes {low} or {high}, two states; precision is that of each, not of the median")
    return Measurement(
        name=name,
        estimate=median_interval(per_call),
        nanoseconds=tuple(samples),
        warmup_nanoseconds=tuple(warm),
        calls_per_sample=calls,
        stopped_by=stop.reason,
        device=str(device),
        warnings=(*warnings, *timer.warnings(), *memory.warnings()),
    )
