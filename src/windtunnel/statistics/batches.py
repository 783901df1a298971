"""Series of mixed lengths as two-dimensional blocks of equal length, so that a rule runs once for thousands of them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_SAMPLES = 2**17
"""A block of so many samples, 1 MiB, stays in the cache of one core; smaller ones cost more calls than they gain."""


def blocks_of(series: Sequence[Sequence[float] | Floats]) -> Iterator[tuple[list[int], Floats]]:
    """Yield the places of series of one length and their samples, [places, samples], until each had its turn.

    Raises:
        ValueError: A series has no sample.
    """
    by_length: dict[int, list[int]] = {}
    for place, one in enumerate(series):
        by_length.setdefault(len(one), []).append(place)
    if 0 in by_length:
        raise ValueError(f"series number {by_length[0][0]} has no samples")
    for length, places in by_length.items():
        rows = max(1, BLOCK_SAMPLES // length)
        for begin in range(0, len(places), rows):
            chosen = places[begin : begin + rows]
            yield chosen, np.array([series[place] for place in chosen], dtype=np.float64)
