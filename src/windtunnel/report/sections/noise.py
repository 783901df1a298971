"""Cells whose samples are wide, start slow or drift: labels for a careful reader, without causes."""

from windtunnel.analysis.noise import SLOW_FIRST_DEVIATIONS, SLOW_FIRST_RATIO, WIDE_CV, Noise, noisy
from windtunnel.report.document import Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import PERCENT, change, counted, percent, significant
from windtunnel.units import ratio as ratio_text


def noise(scope: Scope) -> Section | None:
    """Return the cells to which at least one label applies."""
    rows = [row for row in scope.measured if not (row.plan.is_cold and row.record.is_first_in_process)]
    found = noisy(rows)
    if not found:
        return None
    deviations = significant(SLOW_FIRST_DEVIATIONS, 1)
    explained = Paragraph(
        text=f"Wide: a coefficient of variation above {percent(WIDE_CV, decimals=0)}. "
        f"Slow first: a first sample over {significant(SLOW_FIRST_RATIO, 2)} times the median of the others, "
        f"or {deviations} robust standard deviations above it. "
        "Drift: samples that rise or fall in their order. "
        "Cells that show a cold start are not judged here. "
        "No sample was dropped from any table, and the cause of none of this was measured."
    )
    table = Table(
        caption=f"{len(found):,} of {counted(len(rows), 'measured cell')}",
        columns=(
            *scope.columns(),
            number_column("CV", PERCENT.unit, "Standard deviation over mean, all samples."),
            number_column("CV without first", PERCENT.unit, "The same without the first sample."),
            number_column("first / others", description="First sample over the median of the others."),
            number_column("drift", description="Median of the second half against the first half; – where none."),
            Column(name="labels"),
        ),
        rows=tuple(_row(scope, entry) for entry in found),
    )
    return Section(heading="Noise", blocks=(explained, table), is_detail=True)


def _row(scope: Scope, entry: Noise) -> tuple[Cell, ...]:
    labels = {
        "wide": entry.cv > WIDE_CV,
        "slow first": entry.is_first_slow,
        "drift": entry.drift is not None,
    }
    return (
        *scope.cells(entry.row),
        Cell(text=PERCENT.text(entry.cv)),
        Cell(text=PERCENT.text(entry.cv_without_first)),
        Cell(text=ratio_text(entry.first_ratio)),
        Cell(text=change(entry.drift), sort=entry.drift),
        Cell(text=", ".join(label for label, applies in labels.items() if applies)),
    )
