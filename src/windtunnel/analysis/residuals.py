"""What one block keeps for its backward, and what of it each way of saving memory would remove."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.records.memory_ledger import Category, Label, OperationKind

_KEPT_FOR_BACKWARD = frozenset({Category.ACTIVATIONS, Category.SCORES})
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """One tensor that is kept for backward."""

    label: Label
    size: int

    @property
    def remedies(self) -> tuple[str, ...]:
        """What would remove it: flash attention, fusing, checkpointing; judged by what the tensor is."""
        label = self.label
        if label.category is Category.SCORES:
            return ("flash attention", "checkpointing")
        if label.is_block_output:
            return ()
        return ("fusing", "checkpointing") if label.kind is OperationKind.POINTWISE else ("checkpointing",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Residuals:
    """What one block keeps when backward begins, largest first."""

    block: str
    num_blocks: int
    tensors: tuple[Residual, ...]

    @property
    def total(self) -> int:
        """All that the block keeps."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def largest(self) -> tuple[Residual, ...]:
        """The five largest."""
        return self.tensors[:_SHOWN]

    def removed_by(self, remedy: str) -> int:
        """Return the bytes of all tensors that a remedy would remove."""
        return sum(tensor.size for tensor in self.tensors if remedy in tensor.remedies)


def residuals(view: LedgerView) -> Residuals | None:
    """Return what the block that keeps most keeps; None where nothing is kept in blocks, or nobody watched operations.

    Matrices of scores go with flash attention. The results of element-wise operations go where they are fused into what
    reads them, which can compute them again: an upper bound, as a compiler may choose to keep some. Checkpointing of
    every block removes all but what one block hands to the next.
    """
    backward = view.phase("backward")
    if backward is None or not view.ledger.is_watched:
        return None
    labels = view.ledger.labels
    live = np.flatnonzero(view.is_live(backward.begin))
    by_block: dict[str, list[Residual]] = {}
    for place in live:
        label = labels[int(view.places[place])]
        if label.block and label.category in _KEPT_FOR_BACKWARD:
            by_block.setdefault(label.block, []).append(Residual(label=label, size=int(view.sizes[place])))
    if not by_block:
        return None
    block = max(by_block, key=lambda name: _sum(by_block[name]))  # of equals the first
    tensors = sorted(by_block[block], key=lambda tensor: -tensor.size)
    return Residuals(block=block, num_blocks=len(by_block), tensors=tuple(tensors))


def _sum(tensors: Sequence[Residual]) -> int:
    return sum(tensor.size for tensor in tensors)
