"""Two callables measured in pairs in one process, with a control of the first against itself in the same run."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

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
    find_faults,
    keep_samples,
)
from windtunnel.bench.clock import Clock, make_clock
from windtunnel.bench.guards import MemoryWatch
from windtunnel.bench.loop import no_garbage_collection
from windtunnel.errors import SpecError
from windtunnel.spec.quantities import parse_fraction, parse_seconds
from windtunnel.statistics.paired import (
    LEAST_PAIRS,
    LOOKS,
    Effect,
    Judgement,
    Side,
    Verdict,
    draw_block,
    judge,
    level_of_a_look,
    looks,
    over_looks,
)
from windtunnel.units import change, counted, duration, percent

WARMUP_CALLS = 5
"""Untimed calls of each side, in turn, before the first sample."""

_BLOCK_SAMPLES = 6
"""Two pairs and one of the control."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One timed run of `calls_per_sample` calls: of which side, in which pair, and as its first or second.

    `is_null` marks the pairs of the control, in which both samples are of side A.
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
        f, g = self.names
        value, low, high = (change(x, 2) for x in (self.effect.value, self.effect.low, self.effect.high))
        if self.verdict in {Verdict.FASTER, Verdict.SLOWER}:
            word = "more" if self.verdict is Verdict.SLOWER else "less"
            claim = f"{g} takes {percent(abs(self.effect.value), 2)} {word} time than {f} [{low}, {high}]"
        elif self.verdict is Verdict.EQUIVALENT:
            claim = f"{g} and {f} take the same time within ±{percent(self.delta)}: {value} [{low}, {high}]"
        else:
            claim = f"whether {g} differs from {f} is not known: {value} [{low}, {high}], {self.reason}"
        seen = "" if self.resolution is None else f"; this run could see {percent(self.resolution, 2)}"
        return f"{claim} ({counted(self.pairs, 'pair')}{seen})"


def compare(
    f: Call,
    g: Call,
    *,
    target: float | str | None = None,
    delta: float | str = 0.01,
    max_pairs: int = LOOKS[-1],
    max_seconds: float | str = 60.0,
    timeout: float | str = TIMEOUT_SECONDS,
    device: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure `g` against `f` in pairs and say whether it is faster, slower, equivalent, or not known.

    Both are called without arguments and what they return is dropped. Before each sample the global random state is
    set to what it was when this function was called, so both sides draw the same numbers. For each two pairs there
    is one of `f` against itself. Sampling ends at the first look that has a verdict.

    Args:
        target: With it sampling goes on after a verdict until the interval's half-width is at most this fraction.
        delta: Equivalent means: within this fraction of each other.
        max_pairs: An even number from 8.
        max_seconds: Checked between pairs, so one slow call can exceed it.
        timeout: The longest time for one sample, as in `measure`; what cannot be stopped is said there.
        device: Synchronised before and after each sample. None takes the current CUDA device if there is one.
        seed: Of the order in which the two take turns.

    Raises:
        SpecError: An argument is not callable or out of its range.
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
            target=None if target is None else parse_fraction(target),
            delta=parse_fraction(delta),
            max_pairs=max_pairs,
            max_seconds=parse_seconds(max_seconds),
            timeout=parse_seconds(timeout),
            device=place,
            seed=seed,
        )


def measure_pairs(
    f: Call,
    g: Call,
    *,
    clock: Clock,
    target: float | None,
    delta: float,
    max_pairs: int,
    max_seconds: float,
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
    while warmup_calls < WARMUP_CALLS and (not warmup_calls or now() - started_at < WARMUP_SHARE * max_seconds):
        for timer in timers.values():
            timer.time(1)
        warmup_calls += 1
    calls = choose_calls_per_sample(tuple(timers.values()))

    generator = Random(seed)
    samples: list[Sample] = []
    planned = looks(max_pairs)
    while True:
        with keep_samples(samples):
            for sample in _measure_block(timers, calls, generator, first_pair=len(samples) // _BLOCK_SAMPLES * 2):
                samples.append(sample)  # one by one: those of a block that is cut short are kept too
        num_pairs = len(samples) // _BLOCK_SAMPLES * 2
        is_over = now() - started_at >= max_seconds
        if is_over or num_pairs in planned:
            judgement = judge(
                _differences(samples),
                _differences(samples, is_null=True),
                delta=delta,
                alpha=level_of_a_look(len(planned)),
            )
            is_decided = _is_decided(judgement, target)
            if is_over or is_decided or num_pairs == max_pairs:
                break
    limit = f"the limit of {duration(max_seconds)}" if is_over else f"the limit of {max_pairs} pairs"
    warnings = [*batching_note(calls), *(warning for timer in timers.values() for warning in timer.warnings())]
    warnings += memory.warnings()
    if target is not None and not is_decided:
        warnings.append(f"the target of ±{percent(target, 2)} was not reached at {limit}")
    return Comparison(
        names=names,
        verdict=judgement.verdict,
        effect=judgement.effect,
        resolution=judgement.resolution,
        p_value=over_looks(judgement.p_value, len(planned)),
        pairs=num_pairs,
        reason=_explain(judgement, delta, num_pairs, limit),
        delta=delta,
        calls_per_sample=calls,
        warmup_calls=warmup_calls,
        device=str(device),
        seed=seed,
        samples=tuple(samples),
        warnings=tuple(warnings),
    )


def _measure_block(
    timers: Mapping[Side, CallTimer], calls: int, generator: Random, *, first_pair: int
) -> Iterator[Sample]:
    """Measure two pairs, and one of the control before, between or after them."""
    order = [
        (first_pair + index, first, Side.B if first is Side.A else Side.A)
        for index, first in enumerate(draw_block(generator))
    ]
    order.insert(generator.randrange(3), (first_pair // 2, Side.A, Side.A))
    for pair, *sides in order:
        for slot, side in enumerate(sides):
            time_spent = timers[side].time(calls)
            yield Sample(side=side, pair=pair, slot=slot, is_null=sides[0] is sides[1], nanoseconds=time_spent)


def _differences(samples: list[Sample], *, is_null: bool = False) -> list[float]:
    """Return log t_B - log t_A of each pair, or of each pair of the control the later over the earlier."""
    kept = [sample for sample in samples if sample.is_null == is_null]
    return [
        math.log(later.nanoseconds / earlier.nanoseconds) * (-1 if later.side < earlier.side else 1)
        for earlier, later in zip(kept[::2], kept[1::2], strict=True)
    ]


def _is_decided(judgement: Judgement, target: float | None) -> bool:
    half_width = (judgement.effect.high - judgement.effect.low) / 2
    return judgement.verdict is not Verdict.INCONCLUSIVE and (target is None or half_width <= target)


def _explain(judgement: Judgement, delta: float, num_pairs: int, limit: str) -> str:
    """Say why the verdict is what it is."""
    effect, seen = judgement.effect, judgement.resolution
    is_within_delta = -delta <= effect.low and effect.high <= delta
    if judgement.verdict is Verdict.EQUIVALENT:
        return f"the interval lies within ±{percent(delta)}"
    if judgement.verdict is not Verdict.INCONCLUSIVE:
        return "the interval excludes 0" + (f", though it lies within ±{percent(delta)}" if is_within_delta else "")
    if num_pairs < LEAST_PAIRS:
        return f"{counted(num_pairs, 'pair')} within {limit} are too few for an interval, which takes {LEAST_PAIRS}"
    if seen is not None and (effect.low > 0 or effect.high < 0):
        return f"the effect is smaller than the {percent(seen, 2)} that the control shows this run could see"
    return f"the interval holds 0 and reaches beyond ±{percent(delta)} at {limit}"


def _name(f: Call, g: Call) -> tuple[str, str]:
    """Return the names of two functions, 'f' and 'g' where they do not tell them apart."""
    names = getattr(f, "__name__", "<f>"), getattr(g, "__name__", "<g>")
    return names if names[0] != names[1] and all(name.isidentifier() for name in names) else ("f", "g")
