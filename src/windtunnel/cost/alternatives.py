"""What could be changed of a cell that does not fit, so that by prediction it does."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from windtunnel.cost.grouping import best_grouping
from windtunnel.cost.layout import Layout
from windtunnel.cost.prediction import Fit, Prediction, Target, predict
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec

Changes = Mapping[str, str | int]
"""Fields of a cell with other values."""

_NOTHING: Changes = {}

_WITH_SCORES = ("eager", "compiled")
"""Attention that holds its scores."""

_FUSED = ("flash-triton", "sdpa-efficient")
"""What never holds them: our own kernels, and for older devices and wider heads torch's."""

_MOST_DEVICES = 1024
"""If a cell does not fit when so many share its weights, what they share is not what is too much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """Changes of a cell, and the peak that it is predicted to have with them."""

    changes: Changes
    peak_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternatives:
    """What was tried of a cell.

    Attributes:
        fitting: What makes it fit.
        tried: Fields of which a change was predicted, whether it makes the cell fit or not.
        unknown: Fields of which no change can be predicted, and why.
        with_spreading: What makes it fit over more devices by fsdp, which may be no change; None where nothing does, or
            where spreading is not needed.
    """

    fitting: tuple[Alternative, ...] = ()
    tried: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    with_spreading: Changes | None = None


def alternatives(cell: Cell, target: Target, *, layout: Layout, optimizer: str) -> Alternatives:
    """Try single changes of a step of a model, and several at once where no single one makes it fit.

    Tried are fused attention, checkpointing, both, the largest smaller batch, and that with both. What the device
    would refuse is no change. Numbers stay what they are, but for rounding: precision is not changed.
    """
    if not isinstance(cell.model, ModelSpec):
        return Alternatives()
    trial = _Trial(cell=cell, target=target, layout=layout, optimizer=optimizer)
    attention, checkpoints = trial.attention(), trial.checkpoints(cell.model.num_layers)
    singles = [changes for changes in (attention, *checkpoints) if changes]
    together = min(({**attention, **changes} for changes in (_NOTHING, *checkpoints)), key=trial.needed_bytes)
    fitting = trial.fitting(*singles) or trial.fitting(together)
    if cell.batch_size > 1:
        singles.append(trial.largest_batch(_NOTHING))
        together = trial.largest_batch(together)
        fitting = (*fitting, *trial.fitting(singles[-1])) or trial.fitting(together)
    unknown = {name: trial.predicted(changes).unknown for changes in singles for name in changes}
    tried = {name for changes in singles for name in changes if trial.predicted(changes).memory}
    return Alternatives(
        fitting=fitting,
        tried=tuple(name for name in unknown if name in tried),
        unknown={name: reason for name, reason in unknown.items() if name not in tried},
        with_spreading=None if fitting else trial.with_spreading(_NOTHING, together),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """A cell and where it is to fit."""

    cell: Cell
    target: Target
    layout: Layout
    optimizer: str

    def predicted(self, changes: Changes, layout: Layout | None = None) -> Prediction:
        """Return the prediction of the cell with some changes."""
        changed = self.cell.model_copy(update=dict(changes))
        return predict(changed, self.target, layout=layout or self.layout, optimizer=self.optimizer)

    def needed_bytes(self, changes: Changes) -> float:
        """Return what the cell needs with some changes; infinity where that is not known."""
        memory = self.predicted(changes).memory
        return memory.needed_bytes if memory else math.inf

    def fitting(self, *trials: Changes) -> tuple[Alternative, ...]:
        """Return those of some changes that make the cell fit."""
        found = [(changes, self.predicted(changes)) for changes in trials if changes]
        return tuple(
            Alternative(changes=changes, peak_bytes=one.memory.peak_bytes)
            for changes, one in found
            if one.memory and one.fit is Fit.YES
        )

    def with_spreading(self, *trials: Changes) -> Changes | None:
        """Return the first changes that make the cell fit over many devices; None where none do."""
        layout = Layout(kind="fsdp", world_size=_MOST_DEVICES)
        return next((changes for changes in trials if self.predicted(changes, layout).fit is Fit.YES), None)

    def attention(self) -> Changes:
        """Return the fused attention that can take the place of one with scores; nothing where there is none."""
        others = ({"attention": name} for name in _FUSED if self.cell.attention in _WITH_SCORES)
        return next((changes for changes in others if not self.predicted(changes).is_refused), _NOTHING)

    def checkpoints(self, num_layers: int) -> Sequence[Changes]:
        """Return other checkpointings, the cheaper in time first; the groups with the lowest peak are among them."""
        if self.cell.workload == "forward":
            return ()
        lowest = best_grouping(num_layers, lambda size: self.needed_bytes({"checkpoint": f"every:{size}"}))
        names = dict.fromkeys(("selective", "every:1", f"every:{lowest}"))
        return [{"checkpoint": name} for name in names if name != self.cell.checkpoint]

    def largest_batch(self, changes: Changes) -> Changes:
        """Return the changes with the largest smaller batch that fits with them; a batch of one where none does."""

        def is_too_much(batch_size: int) -> bool:
            return self.predicted({**changes, "batch_size": batch_size}).fit is not Fit.YES

        fitting = bisect_right(range(1, self.cell.batch_size), False, key=is_too_much)
        return {**changes, "batch_size": max(1, fitting)}
