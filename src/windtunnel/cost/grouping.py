"""How large groups of blocks should be that are computed again in backward: the √N law and what it becomes."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """A model as checkpointing sees it.

    Attributes:
        num_layers: Its blocks, all alike.
        block_bytes: What one block keeps for its backward while it is not computed again.
        boundary_bytes: What is kept of each group: the input of its first block.
        fixed_bytes: All else at the peak: weights, gradients, optimizer state, logits.
    """

    num_layers: int
    block_bytes: float
    boundary_bytes: float
    fixed_bytes: float

    def peak(self, num_blocks: int) -> float:
        """Return the peak with groups of so many blocks: when backward computes the last group again.

        Then every group's input is there, ceil(L / N) of them, and one whole group of N blocks:

            peak(N) = fixed + ceil(L / N) · boundary + N · block

        Source: Chen et al. 2016 (arXiv:1604.06174), section 4.1: a segment's cost plus one of each segment.
        """
        groups = math.ceil(self.num_layers / num_blocks)
        return self.fixed_bytes + groups * self.boundary_bytes + num_blocks * self.block_bytes

    @property
    def best_real(self) -> float:
        """Where the peak is lowest if N need not be whole: √(L · boundary / block).

        The derivative of L · boundary / N + N · block is 0 there. It is the √L of the law where a boundary costs as
        much as a block, as in a chain of single layers; a Transformer's block keeps many times its input, so there the
        best groups are smaller, mostly single blocks.
        """
        return math.sqrt(self.num_layers * self.boundary_bytes / self.block_bytes)


def groupings(num_layers: int) -> tuple[int, ...]:
    """Return the sizes of groups worth trying, smallest first: of those that make as many groups, the smallest.

    A larger group that leaves as many of them keeps as many inputs and computes more again at once. About 2√L.
    """
    smallest = {math.ceil(num_layers / size): size for size in range(num_layers, 0, -1)}
    return tuple(sorted(smallest.values()))


def best_grouping(num_layers: int, peak: Callable[[int], float]) -> int:
    """Return the size of group with the lowest peak, the smallest of several."""
    return min(groupings(num_layers), key=lambda size: (peak(size), size))


def blocks_of(first: tuple[int, float], second: tuple[int, float], *, num_layers: int, boundary_bytes: float) -> Blocks:
    """Return the blocks that follow from two groupings and their measured peaks, by `Blocks.peak`.

    Args:
        first: A size of group and its peak.
        second: Another.
        num_layers: Blocks of the model.
        boundary_bytes: Bytes of the residual stream: batch · context · d_model elements.
    """
    (n, of_n), (m, of_m) = first, second
    groups_n, groups_m = math.ceil(num_layers / n), math.ceil(num_layers / m)
    block = (of_m - of_n - (groups_m - groups_n) * boundary_bytes) / (m - n)
    fixed = of_n - groups_n * boundary_bytes - n * block
    return Blocks(num_layers=num_layers, block_bytes=block, boundary_bytes=boundary_bytes, fixed_bytes=fixed)
