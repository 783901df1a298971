"""A power law through a few cells: its exponent with an interval, and whether an exponential fits worse."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    from scipy import stats  # only now: half of the commands never fit

    logs = [math.log(value) for value in seconds]
    found = stats.linregress([math.log(x) for x in xs], logs)
    slope, error = float(found.slope), float(found.stderr)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(xs) - 2)) * error
    straight = stats.linregress(list(xs), logs)
    unexplained = 1 - float(straight.rvalue) ** 2
    return PowerLaw(
        slope=slope,
        low=slope - reach,
        high=slope + reach,
        exponential_is_worse=unexplained > 2 * (1 - float(found.rvalue) ** 2),
    )
