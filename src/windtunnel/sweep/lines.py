"""The lines of a frontier: what each keeps fixed, the cells along it from small to large, where memory should end."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from windtunnel.cost.memory import predict_memory
from windtunnel.cost.parameters import parameter_count
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.frontier import Frontier
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.sweep import Sweep

Predict = Callable[[Cell], int | None]
"""The bytes that a cell needs at its peak, or None where that is not known."""


def predicted_peak(cell: Cell, *, is_limited: bool = False) -> int | None:
    """Return the bytes that a cell is predicted to need; None where there is no closed form of it.

    Args:
        cell: What is to fit.
        is_limited: Whether a limit of PyTorch's allocator stands for a smaller device.
    """
    try:
        predicted = predict_memory(cell)
    except UnsupportedError:
        return None
    return predicted.needed_under_limit_bytes if is_limited else predicted.needed_bytes


@dataclass(frozen=True, kw_only=True)
class Line:
    """Cells that differ in one field, smallest first; `values` are those of that field."""

    template: Cell
    field: str
    values: Sequence[int] | Sequence[ModelSpec]
    plan: MeasurePlan

    def __len__(self) -> int:
        """Count the values."""
        return len(self.values)

    def task(self, place: int) -> Task:
        """Return the probe at a place."""
        return Task(cell=self.cell(place), plan=self.plan)

    def cell(self, place: int) -> Cell:
        """Return the cell at a place."""
        return self.template.model_copy(update={self.field: self.values[place]})

    def value(self, place: int) -> int | str:
        """Return what tables call a place: the number, or the name of the size."""
        value = self.values[place]
        return value.name if isinstance(value, ModelSpec) else value

    def holds(self, cell: Cell, plan: MeasurePlan) -> bool:
        """Say whether a probe is one of this line."""
        return plan == self.plan and identity_of(cell, self.field) == self.identity

    @cached_property
    def identity(self) -> str:
        """A text that no other line of the same limit has: the template without what is searched, as JSON."""
        return identity_of(self.template, self.field)

    def predicted(self, budget_bytes: int | None, predict: Predict | None) -> int | None:
        """Return the last place whose predicted peak is within the budget, -1 where none is; None: not known.

        The prediction grows along the line, so halving finds it; a cell whose peak is not known makes all unknown.
        """
        if predict is None or budget_bytes is None or predict(self.cell(0)) is None:
            return None
        places = range(len(self))
        return bisect_right(places, budget_bytes, key=lambda place: cast("int", predict(self.cell(place)))) - 1


def identity_of(cell: Cell, field: str) -> str:
    """Return a text that is the same for all cells of one line, which differ in `field` only."""
    return cell.model_dump_json(exclude={field}, exclude_defaults=True)


def lines_of(frontier: Frontier, *, device: str, memory_limit_bytes: int | None) -> tuple[Line, ...]:
    """Return the lines of a frontier on `device`, in the order of its sweep.

    Raises:
        SpecError: The sweep has no cell, or too many.
    """
    sweep, field, plan = frontier.sweep, frontier.field, frontier.plan(memory_limit_bytes)
    values = _sizes(sweep) if field == "model" and isinstance(sweep, Sweep) else frontier.values()
    found: dict[str, Line] = {}
    for _, task in sweep.points(device):
        template = task.cell.model_copy(update={field: values[0]})
        line = Line(template=template, field=field, values=values, plan=plan)
        found.setdefault(line.identity, line)
    return tuple(found.values())


def _sizes(sweep: Sweep) -> Sequence[ModelSpec]:
    own = [model.name for model in sweep.models() if isinstance(model, OwnModel)]
    if own:
        raise SpecError(
            f"model {', '.join(own)} has no size to search along: it is what your code makes of it; "
            "search along context or batch"
        )
    return sorted((model for model in sweep.models() if isinstance(model, ModelSpec)), key=parameter_count)
