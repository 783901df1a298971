"""Several looks at formats in one table: what each precision costs in accuracy."""

from collections.abc import Sequence

from windtunnel.analysis.number_formats import answers_of, follow, shares_of, typical_error, worst_gradient
from windtunnel.language import say, word
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.sections.precision.tables import error_cell
from windtunnel.units import percent, scientific

_WHAT = ("logits", "loss", "gradients")


def summary_table(looks: Sequence[PrecisionLook], names: Sequence[str]) -> Table:
    """Return a row for each look: formats of logits, loss and gradients, errors, what is lost, and the loss."""
    return Table(
        caption=say("Precisions beside one another"),
        columns=(
            Column(name=say("cell")),
            *(Column(name=word(name)) for name in _WHAT),
            number_column(
                say("error of logits"), description=say("Norm of the difference over the norm of the reference.")
            ),
            number_column(say("of the loss")),
            number_column(say("of gradients"), description=say("Median over all gradients.")),
            number_column(say("of the worst"), is_detail=True),
            number_column(
                say("lost"),
                description=say("Gradient elements that underflow, are subnormal or overflow, unscaled."),
            ),
            number_column(
                say("loss off fp32 by"),
                description=say("The largest difference over the first training steps."),
                is_detail=True,
            ),
            Column(name=say("within the noise"), description=say("Of two fp32 seeds."), is_detail=True),
        ),
        rows=tuple(
            (Cell(text=name), *_formats(look), *_numbers(look), *_loss(look))
            for name, look in zip(names, looks, strict=True)
        ),
        note=say("Errors without loss scaling."),
    )


def _formats(look: PrecisionLook) -> tuple[Cell, ...]:
    if look.formats is None:
        return (Cell(text=word(look.status.value), is_failure=True), GAP, GAP)
    dtypes = {one.question: one.dtypes for one in answers_of(look)}
    return tuple(Cell(text=dtypes[name]) if name in dtypes else GAP for name in _WHAT)


def _numbers(look: PrecisionLook) -> tuple[Cell, ...]:
    if look.numerics is None:
        return (GAP,) * 5
    run = look.numerics.runs[0]
    typical, worst, shares = typical_error(run), worst_gradient(run), shares_of(run)
    lost = shares.zeros + shares.subnormal + shares.not_finite if shares else None
    return (
        error_cell(run.logits),
        error_cell(run.loss) if run.loss else GAP,
        Cell(text=scientific(typical), sort=typical),
        error_cell(worst) if worst else GAP,
        Cell(text=percent(lost, 2), sort=lost),
    )


def _loss(look: PrecisionLook) -> tuple[Cell, ...]:
    if look.curves is None:
        return (GAP, GAP)
    found = follow(look.curves)
    if found.not_finite:
        return (Cell(text=say("not finite"), is_failure=True), Cell(text=say("no")))
    within = {True: say("yes"), False: say("no"), None: say("not known")}[found.is_within_noise]
    return (Cell(text=scientific(found.deviation), sort=found.deviation), Cell(text=within))
