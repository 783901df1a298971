"""The tables of one look at formats: components, kinds of operations, errors, and what gradients lose."""

from collections.abc import Sequence

from windtunnel.analysis.number_formats import dtypes_text, merged_operations, shares_of
from windtunnel.language import counted
from windtunnel.records.precision_look import ComponentKind, Numbers, Numerics, PrecisionLook, TensorNumbers
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import number_column
from windtunnel.units import NOT_KNOWN, percent, scientific

_MOST_GRADIENTS = 12


def components_table(look: PrecisionLook) -> Table:
    """Return a row for each component of the step."""
    assert look.formats is not None
    return Table(
        caption="Format of each component",
        columns=(
            Column(name="component", description="A module's output by its path; * stands for places in a list."),
            Column(name="what"),
            Column(name="dtype", description="As observed; with the number of tensors where there are several."),
            number_column("tensors"),
        ),
        rows=tuple(
            (
                Cell(text=part.name),
                Cell(text=f"output of {part.module_kind}" if part.kind is ComponentKind.OUTPUT else part.kind.value),
                Cell(text=dtypes_text(part.dtypes)),
                Cell(text=str(sum(part.dtypes.values()))),
            )
            for part in look.formats.components
        ),
        note="Flags in force: " + ", ".join(f"{name} = {value}" for name, value in look.formats.flags.items()) + ".",
    )


def operations_table(look: PrecisionLook, label: str) -> Table:
    """Return a row for each kind of operation in each kind of module and phase."""
    assert look.formats is not None
    rows = merged_operations(look.formats.operations)
    has_mode = any(row.mode for row in rows)
    return Table(
        caption=f"Format of each operation of {label}",
        columns=(
            Column(name="phase"),
            Column(name="module", description="Class of the module that it ran in, or whose backward it is."),
            Column(name="operation"),
            Column(name="inputs"),
            Column(name="outputs"),
            Column(name="accumulates in", description="From the flags in force where these tell it: no result does."),
            *([Column(name="mode")] if has_mode else []),
            number_column("times"),
        ),
        rows=tuple(
            (
                Cell(text=row.phase),
                Cell(text=row.module_kind or "none"),
                Cell(text=row.operation),
                Cell(text=_dtypes(row.inputs)),
                Cell(text=_dtypes(row.outputs)),
                Cell(text=row.accumulation),
                *([Cell(text=row.mode or NOT_KNOWN)] if has_mode else []),
                Cell(text=str(row.count)),
            )
            for row in rows
        ),
        note="Operations that only view are left out; of more than four tensors each dtype stands once.",
    )


def errors_table(numerics: Numerics) -> Table:
    """Return the errors of logits and loss, and of the gradients that are furthest off, for each loss scale."""
    runs = numerics.runs
    of_gradients = _worst(runs)
    rows = [("logits", [run.logits for run in runs])]
    rows += [("loss", [loss for run in runs if (loss := run.loss)])] if runs[0].loss else []
    rows += [(f"gradient of {name}", [_named(run, name) for run in runs]) for name in of_gradients]
    left = len(runs[0].gradients) - len(of_gradients)
    return Table(
        caption=f"Relative error against {numerics.reference}",
        columns=(
            Column(name="tensor"),
            Column(name="made in", description="The narrowest format that holds all its values."),
            *(number_column(f"error, {_scale_name(run)}" if len(runs) > 1 else "error") for run in runs),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=found[0].dtype),
                *(error_cell(one) for one in found),
            )
            for name, found in rows
        ),
        note=f"Norm of the difference over the norm of the reference. {_left(left)}".strip(),
    )


def error_cell(one: TensorNumbers) -> Cell:
    """Return the relative error of a tensor, or that it is not finite."""
    if one.not_finite:
        return Cell(text="not finite", is_failure=True)
    return Cell(text=scientific(one.relative_error), sort=one.relative_error)


def losses_table(numerics: Numerics) -> Table | None:
    """Return what of all gradients is lost, a row for each loss scale; None where there are no gradients."""
    shares = [share for run in numerics.runs if (share := shares_of(run))]
    if not shares:
        return None
    return Table(
        caption="Gradient elements that are lost",
        columns=(
            Column(name="loss scaling"),
            number_column("underflow to 0", description="0 here, and not in the reference."),
            number_column("subnormal", description="Below the smallest normal number of the format it was made in."),
            number_column("overflow", description="Infinite or NaN here, and finite in the reference."),
        ),
        rows=tuple(
            (
                Cell(text=_scale_text(share.loss_scale)),
                Cell(text=percent(share.zeros, 3), sort=share.zeros),
                Cell(text=percent(share.subnormal, 3), sort=share.subnormal),
                Cell(text=percent(share.not_finite, 3), sort=share.not_finite),
            )
            for share in shares
        ),
    )


def gradients_table(numerics: Numerics) -> Table | None:
    """Return the gradients that lose the most elements without loss scaling; None where none loses any."""
    lost = [one for one in numerics.runs[0].gradients if _lost(one)]
    if not lost:
        return None
    shown = sorted(lost, key=lambda one: -_lost(one) / one.size)[:_MOST_GRADIENTS]
    left = len(lost) - len(shown)
    return Table(
        caption="Gradients that lose the most, without loss scaling",
        columns=(
            Column(name="gradient of"),
            Column(name="made in"),
            number_column("elements"),
            number_column("underflow to 0"),
            number_column("subnormal"),
            number_column("overflow"),
        ),
        rows=tuple(
            (
                Cell(text=one.name),
                Cell(text=one.dtype),
                Cell(text=f"{one.size:,}", sort=one.size),
                *(Cell(text=percent(n / one.size, 2), sort=n) for n in (one.zeros, one.subnormal, one.not_finite)),
            )
            for one in shown
        ),
        note=_left(left),
    )


def _worst(runs: Sequence[Numbers]) -> list[str]:
    order = sorted(runs[0].gradients, key=lambda one: (-one.not_finite / one.size, -(one.relative_error or 0.0)))
    return [one.name for one in order[:_MOST_GRADIENTS]]


def _named(run: Numbers, name: str) -> TensorNumbers:
    return next(one for one in run.gradients if one.name == name)


def _lost(one: TensorNumbers) -> int:
    return one.zeros + one.subnormal + one.not_finite


def _scale_name(run: Numbers) -> str:
    return _scale_text(run.loss_scale) if run.loss_scale != 1 else "unscaled"


def _scale_text(scale: float) -> str:
    return "none" if scale == 1 else f"loss times {scale:,.0f}"


def _left(number: int) -> str:
    return f"{counted(number, 'gradient')} with less left out." if number else ""


def _dtypes(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
