"""Noise with a known centre: what the intervals of `windtunnel.statistics` are judged by, in tests and in benchmarks.

Times are relative to 1. A generator draws `trials` series of `n` samples as one array and keeps no state but the
random generator's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Series = NDArray[np.float64]  # [trials, n]

SPREAD = 0.01
"""Standard deviation of the iid and the AR(1) noise."""

QUIET_SPREAD = 0.003
"""Standard deviation of the noise on top of outliers and of clock states."""

PHI = 0.8
"""Correlation of neighbours in the AR(1) noise."""

RAMP = 0.04
"""What the ramp adds from the first sample to the last."""

OUTLIER_SHARE, OUTLIER = 0.03, 0.5

STATE_GAP = 0.03
"""The slower clock state takes this much longer."""

SWITCH = 0.07
"""Chance that the clock state changes between two samples."""


def iid(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw independent normal samples."""
    return 1 + SPREAD * draw.standard_normal((trials, n))


def ar1(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw a stationary first-order autoregression: neighbours correlate by `PHI`."""
    steps = draw.standard_normal((trials, n)) * np.sqrt(1 - PHI**2)
    steps[:, 0] = draw.standard_normal(trials)  # stationary from the first sample on
    return 1 + SPREAD * lfilter([1], [1, -PHI], steps, axis=1)


def ramp(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw independent samples on a straight line through 1."""
    return iid(draw, trials, n) + RAMP * np.linspace(-0.5, 0.5, n)


def outliers(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw quiet samples, a few of which take half as long again."""
    quiet = 1 + QUIET_SPREAD * draw.standard_normal((trials, n))
    return quiet + OUTLIER * (draw.random((trials, n)) < OUTLIER_SHARE)


def two_states(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw a clock that switches between two states at random and spends half of its time in each."""
    switches = draw.random((trials, n)) < SWITCH
    switches[:, 0] = draw.random(trials) < 0.5
    high = np.cumsum(switches, axis=1) % 2
    return 1 + STATE_GAP * (high - 0.5) + QUIET_SPREAD * draw.standard_normal((trials, n))


def step(draw: np.random.Generator, trials: int, n: int) -> Series:
    """Draw independent samples, slower by `STATE_GAP` from one place in the middle 60 % on."""
    places = draw.integers(n // 5, n - n // 5, (trials, 1))
    return iid(draw, trials, n) + STATE_GAP * (np.arange(n) >= places)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """One kind of noise, with the centres that an interval should cover."""

    title: str
    draw: Callable[[np.random.Generator, int, int], Series]
    mean: float = 1.0
    median: float = 1.0


MODELS = {
    "iid": Noise(title="iid 1 %", draw=iid),
    "ar1": Noise(title="AR(1) φ = .8, 1 %", draw=ar1),
    "ramp": Noise(title="ramp 4 % + iid 1 %", draw=ramp),
    # The median of the mixture lies where the quiet samples have their quantile .5 / .97.
    "outliers": Noise(
        title="3 % outliers of +50 %",
        draw=outliers,
        mean=1 + OUTLIER_SHARE * OUTLIER,
        median=1 + QUIET_SPREAD * 0.038768,
    ),
    "two_states": Noise(title="two clock states 3 %", draw=two_states),
}
