"""How often a race finds the fastest of simulated candidates, what it claims where all are equal, what it spends.

    python benchmarks/racing.py [--trials 200]

Steps of one simulated machine: its level wanders (AR(1), 3 %), each step varies by 2 % on its own, 2 % of the steps
take half as long again. Spending is counted in steps, warm-up left out, and beside it what it takes to give every
candidate as many pairs as the one that needs the most. Takes about a minute.
"""

import argparse
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import PairPlan, Taken, Turn, differences, draw_samples, take_pairs
from windtunnel.statistics.racing import Ending, Look, Race

STEPS_OF_A_LOOK = 8
WANDERING, CORRELATION = 0.03, 0.98
NOISE = 0.02
OUTLIER_SHARE, OUTLIER = 0.02, math.log(1.5)

GRIDS: dict[str, tuple[float, ...]] = {
    "8, each 5 % slower than the next": tuple(1.05**place for place in range(8)),
    "8, one 5 % faster than the rest": (1.0, *(1.05,) * 7),
    "12, one 5 % faster, the rest up to 3x": (1.0, 1.05, 1.1, *np.linspace(1.2, 3, 9).tolist()),
    "2 equal": (1.0, 1.0),
    "8 equal": (1.0,) * 8,
}


class Machine:
    """Gives the time of a step, one after another; counts them."""

    def __init__(self, seed: int) -> None:
        """Begin somewhere in its wandering."""
        self._draw = np.random.default_rng(seed)
        self._level = WANDERING * self._draw.standard_normal()
        self.steps = 0

    def step(self, seconds: float) -> float:
        """Return how long a step takes this time."""
        self.steps += 1
        own = math.sqrt(1 - CORRELATION**2) * WANDERING * self._draw.standard_normal()
        self._level = CORRELATION * self._level + own
        outlier = OUTLIER if self._draw.random() < OUTLIER_SHARE else 0.0
        return seconds * math.exp(self._level + NOISE * self._draw.standard_normal() + outlier)

    def duel(self, a: float, b: float, plan: PairPlan, *, seed: int) -> Taken:
        """Compare two candidates as a worker does."""
        turns: list[Turn] = []
        times: list[float] = []

        def take(block: tuple[Turn, ...]) -> None:
            for turn in block:
                turns.append(turn)
                times.append(self.step(b if turn.side is Side.B else a))

        return take_pairs(
            plan,
            seed=seed,
            draw=draw_samples,
            take=take,
            read=lambda: differences(turns, times),
            elapsed=lambda: 0.0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Raced:
    """What came of a race: which are left by their places, what is known, and what it cost."""

    winners: frozenset[int]
    ending: Ending
    steps: int
    uniform_steps: int


def race(seconds: Sequence[float], seed: int) -> Raced:
    """Race candidates whose steps take so long, and count the steps of a uniform allocation beside it."""
    machine = Machine(seed)
    looks = {
        str(place): Look(times=tuple(machine.step(value) for _ in range(STEPS_OF_A_LOOK)))
        for place, value in enumerate(seconds)
    }
    raced = Race(looks)
    needed: dict[str, int] = dict.fromkeys(looks, 0)
    number = 0
    while duel := raced.next_duel():
        before, number = machine.steps, number + 1
        taken = machine.duel(
            seconds[int(duel.leader)],
            seconds[int(duel.challenger)],
            duel.plan(max_seconds=60.0),
            seed=1000 * seed + number,
        )
        needed[duel.challenger] += machine.steps - before
        raced.settle(duel, taken.judgement.verdict, taken.judgement.effect)
    return Raced(
        winners=frozenset(map(int, raced.winners)),
        ending=raced.ending,
        steps=machine.steps,
        uniform_steps=STEPS_OF_A_LOOK * len(seconds) + max(needed.values()) * (len(seconds) - 1),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    print(f"{trials} races each, Python {platform.python_version()}, numpy {np.__version__}\n")
    print("| candidates | the fastest alone | the fastest lost | one claimed | steps | uniform | factor |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, seconds in GRIDS.items():
        found = [race(seconds, seed) for seed in range(trials)]
        alone = sum(one.winners == {0} for one in found) / trials
        lost = sum(0 not in one.winners for one in found) / trials
        claimed = sum(one.ending is Ending.BEST for one in found) / trials
        steps, uniform = (float(np.mean([getattr(one, of) for one in found])) for of in ("steps", "uniform_steps"))
        print(
            f"| {name} | {100 * alone:.1f} % | {100 * lost:.1f} % | {100 * claimed:.1f} % | {steps:,.0f} "
            f"| {uniform:,.0f} | {uniform / steps:.2f} |"
        )


if __name__ == "__main__":
    main()
