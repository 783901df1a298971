"""How large groups of blocks should be that are computed again in backward: the √N law and what it becomes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """A model as checkpointing sees it.

    Attributes:
        num_layers: Its blocks, all alike.
        block_bytes: What one block keeps for its backward while it is not computed again.
        boundary_bytes: What is kept of each group: the input of its first block.
        gradient_bytes: The gradients of one block's weights, which backward makes as it goes.
        fixed_bytes: All else at the peak: weights, optimizer state, logits.
    """

    num_layers: int
    block_bytes: float
    boundary_bytes: float
    fixed_bytes: float
    gradient_bytes: float = 0.0

    def peak(self, num_blocks: int) -> float:
        """Return the peak with groups of N blocks: while backward computes one of the G = ceil(L / N) groups again.

        At the first one, the last of the model, the inputs of all G groups are there; at each further one there is an
        input less, and the gradients of N blocks more. That is a line, so its most is at an end. Inside of a group each
        block gives up more than its gradients take, or checkpointing would be of no use. So:

            peak(N) = fixed + N · block + max(G · boundary, boundary + (G - 1) · N · gradient)

        Source: Chen et al. 2016 (arXiv:1604.06174), section 4.1, a segment's cost and one of each segment; gradients,
        which are not counted there, added.
        """
        return self.fixed_bytes + num_blocks * self.block_bytes + self.kept(num_blocks)

    def kept(self, num_blocks: int) -> float:
        """Return what is there besides the group that is computed again: inputs of groups, or gradients."""
        groups = math.ceil(self.num_layers / num_blocks)
        return max(groups * self.boundary_bytes, self.boundary_bytes + (groups - 1) * num_blocks * self.gradient_bytes)

    @property
    def best_real(self) -> float:
        """Where the peak is lowest if N need not be whole: √(L · boundary / block), at least 1.

        The derivative of L · boundary / N + N · block is 0 there. It is the √L of the law where a boundary costs as
        much as a block, as in a chain of single layers; a Transformer's block keeps many times its input, so there the
        best groups are smaller. Where its gradients are larger than its input, single blocks are best.
        """
        if self.gradient_bytes >= self.boundary_bytes:
            return 1.0
        return max(1.0, math.sqrt(self.num_layers * self.boundary_bytes / self.block_bytes))


def groupings(num_layers: int) -> tuple[int, ...]:
    """Return the sizes of groups worth trying, smallest first: of those that make as many groups, the smallest.

    A larger group that leaves as many of them keeps as many inputs and computes more again at once. About 2√L.
    """
    smallest = {math.ceil(num_layers / size): size for size in range(num_layers, 0, -1)}
    return tuple(sorted(smallest.values()))


def best_grouping(num_layers: int, peak: Callable[[int], float]) -> int:
    """Return the size of group with the lowest peak, the smallest of several."""
    return min(groupings(num_layers), key=lambda size: (peak(size), size))


def blocks_of(
    first: tuple[int, float],
    second: tuple[int, float],
    *,
    num_layers: int,
    boundary_bytes: float,
    gradient_bytes: float = 0.0,
) -> Blocks:
    """Return the blocks that follow from two groupings and their measured peaks, by `Blocks.peak`.

    All but `block` and `fixed` is known, and these are in it linearly.

    Args:
        first: A size of group and its peak.
        second: Another.
        num_layers: Blocks of the model.
        boundary_bytes: Bytes of the residual stream: batch · context · d_model elements.
        gradient_bytes: Bytes of one block's weights.
    """
    (n, of_n), (m, of_m) = first, second
    known = Blocks(
        num_layers=num_layers,
        block_bytes=0.0,
        boundary_bytes=boundary_bytes,
        gradient_bytes=gradient_bytes,
        fixed_bytes=0.0,
    )
    block = (of_m - known.kept(m) - of_n + known.kept(n)) / (m - n)
    return replace(known, block_bytes=block, fixed_bytes=of_n - known.kept(n) - n * block)
