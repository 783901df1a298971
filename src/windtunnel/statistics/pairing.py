"""How pairs are taken: who goes when, when it is enough, and what is said of them in the end."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from windtunnel.language import counted, say
from windtunnel.statistics.paired import (
    ALPHA_OF_ALL_LOOKS,
    LEAST_PAIRS,
    Effect,
    Judgement,
    Side,
    Verdict,
    draw_block,
    fewest_pairs,
    judge,
    level_of_a_look,
    looks,
    over_looks,
)
from windtunnel.units import change, duration, percent

DEFAULT_DELTA = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPlan:
    """When two sides are known well enough, and how long to try.

    Attributes:
        delta: Equivalent means: within this fraction of each other.
        target: Half-width that the interval of the effect must reach, a fraction; None: any that gives a verdict.
        max_pairs: An even number from LEAST_PAIRS.
        max_seconds: Checked between pairs, so one slow pair can exceed it.
        error: The most equal sides that all looks together may declare different; less than the default where many
            comparisons are read as one answer.
        work_ratio: Work of B's step over that of A's: effects are in time for a unit of work. 2 where B's batch is
            twice as large, and both are compared by the time of a token.
    """

    delta: float = DEFAULT_DELTA
    target: float | None = None
    max_pairs: int
    max_seconds: float
    error: float = ALPHA_OF_ALL_LOOKS
    work_ratio: float = 1.0

    def faults(self) -> list[str]:
        """Return one message for each value that is out of its range."""
        faults: list[str] = []
        if self.target is not None and not self.target > 0:
            faults.append(f"target is {self.target}; it is a fraction above 0, such as 0.005, or None")
        if not 0 < self.delta < 1:
            faults.append(f"delta is {self.delta}; it is a fraction between 0 and 1, such as 0.01")
        if self.max_pairs < LEAST_PAIRS or self.max_pairs % 2:
            faults.append(f"max_pairs is {self.max_pairs}; it is an even number from {LEAST_PAIRS}")
        if not self.max_seconds > 0:
            faults.append(f"max_seconds is {self.max_seconds}; it is a number above 0")
        if not 0 < self.error <= ALPHA_OF_ALL_LOOKS:
            faults.append(f"error is {self.error}; it is a fraction above 0 and at most {ALPHA_OF_ALL_LOOKS}")
        if not 0 < self.work_ratio < math.inf:
            faults.append(f"work_ratio is {self.work_ratio}; it is a number above 0")
        return faults

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of pairs at which they are judged, the last one `max_pairs`."""
        return looks(self.max_pairs)

    @property
    def alpha(self) -> float:
        """The level of one look, so 1 - alpha is the confidence of the interval."""
        return level_of_a_look(len(self.looks), error=self.error)

    def judge(self, pairs: Sequence[float], null_pairs: Sequence[float]) -> Judgement:
        """Judge pairs that were taken by this plan, at the level of one look, by the time of a unit of work."""
        shift = math.log(self.work_ratio)
        by_work = [pair - shift for pair in pairs] if shift else pairs
        return judge(by_work, null_pairs, delta=self.delta, alpha=self.alpha)

    def is_enough(self, judgement: Judgement) -> bool:
        """Say whether a judgement has a verdict that is as precise as asked."""
        half_width = (judgement.effect.high - judgement.effect.low) / 2
        return judgement.verdict is not Verdict.INCONCLUSIVE and (self.target is None or half_width <= self.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One side's turn: a sample, or a block of samples with one number for all of them.

    `pair` numbers the pair of A and B that it belongs to, `null_pair` that of one side with itself, the control; None:
    it belongs to none. The two of a pair are in the order in which they ran.
    """

    side: Side
    pair: int | None = None
    null_pair: int | None = None


Differences = tuple[list[float], list[float]]
"""log t_B - log t_A of each pair, and of each pair of the control log of the later over the earlier."""

Draw = Callable[[Random, int], tuple[Turn, ...]]


def draw_samples(generator: Random, first_pair: int) -> tuple[Turn, ...]:
    """Draw the turns of two pairs, and one of the control before, between or after them.

    The control is of A and in the next block of B: with a control of A alone A runs more often, and what runs more
    often is faster (docs/log.md, 2026-11-23).
    """
    order = [
        (Turn(side=first, pair=first_pair + index), Turn(side=_other(first), pair=first_pair + index))
        for index, first in enumerate(draw_block(generator))
    ]
    block = first_pair // 2
    null = Turn(side=Side.B if block % 2 else Side.A, null_pair=block)
    order.insert(generator.randrange(3), (null, null))
    return tuple(turn for pair in order for turn in pair)


def draw_processes(generator: Random, first_pair: int) -> tuple[Turn, ...]:
    """Draw the turns of two pairs in the order A B B A or B A A B, whose control is two neighbouring turns of A.

    After A B B A that takes one more turn of A. A turn is long here, so it serves in a pair and in the control.
    """
    sides = [side for first in draw_block(generator) for side in (first, _other(first))]
    turns = [Turn(side=side, pair=first_pair + index // 2) for index, side in enumerate(sides)]
    if turns[-1].side is Side.A:
        turns.append(Turn(side=Side.A))
    places = (1, 2) if len(turns) == len(sides) else (-2, -1)
    for place in places:
        turns[place] = replace(turns[place], null_pair=first_pair // 2)
    return tuple(turns)


def _other(side: Side) -> Side:
    return Side.B if side is Side.A else Side.A


def differences(turns: Iterable[Turn], nanoseconds: Iterable[float]) -> Differences:
    """Return the differences of all pairs that are complete, from one number a turn, above 0."""
    pairs: dict[int, list[tuple[Turn, float]]] = {}
    null_pairs: dict[int, list[tuple[Turn, float]]] = {}
    for turn, value in zip(turns, nanoseconds, strict=True):
        if turn.pair is not None:
            pairs.setdefault(turn.pair, []).append((turn, value))
        if turn.null_pair is not None:
            null_pairs.setdefault(turn.null_pair, []).append((turn, value))
    return _logs(pairs.values()), _logs(null_pairs.values())


def _logs(pairs: Iterable[Sequence[tuple[Turn, float]]]) -> list[float]:
    logs: list[float] = []
    for pair in pairs:
        if len(pair) == 2:  # else it was cut short
            (earlier, before), (later, after) = pair
            logs.append(math.log(after / before) * (-1 if later.side < earlier.side else 1))
    return logs


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """How taking pairs ended; `is_enough` says whether it was for a verdict as precise as asked.

    `warnings` say that a target was asked for and not reached.
    """

    judgement: Judgement
    num_pairs: int
    is_enough: bool
    warnings: tuple[str, ...]


def take_pairs(
    plan: PairPlan,
    *,
    seed: int,
    draw: Draw,
    take: Callable[[tuple[Turn, ...]], None],
    read: Callable[[], Differences],
    elapsed: Callable[[], float],
) -> Taken:
    """Take pairs two by two until a look has a verdict as precise as asked, or a limit is reached.

    Args:
        plan: When to stop.
        seed: Of the order in which the two sides take turns.
        draw: Gives the turns of the next two pairs from the number of pairs so far.
        take: Measures these turns in this order.
        read: Returns the differences of all pairs so far; called at looks only.
        elapsed: The seconds that count towards the limit.
    """
    generator = Random(seed)
    num_pairs = 0
    while True:
        take(draw(generator, num_pairs))
        num_pairs += 2
        is_over = elapsed() >= plan.max_seconds or num_pairs >= plan.max_pairs
        if is_over or num_pairs in plan.looks:
            judgement = plan.judge(*read())
            is_enough = plan.is_enough(judgement)
            if is_over or is_enough:
                warnings = () if is_enough or plan.target is None else (_target_missed(plan, plan.target, num_pairs),)
                return Taken(judgement=judgement, num_pairs=num_pairs, is_enough=is_enough, warnings=warnings)


def _target_missed(plan: PairPlan, target: float, num_pairs: int) -> str:
    limit = _limit_reached(plan, num_pairs)
    return say("the target of ±{target} was not reached at {limit}", target=percent(target, 2), limit=limit)


def _limit_reached(plan: PairPlan, num_pairs: int) -> str:
    """Name the limit that ended the pairs where they were not enough."""
    if num_pairs >= plan.max_pairs:
        return say("the limit of {n} pairs", n=plan.max_pairs)
    return say("the limit of {time}", time=duration(plan.max_seconds))


def _explain(judgement: Judgement, plan: PairPlan, num_pairs: int) -> str:
    """Say why the verdict is what it is."""
    effect, seen, delta = judgement.effect, judgement.resolution, plan.delta
    limit, fewest = _limit_reached(plan, num_pairs), fewest_pairs(plan.alpha)
    is_within_delta = -delta <= effect.low and effect.high <= delta
    if judgement.verdict is Verdict.EQUIVALENT:
        return say("the interval lies within ±{delta}", delta=percent(delta))
    if judgement.verdict is not Verdict.INCONCLUSIVE:
        if is_within_delta:
            return say("the interval excludes 0, though it lies within ±{delta}", delta=percent(delta))
        return say("the interval excludes 0")
    if num_pairs < fewest:
        return say(
            "{pairs} within {limit} are too few for an interval, which takes {fewest}",
            pairs=counted(num_pairs, "pair"),
            limit=limit,
            fewest=fewest,
        )
    if seen is not None and (effect.low > 0 or effect.high < 0):
        return say(
            "the effect is smaller than the {seen} that the control shows this run could see", seen=percent(seen, 2)
        )
    return say("the interval holds 0 and reaches beyond ±{delta} at {limit}", delta=percent(delta), limit=limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What pairs say of B against A.

    `effect` is the change in time, a fraction: 0.02 means that B takes 2 % more. `resolution` is the smallest effect
    that the run could have seen, None where there were too few pairs. `p_value` allows for all looks.
    """

    verdict: Verdict
    effect: Effect
    resolution: float | None
    p_value: float
    pairs: int
    reason: str
    delta: float

    @classmethod
    def of(cls, judgement: Judgement, plan: PairPlan, num_pairs: int) -> Self:
        """Return what is said of pairs that were taken by `plan`, from their last judgement."""
        return cls(
            verdict=judgement.verdict,
            effect=judgement.effect,
            resolution=judgement.resolution,
            p_value=over_looks(judgement.p_value, len(plan.looks)),
            pairs=num_pairs,
            reason=_explain(judgement, plan, num_pairs),
            delta=plan.delta,
        )

    def sentence(self, a: str, b: str, where: str = "") -> str:
        """Say it in one sentence; `where` is what of the two was timed: ' in the whole step'."""
        claim, pairs = self._claim(a, b, where), counted(self.pairs, "pair")
        if self.resolution is None:
            return say("{claim} ({pairs})", claim=claim, pairs=pairs)
        seen = percent(self.resolution, 2)
        return say("{claim} ({pairs}; this run could see {effect})", claim=claim, pairs=pairs, effect=seen)

    def _claim(self, a: str, b: str, where: str) -> str:
        value, low, high = (change(x, 2) for x in (self.effect.value, self.effect.low, self.effect.high))
        share = percent(abs(self.effect.value), 2)
        match self.verdict:
            case Verdict.SLOWER:
                return say(
                    "{b} takes {share} more time than {a}{where} [{low}, {high}]",
                    b=b,
                    share=share,
                    a=a,
                    where=where,
                    low=low,
                    high=high,
                )
            case Verdict.FASTER:
                return say(
                    "{b} takes {share} less time than {a}{where} [{low}, {high}]",
                    b=b,
                    share=share,
                    a=a,
                    where=where,
                    low=low,
                    high=high,
                )
            case Verdict.EQUIVALENT:
                return say(
                    "{b} and {a} take the same time{where} within ±{delta}: {value} [{low}, {high}]",
                    b=b,
                    a=a,
                    where=where,
                    delta=percent(self.delta),
                    value=value,
                    low=low,
                    high=high,
                )
            case Verdict.INCONCLUSIVE:
                return say(
                    "whether {b} differs from {a}{where} is not known: {value} [{low}, {high}], {reason}",
                    b=b,
                    a=a,
                    where=where,
                    value=value,
                    low=low,
                    high=high,
                    reason=self.reason,
                )
