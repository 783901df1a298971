"""How much a cell differs between processes, for those that were measured in several."""

from windtunnel.analysis.processes import Between, between_processes
from windtunnel.language import counted
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.statistics.interval import FEWEST_PROCESSES
from windtunnel.units import PERCENT, percent_scale, time_scale


def processes(scope: Scope) -> Section | None:
    """Return the spread between processes, and which cells lack some of theirs; None where one was asked for."""
    blocks: list[Block] = []
    if lacking := _lacking(scope):
        blocks.append(Callout(kind=CalloutKind.WARNING, text=lacking))
    if found := between_processes(scope.rows):
        blocks += [Paragraph(text=_EXPLAINED), _table(scope, found)]
    return Section(heading="Between processes", blocks=tuple(blocks)) if blocks else None


_EXPLAINED = (
    "Each of these cells was measured anew in several fresh processes. What a process settles once (where its memory "
    "lies, which kernels it chose, when it ran) does not vary among its own samples, so their interval leaves it out. "
    "Where processes spread by more than one of them is uncertain, only the interval between processes may be "
    f"compared with other runs; it takes {FEWEST_PROCESSES} processes."
)


def _lacking(scope: Scope) -> str:
    """Say which rows have fewer processes than were asked for; empty when none has."""
    rows = [row for row in scope.rows if not row.is_complete]
    if not rows:
        return ""
    row = rows[0]
    first = f"{scope.label(row)} has {len(row.processes)} of {row.plan.processes}"
    others = f", and {counted(len(rows) - 1, 'other cell')} too few" if len(rows) > 1 else ""
    return (
        f"Not all processes that were asked for are stored: {first}{others}. The same command again measures the rest."
    )


def _table(scope: Scope, found: tuple[Between, ...]) -> Table:
    time = time_scale(median for entry in found for median in entry.medians)
    spread = percent_scale(entry.spread for entry in found)
    within = percent_scale(entry.within for entry in found)
    between = percent_scale(entry.between for entry in found)
    return Table(
        caption="Medians of the whole step, by process",
        columns=(
            *scope.columns(),
            number_column("processes", description="Processes that measured the cell; of how many, where some lack."),
            number_column("lowest median", time.unit, "Of the process that was fastest."),
            number_column("highest median", time.unit, "Of the process that was slowest."),
            number_column("spread", PERCENT.unit, "Standard deviation of the medians over their mean."),
            number_column(
                "within one", "± %", "Half of the 95 % interval that one process has by itself; median over processes."
            ),
            number_column("between", "± %", "Half of the 95 % interval between processes, as in the complete results."),
        ),
        rows=tuple(
            (
                *scope.cells(entry.row),
                Cell(text=_count(entry), sort=len(entry.medians)),
                Cell(text=time.text(min(entry.medians))),
                Cell(text=time.text(max(entry.medians))),
                Cell(text=spread.text(entry.spread)),
                Cell(text=within.text(entry.within)),
                Cell(text=between.text(entry.between)),
            )
            for entry in found
        ),
    )


def _count(entry: Between) -> str:
    asked = entry.row.plan.processes
    return str(asked) if entry.row.is_complete else f"{len(entry.medians)} of {asked}"
