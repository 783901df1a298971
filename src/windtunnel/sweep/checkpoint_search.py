"""Which checkpointing holds the least, and which is the fastest that fits: predicted, then measured with neighbours."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from windtunnel.cost.grouping import best_grouping, blocks_of, groupings
from windtunnel.cost.parameters import parameter_count
from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS
from windtunnel.sweep.lines import Predict

OTHERS = ("none", "selective", "ffn")
"""What is measured beside the groups."""

NEIGHBOURS = 2
"""How many groupings on each side of the best one are measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one checkpointing took; None where it did not run to its end, or nobody measured it.

    `outcome` is `ok`, or what the cell ended with.
    """

    peak_bytes: int | None
    seconds: float | None
    outcome: str


Measure = Callable[[Sequence[str]], Mapping[str, Measured]]
"""Measures checkpointings, given by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSearch:
    """What was found for one cell.

    Attributes:
        cell: The cell, without any checkpointing.
        predicted: The peak of each checkpointing by closed form; of those without one, and of groups where nothing is
            known of the cell's attention, by the law of groups from two that were measured.
        measured: Those that were measured, groups by their size after the others.
        predicted_best: The size of group that was predicted to hold the least.
        law: Where the law puts the best size of group, a real number; None where the closed form was known.
        budget_bytes: What it has to fit into; None: no budget.
    """

    cell: Cell
    predicted: Mapping[str, int]
    measured: Mapping[str, Measured]
    predicted_best: int
    law: float | None
    budget_bytes: int | None

    @property
    def lowest(self) -> str | None:
        """The groups with the lowest measured peak; None where none ran."""
        peaks = {
            name: one.peak_bytes
            for name, one in self.measured.items()
            if name not in OTHERS and one.peak_bytes is not None
        }
        return min(peaks, key=lambda name: peaks[name]) if peaks else None

    @property
    def fastest(self) -> str | None:
        """The fastest of all that were measured within the budget; None where none is."""
        times = {name: one.seconds for name, one in self.measured.items() if self.fits(one) and one.seconds is not None}
        return min(times, key=lambda name: times[name]) if times else None

    def fits(self, one: Measured) -> bool:
        """Say whether what was measured is within the budget; all that ran is where there is none."""
        if one.peak_bytes is None:
            return False
        return self.budget_bytes is None or one.peak_bytes <= self.budget_bytes


def search_checkpoints(
    cell: Cell, *, predict: Predict, measure: Measure, budget_bytes: int | None = None
) -> CheckpointSearch:
    """Measure the checkpointings around the best one, and the kinds without groups.

    All groups compute each block once more, so they differ in memory and hardly in time. The best is found by the
    closed form; where there is none, from the peaks of groups of 1 and of √L blocks by the law of groups. While the
    lowest that was measured lacks a measured neighbour, that one is measured too.

    Args:
        cell: A whole model with a backward; its own checkpointing has no effect.
        predict: The peak of a cell in bytes, None where it is not known.
        measure: Measures checkpointings of this cell.
        budget_bytes: What the fastest has to fit into.

    Raises:
        SpecError: The cell is attention alone, or has no backward.
    """
    model = searchable_model(cell)
    search = _Search(cell, model, predict, measure)
    predicted_best = search.begin()
    search.descend()
    return CheckpointSearch(
        cell=cell,
        predicted=search.predicted,
        measured=search.ordered(),
        predicted_best=predicted_best,
        law=search.law,
        budget_bytes=budget_bytes,
    )


def group_name(num_blocks: int) -> str:
    """Return how groups of so many blocks are written."""
    return f"every:{num_blocks}"


class _Search:
    def __init__(self, cell: Cell, model: ModelSpec, predict: Predict, measure: Measure) -> None:
        self._cell, self._model, self._measure = cell, model, measure
        self._sizes = groupings(model.num_layers)
        self._measured: dict[str, Measured] = {}
        names = [*OTHERS, *map(group_name, self._sizes)]
        known = {name: predict(cell.model_copy(update={"checkpoint": name})) for name in names}
        self.predicted = {name: peak for name, peak in known.items() if peak is not None}
        self.law: float | None = None

    def begin(self) -> int:
        """Measure what is known to be of interest, and return the size of group that should be the best."""
        if all(group_name(size) in self.predicted for size in self._sizes):
            best = best_grouping(self._model.num_layers, lambda size: self.predicted[group_name(size)])
            self._take([*OTHERS, *self._around(best)])
            return best
        self._take([*OTHERS, *map(group_name, self._first_two())])
        best = self._best_by_law()
        self._take(self._around(best))
        return best

    def descend(self) -> None:
        """Measure beside the lowest until all of its neighbours are."""
        while (lowest := self._lowest()) is not None:
            missing = [name for name in self._around(lowest) if name not in self._measured]
            if not missing:
                return
            self._take(missing)

    def ordered(self) -> Mapping[str, Measured]:
        """Return what was measured in the order of tables."""
        names = [*OTHERS, *map(group_name, self._sizes)]
        return {name: self._measured[name] for name in names if name in self._measured}

    def _first_two(self) -> Sequence[int]:
        """Return two sizes far enough apart to tell what a block keeps: 1 and that nearest to √L."""
        root = math.sqrt(self._model.num_layers)
        return sorted({self._sizes[0], min(self._sizes[1:], key=lambda size: abs(size - root), default=self._sizes[0])})

    def _best_by_law(self) -> int:
        """Return the best size by the law of groups, as far as two measured ones tell; else single blocks."""
        peaks = [(size, self._measured[group_name(size)].peak_bytes) for size in self._first_two()]
        known = [(size, peak) for size, peak in peaks if peak is not None]
        if len(known) < 2:
            return self._sizes[0]
        blocks = blocks_of(
            known[0],
            known[1],
            num_layers=self._model.num_layers,
            boundary_bytes=_boundary_bytes(self._cell, self._model),
            gradient_bytes=_gradient_bytes(self._cell, self._model),
        )
        for size in self._sizes:
            self.predicted.setdefault(group_name(size), round(blocks.peak(size)))
        if blocks.block_bytes > 0:  # else what was measured is not of this form, and no larger group tells more
            self.law = blocks.best_real
        return best_grouping(self._model.num_layers, blocks.peak)

    def _around(self, size: int) -> list[str]:
        place = self._sizes.index(size)
        return [group_name(other) for other in self._sizes[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]]

    def _lowest(self) -> int | None:
        peaks = {size: one.peak_bytes for size in self._sizes if (one := self._measured.get(group_name(size)))}
        known = {size: peak for size, peak in peaks.items() if peak is not None}
        return min(known, key=lambda size: known[size]) if known else None

    def _take(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._measured]
        if missing:
            self._measured.update(self._measure(missing))


def searchable_model(cell: Cell) -> ModelSpec:
    """Return the model of a cell whose checkpointing can be searched.

    Raises:
        SpecError: The cell is attention alone or of the user's own code, or has no backward.
    """
    if isinstance(cell.model, OwnModel):
        raise SpecError(
            f"which blocks model {cell.model.name!r} has is not known here: search the checkpointing of a size or "
            "shape, or measure variants of your own, each as a model"
        )
    if not isinstance(cell.model, ModelSpec):
        raise SpecError("attention alone has no blocks to compute again: search the checkpointing of a whole model")
    if cell.workload == "forward":
        raise SpecError("forward keeps nothing for a backward: search with --mode forward_backward or train_step")
    return cell.model


def _boundary_bytes(cell: Cell, model: ModelSpec) -> int:
    """Return the bytes of the residual stream, which has the dtype of the weights also under autocast."""
    element_bytes = DTYPE_BYTES[PRECISIONS[cell.precision].weights]
    return cell.batch_size * cell.context_length * model.d_model * element_bytes


def _gradient_bytes(cell: Cell, model: ModelSpec) -> int:
    """Return the bytes of the weights of one block: what a block more adds to all of them."""
    one, two = (parameter_count(model.model_copy(update={"num_layers": layers})) for layers in (1, 2))
    return (two - one) * DTYPE_BYTES[PRECISIONS[cell.precision].weights]
