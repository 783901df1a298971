"""The configurations that a search may choose from, what is predicted of each, and which cannot fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from windtunnel.cost.prediction import MARGIN, Prediction, Target, predict
from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.tuning import Tuning
from windtunnel.units import memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A configuration, and what was predicted of it."""

    task: Task
    prediction: Prediction

    @property
    def name(self) -> str:
        """What the race calls it."""
        return self.task.key()

    @property
    def cell(self) -> Cell:
        """What it is."""
        return self.task.cell

    @property
    def predicted_bytes(self) -> int | None:
        """Its peak as predicted; None where it is not known."""
        return self.prediction.memory.peak_bytes if self.prediction.memory else None

    @property
    def least_bytes(self) -> int | None:
        """What it holds at least: less than predicted by as much as that may be off, else its weights and states."""
        if self.predicted_bytes is not None:
            return round(self.predicted_bytes / (1 + MARGIN))
        return self.prediction.cost.floor_bytes if self.prediction.cost else None

    @property
    def predicted_seconds(self) -> float | None:
        """The time of its step as predicted; None where it is not known."""
        return self.prediction.time.seconds if self.prediction.time else None


def work_of(cell: Cell, present: Cell) -> float:
    """Return the tokens of a step over those of the present configuration's."""
    return cell.batch_size * cell.context_length / (present.batch_size * present.context_length)


def candidates_of(tuning: Tuning, target: Target, device: str) -> tuple[Candidate, ...]:
    """Return the candidates in the order in which they are looked at.

    The present configuration is the first. Then comes what need not be compiled, since many looks at that take as long
    as one at compiled code; within either the fastest first, as far as predicted.

    Raises:
        SpecError: There are too many.
    """
    first, *others = (Candidate(task=task, prediction=predict(task.cell, target)) for task in tuning.tasks(device))
    return (first, *sorted(others, key=lambda one: (one.cell.compile != "off", _promise(one, first.cell))))


def _promise(candidate: Candidate, present: Cell) -> float:
    """Return the predicted time of a unit of work; what is not known comes after what is, in the order of the grid."""
    seconds = candidate.predicted_seconds
    return float("inf") if seconds is None else seconds / work_of(candidate.cell, present)


def fits(candidate: Candidate, limit_bytes: int | None) -> bool:
    """Whether it may fit into the limit, as far as is known before it runs."""
    least = candidate.least_bytes
    return limit_bytes is None or least is None or least <= limit_bytes


def check_limit(candidates: Sequence[Candidate], limit_bytes: int | None) -> None:
    """Refuse a limit that leaves nothing to measure.

    Raises:
        SpecError: Every candidate is known not to fit.
    """
    if any(fits(one, limit_bytes) for one in candidates):
        return
    smallest = min(candidates, key=lambda one: one.least_bytes or 0)
    raise SpecError(
        f"none of {counted(len(candidates), 'candidate')} fits into {memory(limit_bytes)}: the smallest needs "
        f"{memory(smallest.least_bytes)} at least ({smallest.task.cell_label()}); allow more with --memory-limit, or "
        "try --axis checkpoint=every:1 or a smaller --axis batch="
    )
