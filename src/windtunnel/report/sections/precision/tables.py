"""The tables of one look at formats: components, kinds of operations, errors, and what gradients lose."""

from collections.abc import Sequence

from windtunnel.analysis.number_formats import dtypes_text, merged_operations, shares_of
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.precision_look import ComponentKind, Numbers, Numerics, PrecisionLook, TensorNumbers
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import number_column
from windtunnel.units import NOT_KNOWN, percent, scientific

_MOST_GRADIENTS = 12


def components_table(look: PrecisionLook) -> Table:
    """Return a row for each component of the step."""
    assert look.formats is not None
    return Table(
        caption=say("Format of each component"),
        columns=(
            Column(
                name=say("component"), description=say("A module's output by its path; * stands for places in a list.")
            ),
            Column(name=say("what")),
            Column(name="dtype", description=say("As observed; with the number of tensors where there are several.")),
            number_column(say("tensors")),
        ),
        rows=tuple(
            (
                Cell(text=word(part.name)),
                Cell(
                    text=say("output of {module}", module=part.module_kind)
                    if part.kind is ComponentKind.OUTPUT
                    else word(part.kind.value)
                ),
                Cell(text=dtypes_text(part.dtypes)),
                Cell(text=str(sum(part.dtypes.values()))),
            )
            for part in look.formats.components
        ),
        note=say(
            "Flags in force: {flags}.",
            flags=listed(f"{name} = {value}" for name, value in look.formats.flags.items()),
        ),
    )


def operations_table(look: PrecisionLook, label: str) -> Table:
    """Return a row for each kind of operation in each kind of module and phase."""
    assert look.formats is not None
    rows = merged_operations(look.formats.operations)
    has_mode = any(row.mode for row in rows)
    return Table(
        caption=say("Format of each operation of {cell}", cell=label),
        columns=(
            Column(name=say("phase")),
            Column(name=say("module"), description=say("Class of the module that it ran in, or whose backward it is.")),
            Column(name=say("operation")),
            Column(name=say("inputs")),
            Column(name=say("outputs")),
            Column(
                name=say("accumulates in"),
                description=say("From the flags in force where these tell it: no result does."),
            ),
            *([Column(name=say("mode"))] if has_mode else []),
            number_column(say("times")),
        ),
        rows=tuple(
            (
                Cell(text=word(row.phase)),
                Cell(text=row.module_kind or say("none")),
                Cell(text=row.operation),
                Cell(text=_dtypes(row.inputs)),
                Cell(text=_dtypes(row.outputs)),
                Cell(text=word(row.accumulation)),
                *([Cell(text=row.mode or NOT_KNOWN)] if has_mode else []),
                Cell(text=str(row.count)),
            )
            for row in rows
        ),
        note=say("Operations that only view are left out; of more than four tensors each dtype stands once."),
    )


def errors_table(numerics: Numerics) -> Table:
    """Return the errors of logits and loss, and of the gradients that are furthest off, for each loss scale."""
    runs = numerics.runs
    of_gradients = _worst(runs)
    rows = [(word("logits"), [run.logits for run in runs])]
    rows += [(word("loss"), [loss for run in runs if (loss := run.loss)])] if runs[0].loss else []
    rows += [(say("gradient of {name}", name=name), [_named(run, name) for run in runs]) for name in of_gradients]
    left = len(runs[0].gradients) - len(of_gradients)
    return Table(
        caption=say("Relative error against {reference}", reference=numerics.reference),
        columns=(
            Column(name=say("tensor")),
            Column(name=say("made in"), description=say("The narrowest format that holds all its values.")),
            *(
                number_column(say("error, {scale}", scale=_scale_name(run)) if len(runs) > 1 else say("error"))
                for run in runs
            ),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=found[0].dtype),
                *(error_cell(one) for one in found),
            )
            for name, found in rows
        ),
        note=passage((say("Norm of the difference over the norm of the reference."), _left(left))),
    )


def error_cell(one: TensorNumbers) -> Cell:
    """Return the relative error of a tensor, or that it is not finite."""
    if one.not_finite:
        return Cell(text=say("not finite"), is_failure=True)
    return Cell(text=scientific(one.relative_error), sort=one.relative_error)


def losses_table(numerics: Numerics) -> Table | None:
    """Return what of all gradients is lost, a row for each loss scale; None where there are no gradients."""
    shares = [share for run in numerics.runs if (share := shares_of(run))]
    if not shares:
        return None
    return Table(
        caption=say("Gradient elements that are lost"),
        columns=(
            Column(name=say("loss scaling")),
            number_column(say("underflow to 0"), description=say("0 here, and not in the reference.")),
            number_column(
                say("subnormal"), description=say("Below the smallest normal number of the format it was made in.")
            ),
            number_column(say("overflow"), description=say("Infinite or NaN here, and finite in the reference.")),
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
        caption=say("Gradients that lose the most, without loss scaling"),
        columns=(
            Column(name=say("gradient of")),
            Column(name=say("made in")),
            number_column(say("elements")),
            number_column(say("underflow to 0")),
            number_column(say("subnormal")),
            number_column(say("overflow")),
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
    return _scale_text(run.loss_scale) if run.loss_scale != 1 else say("unscaled")


def _scale_text(scale: float) -> str:
    return say("none") if scale == 1 else say("loss times {scale}", scale=f"{scale:,.0f}")


def _left(number: int) -> str:
    return say("{gradients} with less left out.", gradients=counted(number, "gradient")) if number else ""


def _dtypes(names: Sequence[str]) -> str:
    return listed(names) or say("none")
