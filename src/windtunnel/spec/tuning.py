"""A search for the fastest configuration as a user asks for it: what stays, what is tried, and under which limits."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell, Seconds, Task
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.spec.faults import faults_of
from windtunnel.spec.model import Frozen
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.quantities import parse_fraction
from windtunnel.spec.sweep import Sweep

TUNED_AXES = ("attention", "compile", "precision", "checkpoint", "batch")
"""What is tried; all else stays as it is."""

LOOK_WARMUP, LOOK_STEPS = 3, 9
"""A short look: the first step makes the optimizer's state, and 9 samples are the fewest whose interval of 95 % leaves
out the first and the last of them."""

_ON_CPU = {"attention": ("eager", "sdpa", "flash-eager"), "compile": ("off", "default"), "precision": ("fp32", "bf16")}
_ON_CUDA = {
    "attention": ("eager", "sdpa", "flash-triton"),
    "compile": ("off", "default"),
    "precision": ("fp32", "tf32", "bf16", "fp16"),
}
_SAVING = (NO_CHECKPOINT, "selective", "every:1")
"""Checkpointings that are tried where memory may be short: they cost time, and are no gain where it is not."""

ErrorLimit = Annotated[float, BeforeValidator(parse_fraction)]


class Tuning(Frozen):
    """A search among the cells of one model, context and workload.

    `present` is the one cell that is asked about, `tried` the grid of what may be faster. A candidate must stay within
    `memory_limit` (a size, or a share of the device; None: the device's capacity), and its relative error within
    `error_limit`: of logits, loss or, in the median, gradients, against the same step in float64.
    """

    kind: Literal["tune"] = "tune"
    name: str = Field(default="tune", description="What the report calls this search.")
    present: Sweep
    tried: Sweep
    budget: Seconds = Field(description="Time to spend, as 10m.")
    memory_limit: str | None = Field(default=None, description="What a cell may hold: 24GiB, or 30%.")
    error_limit: ErrorLimit | None = Field(default=None, description="The largest relative error, as 1e-2 or 1%.")

    @model_validator(mode="after")
    def _is_of_one_cell(self) -> Self:
        for axis, values in self.present.axes().items():
            if len(values) > 1:
                said = ", ".join(map(str, values))
                advice = f"try them with --axis {axis}={said.replace(' ', '')}" if axis in TUNED_AXES else "name one"
                raise ValueError(f"{axis} has {len(values)} values ({said}); a search is of one cell: {advice}")
        return self

    def tasks(self, device: str) -> tuple[Task, ...]:
        """Return the looks at all candidates, the present configuration first.

        Raises:
            SpecError: There are too many.
        """
        tasks = [*self.present.expand(device), *self.tried.expand(device)]
        return tuple({task.cell: task for task in tasks}.values())

    def varies_batch(self) -> bool:
        """Whether candidates differ in their batch, so that tokens a second count and not the time of a step."""
        return {*self.tried.batch} != {*self.present.batch}

    def numerics_of(self, cell: Cell) -> PrecisionRequest:
        """Return the look at numbers that tells the error of a cell: one for all that compute alike.

        Neither checkpointing nor the number of sequences changes how a number is computed.
        """
        batch = min(*self.present.batch, *self.tried.batch)
        alike = cell.model_copy(update={"checkpoint": NO_CHECKPOINT, "batch_size": batch})
        return PrecisionRequest(cell=alike, loss_steps=0, is_numerics_only=True)


def make_tuning(
    fields: Mapping[str, Any], axes: Mapping[str, Sequence[object]], *, device: str, **limits: Any
) -> Tuning:
    """Return the search that flags ask for.

    Args:
        fields: Of a sweep: the present configuration; a training step unless they say otherwise.
        axes: What is tried, by axis; of others the values are chosen for the device.
        device: `cpu` or `cuda:N`.
        limits: The other fields of `Tuning`.

    Raises:
        SpecError: One message for each fault.
    """
    plan = {"warmup": LOOK_WARMUP, "steps": LOOK_STEPS}
    base = {"mode": "train_step", **fields, **plan}
    try:
        present = Sweep.model_validate(base)
        chosen = {**default_axes(present, device, has_limit=limits.get("memory_limit") is not None), **axes}
        tried = Sweep.model_validate({**base, **{name: list(values) for name, values in chosen.items()}})
    except ValidationError as error:
        raise SpecError(*faults_of(error, Sweep)) from None
    try:
        return Tuning(present=present, tried=tried, **limits)
    except ValidationError as error:
        raise SpecError(*faults_of(error, Tuning)) from None


def default_axes(present: Sweep, device: str, *, has_limit: bool) -> Mapping[str, tuple[object, ...]]:
    """Return what is tried where the user does not say: what this device runs, and the present values.

    Checkpointing is tried only under a limit of memory, and where there is a backward. Only the present batch is.
    """
    own = any(isinstance(model, OwnModel) for model in present.models())
    known = _ON_CPU if device == "cpu" else _ON_CUDA
    axes: dict[str, tuple[object, ...]] = {name: known[name] for name in ("compile", "precision")}
    if not own:
        axes["attention"] = known["attention"]
        axes["checkpoint"] = _SAVING if has_limit and present.mode != ("forward",) else (NO_CHECKPOINT,)
    here = present.axes()
    return {name: tuple(dict.fromkeys([*here[name], *values])) for name, values in axes.items()}
