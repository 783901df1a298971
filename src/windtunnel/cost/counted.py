"""A prediction of what was counted: a model of one's own has no closed form, but its code can be run without memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from windtunnel.cost.memory import MemoryPrediction
from windtunnel.cost.prediction import Prediction, Target, fit_of
from windtunnel.cost.step import Cost

EVERYTHING_ELSE = "everything_else"
"""What bytes are for that were counted and not told apart: activations, gradients, logits, loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What one step of a user's own model does and holds, counted on tensors without memory.

    Attributes:
        parameters: None where the model could not be made.
        flops: Of the matrix products of each phase; empty where they could not be counted.
        held: The most bytes of tensors in each phase, as the operators of a CPU hold them.
        before_backward_bytes: What is held when backward begins; None where there is none.
        resident: Bytes of what stays for the whole step, by component.
        warning: Why something of this is missing.
        fault: What is wrong with the model's code or what was asked of it, in place of all else.
    """

    parameters: int | None = None
    flops: Mapping[str, int] = field(default_factory=dict[str, int])
    held: Mapping[str, int] = field(default_factory=dict[str, int])
    before_backward_bytes: int | None = None
    resident: Mapping[str, int] = field(default_factory=dict[str, int])
    warning: str | None = None
    fault: str | None = None


def predict_counted(prediction: Prediction, target: Target, counted: Counted) -> Prediction:
    """Return the prediction of a model of one's own with what was counted of it; its time stays unknown."""
    cell = prediction.cell
    if counted.parameters is None:
        return replace(prediction, unknown=counted.warning or prediction.unknown)
    cost = Cost(parameters=counted.parameters, flops=counted.flops, least_bytes=counted.resident)
    memory = _memory(counted) if counted.held else None
    how = (
        f"model {cell.model.name!r} is counted, not by formula: its code ran on tensors without memory, with the "
        "operators of a CPU, which may keep more or less than those of a GPU; its time is not predicted"
    )
    return replace(
        prediction,
        cost=cost,
        memory=memory,
        fit=fit_of(cell, memory, target.memory_bytes),
        unknown="; ".join(filter(None, (counted.warning, how))),
    )


def _memory(counted: Counted) -> MemoryPrediction:
    resident = sum(counted.resident.values())
    return MemoryPrediction(
        phases=counted.held,
        components={
            phase: {**counted.resident, EVERYTHING_ELSE: most - resident} for phase, most in counted.held.items()
        },
        before_backward_bytes=counted.before_backward_bytes,
        saved_of_block={},
    )
