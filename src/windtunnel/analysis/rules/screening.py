"""Which observations may enter a fit, a ratio or a range: no cliff, and no mean that one outlier made."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from windtunnel.analysis.observed import SIZE_FIELDS, Configuration, Observation, Observed
from windtunnel.language import say, word

OUTLIER_CV = 0.4
"""From this deviation over mean on, one sample out of a few can be the reason, and the mean describes none of them."""
CLIFF_RATIO = 10.0
"""Backward is 2 times forward by its FLOPs; beyond this it is something else."""
CLIFF_DROP = 5.0
"""How far the rate of a phase may fall below both neighbours."""


def has_outlier(one: Observation) -> bool:
    """Whether the deviation of an observation is as large as one outlier makes it."""
    return one.cv is not None and one.cv >= OUTLIER_CV


@lru_cache(maxsize=2)  # every second rule asks, each time of the same observations
def cliffs(observed: Observed) -> Mapping[Observation, float]:
    """Return the observations that fall off: backward, or all of a step, to their multiple of forward."""
    found: dict[Observation, float] = {}
    phases = ("backward", "forward_backward")
    for over, under in itertools.chain.from_iterable(pairs_of(observed, phase, "forward") for phase in phases):
        ratio = over.mean / under.mean
        if ratio > CLIFF_RATIO + (over.phase == "forward_backward") and not has_outlier(under):
            found[over] = ratio
    return found


def usable(observed: Observed, *phases: str) -> tuple[Observation, ...]:
    """Return the valid observations of these phases without cliffs and outliers, and without cold ones beside warm."""
    fallen = cliffs(observed)
    valid = observed.valid(*phases)
    has_warm = any(one.config.warmup for one in valid)
    return tuple(
        one for one in valid if one not in fallen and not has_outlier(one) and not (has_warm and one.config.warmup == 0)
    )


@lru_cache(maxsize=8)
def pairs_of(observed: Observed, over: str, under: str) -> Sequence[tuple[Observation, Observation]]:
    """Return each observation of phase `over` with that of phase `under` in the same configuration."""
    below = {(one.series, one.config): one for one in observed.valid(under)}
    return [(one, below[one.series, one.config]) for one in observed.valid(over) if (one.series, one.config) in below]


def standard_error(one: Observation) -> float | None:
    """Return the standard error of a mean; with n unknown, its whole deviation: no claim then rests on a guess."""
    if one.std_seconds is None:
        return None
    return one.std_seconds / math.sqrt(one.n) if one.n else one.std_seconds


def differ(a: Observation, b: Observation, share: float) -> bool:
    """Whether two means differ by more than three standard errors of their difference and by more than `share`."""
    errors = [standard_error(one) for one in (a, b)]
    noise = math.sqrt(sum((error or 0.0) ** 2 for error in errors))
    gap = abs(a.mean - b.mean)
    return gap > 3 * noise and gap > share * min(a.mean, b.mean)


def all_near(values: list[float], tolerance: float) -> bool:
    """Whether all values are within `tolerance` of the middle of their range, as a share of it."""
    middle = (max(values) + min(values)) / 2
    return max(values) <= middle * (1 + tolerance)


def trend(values: list[float]) -> int:
    """Return 1 where each value is above the one before, -1 where each is below, else 0."""
    steps = [after - before for before, after in itertools.pairwise(values)]
    if steps and all(step > 0 for step in steps):
        return 1
    return -1 if steps and all(step < 0 for step in steps) else 0


def sources(observations: tuple[Observation, ...] | list[Observation]) -> tuple[str, ...]:
    """Return where observations stand, each place once."""
    return tuple(dict.fromkeys(one.source for one in observations))


def series_name(one: Observation, *vary: str) -> str:
    """Return what people call a series: its phase, and what does not vary where that tells it from others."""
    config = one.config.without(*vary)
    others = tuple(other for other in config.others if other != ("workload", one.phase))
    fixed = replace(config, others=others).name
    phase = word(one.phase)
    return phase if fixed == Configuration().name else say("{phase}, {name}", phase=phase, name=fixed)


def scope(one: Observation, *vary: str) -> str:
    """Return what names a series, the same in every rule: its phase, what does not vary, and its table."""
    fixed = one.config.without(*vary)
    parts = [one.phase, fixed.name if fixed.name != Configuration().name else "", f"table {one.series}"]
    parts += [f"{name} {value}" for name in SIZE_FIELDS if (value := getattr(fixed, name)) is not None]
    return ", ".join(part for part in parts if part)


def cell(one: Observation) -> str:
    """Return what names one observation and no other."""
    return f"{one.phase}, {one.config.name}, {one.source}"
