"""What could be changed of a cell that does not fit, so that by prediction it does."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from windtunnel.cost.layout import Layout
from windtunnel.cost.prediction import Fit, Prediction, Target, predict
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.spec.model import ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """Fields of a cell with other values, and the peak that they are predicted to have."""

    changes: Mapping[str, str | int]
    peak_bytes: int


def alternatives(cell: Cell, target: Target, *, layout: Layout, optimizer: str) -> tuple[Alternative, ...]:
    """Return single changes of a step of a model that make it fit, and two at once where no single one does.

    Tried are fused attention, checkpointing, both, and the largest smaller batch. Numbers stay what they are, but for
    rounding: precision is not changed.
    """
    if not isinstance(cell.model, ModelSpec):
        return ()

    def predicted(changes: Mapping[str, str | int]) -> Prediction:
        return predict(cell.model_copy(update=dict(changes)), target, layout=layout, optimizer=optimizer)

    single = [found for changes in _single_changes(cell) if (found := _fitting(changes, predicted(changes)))]
    both = {key: value for changes in _single_changes(cell) for key, value in changes.items()}
    pair = None if single else _fitting(both, predicted(both))

    def is_too_much(batch_size: int) -> bool:
        return predicted({"batch_size": batch_size}).fit is not Fit.YES

    batch_size = bisect_right(range(1, cell.batch_size), False, key=is_too_much)
    smaller = {"batch_size": batch_size}
    batch = _fitting(smaller, predicted(smaller)) if batch_size else None
    return tuple(found for found in (*single, pair, batch) if found)


def _single_changes(cell: Cell) -> Iterator[Mapping[str, str | int]]:
    """Yield one change at a time, the cheaper in time first."""
    if cell.attention == "eager":
        yield {"attention": "flash-triton"}
    if cell.workload != "forward" and cell.checkpoint == NO_CHECKPOINT and cell.compile == "off":
        yield {"checkpoint": "selective"}
        yield {"checkpoint": "every:1"}


def _fitting(changes: Mapping[str, str | int], prediction: Prediction) -> Alternative | None:
    if not changes or prediction.fit is not Fit.YES or prediction.memory is None:
        return None
    return Alternative(changes=changes, peak_bytes=prediction.memory.peak_bytes)
