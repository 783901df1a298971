"""A power law through a few cells: its exponent with an interval, and whether an exponential fits worse."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLaw:
    """log t = a + slope · log x by least squares, with the interval of the slope.

    `exponential_is_worse` says that log t = a + b · x leaves at least twice the squared error.
    """

    slope: float
    low: float
    high: float
    exponential_is_worse: bool


def fit_power_law(xs: Sequence[float], seconds: Sequence[float]) -> PowerLaw | None:
    """Fit times against a positive quantity; None with fewer than four points or where x takes fewer than three.

    The interval is Student's, of least squares with n - 2 degrees of freedom: it takes the scatter of the cells around
    the law for independent, and does not know the deviation of each.
    """
    if len(xs) < 4 or len(set(xs)) < 3:
        return None
    logs = [math.log(value) for value in seconds]
    slope, error, unexplained = _least_squares([math.log(x) for x in xs], logs)
    reach = _student(len(xs) - 2) * error
    return PowerLaw(
        slope=slope,
        low=slope - reach,
        high=slope + reach,
        exponential_is_worse=_least_squares(xs, logs)[2] > 2 * unexplained,
    )


def _least_squares(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """Return the slope of a straight line, its standard error, and the share of the squares that it leaves.

    As scipy.stats.linregress, which takes 30 times as long.
    """
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    of_x = math.fsum((x - mean_x) ** 2 for x in xs)
    of_y = math.fsum((y - mean_y) ** 2 for y in ys)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / of_x
    left = math.fsum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return slope, math.sqrt(left / (len(xs) - 2) / of_x), left / of_y if of_y else 1.0


@cache
def _student(degrees: int) -> float:
    from scipy import stats  # only now: half of the commands never fit

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))
