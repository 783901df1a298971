"""When warming up has ended: the last two windows of samples cannot be told apart by their ranks."""

from collections.abc import Sequence

WINDOW = 5

_LARGEST_EXTREME_U = 2
"""Mann and Whitney's U of two windows of 5 is at most 2, or at least 23, in 8 of 252 orders (3.2 %); 3 makes 5.6 %."""


def is_steady(samples: Sequence[float]) -> bool:
    """Tell whether the last two windows of five samples agree; False with fewer than ten samples.

    Steady samples are called unsteady in 3.2 % of the looks, which costs one more window. A slope much smaller than
    the noise passes: what is left of it must be looked for in the whole series, see `irregularities_of`.

    Source: Mann and Whitney 1947 (doi:10.1214/aoms/1177730491), exact distribution, two-sided at 5 %; equal samples
    count one half.
    """
    if len(samples) < 2 * WINDOW:
        return False
    earlier, later = samples[-2 * WINDOW : -WINDOW], samples[-WINDOW:]
    u = sum((a > b) + (a == b) / 2 for a in earlier for b in later)
    return _LARGEST_EXTREME_U < u < WINDOW * WINDOW - _LARGEST_EXTREME_U
