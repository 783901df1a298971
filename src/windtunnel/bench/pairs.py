"""Two callables measured in pairs in one process, with a control of each against itself in the same run."""

import time
from collections.abc import Callable
from dataclasses import dataclass

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
from windtunnel.spec.quantities import find_faults, parse_fraction, parse_seconds
from windtunnel.statistics.paired import LEAST_PAIRS, LOOKS, Effect, Side, Verdict
from windtunnel.statistics.pairing import (
    DEFAULT_DELTA,
    Differences,
    Finding,
    PairPlan,
    Turn,
    differences,
    draw_samples,
    take_pairs,
)

WARMUP_CALLS = 5
"""Untimed calls of each side, in turn, before the first sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One timed run of `calls_per_sample` calls: of which side, in which pair, and as its first or second.

    `is_null` marks the pairs of the control, in which both samples are of one side.
    """

    side: Side
    pair: int
    slot: int
    is_null: bool
    nanoseconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What pairs of two callables say of the second against the first.

    `effect` is the change in time, a fraction: 0.02 means that the second takes 2 % more. `resolution` is the
    smallest effect that this run could have seen; no smaller one is called a difference. It is None when there were
    too few pairs. `p_value` allows for all looks, so a grid of comparisons can be given to `benjamini_hochberg`.
    """

    names: tuple[str, str]
    verdict: Verdict
    effect: Effect
    resolution: float | None
    p_value: float
    pairs: int
    reason: str
    delta: float
    calls_per_sample: int
    warmup_calls: int
    device: str
    seed: int
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one sentence."""
        finding = Finding(
            verdict=self.verdict,
            effect=self.effect,
            resolution=self.resolution,
            p_value=self.p_value,
            pairs=self.pairs,
            reason=self.reason,
            delta=self.delta,
        )
        return finding.sentence(*self.names)


def compare(
    f: Call,
    g: Call,
    *,
    target: float | str | None = None,
    delta: float | str = DEFAULT_DELTA,
    max_pairs: int = LOOKS[-1],
    max_seconds: float | str = 60.0,
    timeout: float | str = TIMEOUT_SECONDS,
    device: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure `g` against `f` in pairs and say whether it is faster, slower, equivalent, or not known.

    Both are called without arguments and what they return is dropped. Before each sample the global random state is
    set to what it was when this function was called, so both sides draw the same numbers. For each two pairs there
    is one of `f` or of `g` against itself, in turn. Sampling ends at the first look that has a verdict.

    Args:
        target: With it sampling goes on after a verdict until the interval's half-width is at most this fraction.
        delta: Equivalent means: within this fraction of each other.
        max_pairs: An even number from 8.
        max_seconds: Checked between pairs, so one slow call can exceed it.
        timeout: The longest time for one sample, as in `measure`; what cannot be stopped is said there.
        device: Synchronised before and after each sample. None takes the current CUDA device if there is one.
        seed: Of the order in which the two take turns.

    Raises:
        SpecError: An argument is not callable or out of its range, or returns a coroutine or a generator.
        UnsupportedError: The device is not there.
        RunError: A callable raised, which is the cause of this error; it did not return in time; it keeps more than
            half of the memory that was free; or it takes no measurable time. `samples` of the error are those before.
    """
    faults = [
        f"{name} is {value!r}, which is not callable; pass a function without arguments"
        for name, value in (("f", f), ("g", g))
        if not callable(value)
    ]
    faults += find_faults(
        {
            "target": (0.01 if target is None else target, parse_fraction),
            "delta": (delta, parse_fraction),
            "max_seconds": (max_seconds, parse_seconds),
            "timeout": (timeout, parse_seconds),
        }
    )
    if max_pairs < LEAST_PAIRS or max_pairs % 2:
        faults.append(f"max_pairs is {max_pairs}; it is an even number from {LEAST_PAIRS}")
    if faults:
        raise SpecError(*faults)
    place = find_device(device)
    with no_garbage_collection():
        return measure_pairs(
            f,
            g,
            clock=make_clock(place, num_phases=1, num_steps=1),
            plan=PairPlan(
                target=None if target is None else parse_fraction(target),
                delta=parse_fraction(delta),
                max_pairs=max_pairs,
                max_seconds=parse_seconds(max_seconds),
            ),
            timeout=parse_seconds(timeout),
            device=place,
            seed=seed,
        )


def measure_pairs(
    f: Call,
    g: Call,
    *,
    clock: Clock,
    plan: PairPlan,
    device: torch.device,
    seed: int,
    timeout: float = TIMEOUT_SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Do what `compare` says with a given clock; `now` gives the seconds that count towards the limit."""
    started_at = now()
    names = _name(f, g)
    state, memory = GlobalState(device), MemoryWatch(device, " or ".join(names))
    timers = {
        side: CallTimer(call, name, clock=clock, state=state, memory=memory, timeout=timeout)
        for side, call, name in zip(Side, (f, g), names, strict=True)
    }
    warmup_calls = 0
    while warmup_calls < WARMUP_CALLS and (not warmup_calls or now() - started_at < WARMUP_SHARE * plan.max_seconds):
        for timer in timers.values():
            timer.time(1)
        warmup_calls += 1
    calls = choose_calls_per_sample(tuple(timers.values()))

    turns: list[Turn] = []
    samples: list[Sample] = []

    def take(block: tuple[Turn, ...]) -> None:
        for turn in block:
            samples.append(_sample(turn, slot=len(samples) % 2, nanoseconds=timers[turn.side].time(calls)))
            turns.append(turn)

    def read() -> Differences:
        return differences(turns, [sample.nanoseconds for sample in samples])

    with keep_samples(samples):
        taken = take_pairs(plan, seed=seed, draw=draw_samples, take=take, read=read, elapsed=lambda: now() - started_at)
    found = Finding.of(taken.judgement, plan, taken.num_pairs)
    warnings = [*batching_note(calls), *(warning for timer in timers.values() for warning in timer.warnings())]
    warnings += (*memory.warnings(), *taken.warnings)
    return Comparison(
        names=names,
        verdict=found.verdict,
        effect=found.effect,
        resolution=found.resolution,
        p_value=found.p_value,
        pairs=found.pairs,
        reason=found.reason,
        delta=found.delta,
        calls_per_sample=calls,
        warmup_calls=warmup_calls,
        device=str(device),
        seed=seed,
        samples=tuple(samples),
        warnings=tuple(warnings),
    )


def _sample(turn: Turn, *, slot: int, nanoseconds: int) -> Sample:
    number = turn.null_pair if turn.pair is None else turn.pair
    assert number is not None  # each turn of callables is in one pair
    return Sample(side=turn.side, pair=number, slot=slot, is_null=turn.pair is None, nanoseconds=nanoseconds)


def _name(f: Call, g: Call) -> tuple[str, str]:
    """Return the names of two functions, 'f' and 'g' where they do not tell them apart."""
    names = getattr(f, "__name__", "<f>"), getattr(g, "__name__", "<g>")
    return names if names[0] != names[1] and all(name.isidentifier() for name in names) else ("f", "g")
