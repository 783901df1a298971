"""What a look at formats says: the format of each component, how far numbers are off, and whether the loss follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from windtunnel.records.precision_look import (
    ComponentFormat,
    ComponentKind,
    LossCurves,
    Numbers,
    OperationFormat,
    PrecisionLook,
    TensorNumbers,
)
from windtunnel.records.store import StoredComparison
from windtunnel.spec.cell import Cell

HALF = frozenset({"float16", "bfloat16"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One of the questions of formats that everybody asks, and the dtypes that were seen; `name` is of which module."""

    question: str
    name: str
    dtypes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientShares:
    """Of all elements of all gradients, fractions of 1.

    Attributes:
        zeros: Are 0 and should not be.
        subnormal: Are below the smallest normal number of the format that they were made in, and so have fewer bits.
        not_finite: Are infinite or NaN and should not be.
    """

    loss_scale: float
    zeros: float
    subnormal: float
    not_finite: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Following:
    """How a loss follows that of fp32; steps are counted from 1.

    Attributes:
        deviation: The largest difference, reached in step `at`; None where a loss was not finite.
        noise: The largest difference between fp32 from weights of two seeds; None where a loss was not finite.
        not_finite: The first step whose loss in this precision was not finite; None where all were.
    """

    steps: int
    deviation: float | None
    at: int | None
    noise: float | None
    not_finite: int | None

    @property
    def is_within_noise(self) -> bool | None:
        """Whether the loss differs by no more than seeds do; None where that is not known."""
        if self.not_finite:
            return False
        return None if self.deviation is None or self.noise is None else self.deviation <= self.noise


def dtypes_text(dtypes: Mapping[str, int]) -> str:
    """Return dtypes as text: one name, or several with their counts."""
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return ", ".join(f"{name} ({count})" for name, count in dtypes.items())


def answers_of(look: PrecisionLook) -> tuple[Answer, ...]:
    """Return the formats of parameters, first linear layer, first norm, logits, loss, gradients and optimizer state.

    What the step does not have is left out.
    """
    if look.formats is None:
        return ()
    parts = look.formats.components
    wanted = (
        ("parameters", _of_kind(parts, ComponentKind.PARAMETERS)),
        ("output of the first linear layer", _of_class(parts, "Linear")),
        ("output of the first norm", _of_class(parts, "Norm")),
        ("logits", _of_kind(parts, ComponentKind.LOGITS)),
        ("loss", _of_kind(parts, ComponentKind.LOSS)),
        ("gradients", _of_kind(parts, ComponentKind.GRADIENTS)),
        ("optimizer state", _of_kind(parts, ComponentKind.OPTIMIZER)),
    )
    return tuple(
        Answer(
            question=question,
            name=part.name if part.kind is ComponentKind.OUTPUT else "",
            dtypes=dtypes_text(part.dtypes),
        )
        for question, part in wanted
        if part
    )


def merged_operations(operations: Sequence[OperationFormat]) -> tuple[OperationFormat, ...]:
    """Return the operations with one row for all modules of a class, whose counts are added; `module` is empty."""
    merged: dict[tuple[object, ...], tuple[OperationFormat, int]] = {}
    for one in operations:
        key = (one.phase, one.module_kind, one.operation, one.inputs, one.outputs, one.accumulation, one.mode)
        first, count = merged.get(key, (one, 0))
        merged[key] = (first, count + one.count)
    return tuple(
        OperationFormat(
            operation=one.operation,
            kind=one.kind,
            module="",
            module_kind=one.module_kind,
            phase=one.phase,
            inputs=one.inputs,
            outputs=one.outputs,
            accumulation=one.accumulation,
            mode=one.mode,
            count=count,
        )
        for one, count in merged.values()
    )


def shares_of(run: Numbers) -> GradientShares | None:
    """Return how much of all gradients is lost; None where there are none."""
    size = sum(one.size for one in run.gradients)
    if not size:
        return None
    return GradientShares(
        loss_scale=run.loss_scale,
        zeros=sum(one.zeros for one in run.gradients) / size,
        subnormal=sum(one.subnormal for one in run.gradients) / size,
        not_finite=sum(one.not_finite for one in run.gradients) / size,
    )


def typical_error(run: Numbers) -> float | None:
    """Return the median relative error over all gradients; None where none has one."""
    known = [one.relative_error for one in run.gradients if one.relative_error is not None]
    return median(known) if known else None


def worst_gradient(run: Numbers) -> TensorNumbers | None:
    """Return the gradient that is furthest off: one that is not finite, else the largest error; None without any."""
    if not run.gradients:
        return None
    return max(run.gradients, key=lambda one: (one.not_finite / one.size, one.relative_error or 0.0))


def follow(curves: LossCurves) -> Following:
    """Say how the loss follows that of fp32."""
    lost = next((step for step, loss in enumerate(curves.losses, start=1) if loss is None), None)
    differences = _differences(curves.losses, curves.fp32)
    noise = _differences(curves.fp32, curves.other_seed)
    deviation = max(differences) if differences else None
    return Following(
        steps=len(curves.losses),
        deviation=deviation,
        at=differences.index(deviation) + 1 if differences and deviation is not None else None,
        noise=max(noise) if noise else None,
        not_finite=lost,
    )


def precision_comparisons(comparisons: Sequence[StoredComparison]) -> tuple[StoredComparison, ...]:
    """Return the comparisons of steps that differ in their precision alone, from fp32."""

    def plain(cell: Cell) -> Cell:
        return cell.model_copy(update={"precision": "fp32"})

    return tuple(
        one
        for one in comparisons
        if not (a := one.record.a.task.cell).is_attention
        and a.precision == "fp32" != (b := one.record.b.task.cell).precision
        and plain(a) == plain(b)
    )


def _of_kind(parts: Sequence[ComponentFormat], kind: ComponentKind) -> ComponentFormat | None:
    return next((part for part in parts if part.kind is kind), None)


def _of_class(parts: Sequence[ComponentFormat], word: str) -> ComponentFormat | None:
    return next((part for part in parts if part.kind is ComponentKind.OUTPUT and word in part.module_kind), None)


def _differences(one: Sequence[float | None], other: Sequence[float | None]) -> list[float]:
    """Return the distance in each step; empty where a loss was not finite."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return [abs(a - b) for a, b in pairs] if len(pairs) == len(one) else []
