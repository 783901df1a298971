"""How often any of several looks at simulated pairs rejects "no difference", where the truth is 0 and where it is +1 %.

    python benchmarks/looks.py [--trials 5000]

Looks up to 128 and up to 2,048 pairs, each at level .01 and at the level that the comparisons use. The resolution and
the early "equivalent" of a comparison are left out; both lower the share. Takes some 5 minutes.
"""

import argparse
import math
import platform
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from windtunnel.statistics.paired import LOOKS, level_of_a_look, looks, p_values

Times = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

PLANS = ((128, 0.01), (LOOKS[-1], 0.01), (LOOKS[-1], level_of_a_look(len(LOOKS))))
"""Most pairs and level of one look; the last is what `windtunnel.compare` does."""


def draw_independent(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Draw log-times that vary by 1 %."""
    return rng.normal(0, 0.01, shape)


def draw_autocorrelated(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Draw log-times that vary by 1 % with a correlation of .8 between neighbours."""
    times = rng.normal(0, 0.006, shape)
    times[:, 0] /= 0.6
    for index in range(1, shape[1]):
        times[:, index] += 0.8 * times[:, index - 1]
    return times


def draw_skewed(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Draw log-times that are log-normal themselves: median 1 %, sigma 1."""
    return rng.lognormal(0, 1, shape) * 0.01


def draw_outliers(share: float) -> Times:
    """Return noise of 1 % in which such a share of the samples takes 50 to 300 % more."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        return draw_independent(rng, shape) + np.log1p(rng.uniform(0.5, 3, shape)) * (rng.random(shape) < share)

    return draw


NOISES: dict[str, Times] = {
    "iid 1 %": draw_independent,
    "AR(1) φ = .8, 1 %": draw_autocorrelated,
    "log-normal, σ = 1, median 1 %": draw_skewed,
    "iid 1 %, 10 % of the samples +50 to 300 %": draw_outliers(0.1),
    "iid 1 %, 40 % of the samples +50 to 300 %": draw_outliers(0.4),
}


def draw_differences(draw: Times, trials: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw log t_B - log t_A of as many pairs as the last look has; in each two pairs either side is first once."""
    times = draw(rng, (trials, 2 * LOOKS[-1]))
    later_over_earlier = (times[:, 1::2] - times[:, ::2]).reshape(trials, -1, 2)
    sign = rng.choice([-1, 1], later_over_earlier.shape[:2])[..., np.newaxis]
    return (later_over_earlier * sign * np.array([1, -1])).reshape(trials, -1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="False alarms and power of all looks together, simulated.")
    parser.add_argument("--trials", type=int, default=5000, help="simulated comparisons of each kind")
    trials: int = parser.parse_args().trials
    rng = np.random.default_rng(2026)
    heads = " | ".join(f"{len(looks(most))} looks at {level:.4f}" for most, level in PLANS)
    print(f"| noise of a sample | {heads} | the last, +1 % |\n|---|{'--:|' * (len(PLANS) + 1)}")
    for name, draw in NOISES.items():
        d = draw_differences(draw, trials, rng)
        equal, more = (np.stack([p_values(d[:, :n] + shift) for n in LOOKS]) for shift in (0.0, math.log(1.01)))
        shares = [np.mean(np.any(equal[: len(looks(most))] <= level, axis=0)) for most, level in PLANS]
        shares.append(np.mean(np.any(more <= PLANS[-1][1], axis=0)))
        print(f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |", flush=True)
    print(
        f"\n{trials:,} comparisons of each kind; Python {platform.python_version()}, numpy {np.__version__}, seed 2026."
    )


if __name__ == "__main__":
    main()
