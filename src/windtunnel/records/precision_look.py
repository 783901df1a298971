"""The formats of one step of a cell as they were observed, how far its numbers are from exact ones, and its loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from statistics import median

from pydantic import TypeAdapter

from windtunnel.records.memory_ledger import OperationKind
from windtunnel.records.record import Failure, Status
from windtunnel.spec.precision_request import PrecisionRequest

NOT_OBSERVABLE = "not observable"
"""The accumulation of an operation that neither its results nor the flags in force tell."""


class ComponentKind(StrEnum):
    """What a component of a step is; in the order of tables."""

    PARAMETERS = "parameters"
    BUFFERS = "buffers"
    OUTPUT = "module output"
    LOGITS = "logits"
    LOSS = "loss"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer state"
    COUNTERS = "optimizer counters"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentFormat:
    """A component of a step, and how many of its tensors have which dtype.

    Attributes:
        name: The path of a module, with `*` where several of one list have the same; else the kind in words.
        module_kind: The class of the module; empty where it is none.
    """

    kind: ComponentKind
    name: str
    dtypes: Mapping[str, int]
    module_kind: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationFormat:
    """The dtypes of an operation in one kind of place, and how often it ran there.

    Attributes:
        operation: Its name in PyTorch, as `mm`.
        module: Path of the module, with `*` for places in a list; of backward that of its forward; empty: in none.
        module_kind: The class of that module.
        phase: When it ran.
        inputs: Dtypes of its tensors, in their order.
        outputs: Dtypes of its results.
        accumulation: In which format sums inside it are kept, where the flags in force tell; `none` where it has no
            sums; else NOT_OBSERVABLE.
        mode: The flag in force for a product of float32 tensors, as `TF32 off`; empty where it has no meaning.
    """

    operation: str
    kind: OperationKind
    module: str
    module_kind: str
    phase: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    accumulation: str
    mode: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Overflow:
    """An operation that made infinities or NaN of finite numbers.

    Attributes:
        site: The line of code, as `package/file.py:12 in name`, of forward where it was in backward.
        dtype: Of the result.
        elements: How many elements are not finite, of how many in `size`.
        largest: The largest magnitude among what it was given.
    """

    operation: str
    module: str
    phase: str
    site: str
    dtype: str
    elements: int
    size: int
    largest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Formats:
    """What was seen of one step, operation by operation.

    Attributes:
        flags: Switches of PyTorch in force, by name.
        overflows: The first operations that made other than finite numbers of finite ones; `num_overflows` counts all.
    """

    flags: Mapping[str, str]
    components: tuple[ComponentFormat, ...]
    operations: tuple[OperationFormat, ...]
    overflows: tuple[Overflow, ...]
    num_overflows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorNumbers:
    """How far one tensor is from the same one of the reference step.

    Attributes:
        name: `logits`, `loss`, or the path of a parameter, whose gradient it is.
        relative_error: Norm of the difference over the norm of the reference; None where that is 0, or this not finite.
        dtype: The narrowest of its own format and that of products which holds all its values: how it was made.
        size: Number of elements.
        zeros: Elements that are 0 here and not in the reference: underflow.
        subnormal: Elements that are not 0 and below the smallest normal number of `dtype`.
        not_finite: Elements that are infinite or NaN here and finite in the reference: overflow.
    """

    name: str
    relative_error: float | None
    dtype: str
    size: int
    zeros: int
    subnormal: int
    not_finite: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """The numbers of a step beside the reference, with the loss multiplied by `loss_scale` before backward."""

    loss_scale: float
    logits: TensorNumbers
    loss: TensorNumbers | None
    gradients: tuple[TensorNumbers, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Numerics:
    """One step from the same weights and batch, without and with loss scaling.

    Attributes:
        reference: The format of the reference step; `reference_reason` says why it is not float64, or is empty.
    """

    reference: str
    reference_reason: str
    runs: tuple[Numbers, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCurves:
    """The loss of the first training steps, one value a step; None where it was not finite.

    Attributes:
        losses: In the precision looked at.
        fp32: In fp32, from the same weights on the same tokens.
        other_seed: In fp32, from weights of another seed on the same tokens.
    """

    losses: tuple[float | None, ...]
    fp32: tuple[float | None, ...]
    other_seed: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionLook:
    """What was found about the formats of one cell; after a failure, what was found before it.

    Attributes:
        formats: None where the step could not be run.
        numerics: None where it was not reached.
        curves: None where it was not reached, or not asked for.
    """

    request: PrecisionRequest
    status: Status
    failure: Failure | None
    started_at: str
    formats: Formats | None = None
    numerics: Numerics | None = None
    curves: LossCurves | None = None
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict[str, float])

    def key(self) -> str:
        """Return the content hash of the request."""
        return self.request.key()

    @property
    def largest_error(self) -> float | None:
        """The largest relative error of logits, loss and, in the median, gradients; None where it is not known.

        Infinite where one of them is not finite. Of fp16 in a training step, which scales its loss, that with scaling.
        """
        if self.numerics is None:
            return None
        run = self.numerics.runs[-1 if self.request.cell.workload == "train_step" else 0]
        if any(one.not_finite for one in (run.logits, run.loss, *run.gradients) if one):
            return inf
        gradients = [one.relative_error for one in run.gradients if one.relative_error is not None]
        errors = (run.logits.relative_error, run.loss.relative_error if run.loss else None)
        known = [error for error in errors if error is not None] + ([median(gradients)] if gradients else [])
        return max(known, default=None)


_ADAPTER = TypeAdapter(PrecisionLook)


def look_to_json(look: PrecisionLook) -> str:
    """Write a look as one JSON object."""
    return _ADAPTER.dump_json(look).decode()


def look_from_json(text: str | bytes) -> PrecisionLook:
    """Read a look; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a look.
    """
    return _ADAPTER.validate_json(text)
