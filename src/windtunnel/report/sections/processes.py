"""How much a cell differs between processes, for those that were measured in several."""

from windtunnel.analysis.processes import Between, between_processes
from windtunnel.language import counted, say
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
        blocks += [Paragraph(text=_explained()), _table(scope, found)]
    return Section(heading=say("Between processes"), blocks=tuple(blocks)) if blocks else None


def _explained() -> str:
    return say(
        "Each of these cells was measured anew in several fresh processes. What a process settles once (where its "
        "memory lies, which kernels it chose, when it ran) does not vary among its own samples, so their interval "
        "leaves it out. Where processes spread by more than one of them is uncertain, only the interval between "
        "processes may be compared with other runs; it takes {fewest} processes.",
        fewest=FEWEST_PROCESSES,
    )


def _lacking(scope: Scope) -> str:
    """Say which rows have fewer processes than were asked for; empty when none has."""
    rows = [row for row in scope.rows if not row.is_complete]
    if not rows:
        return ""
    row = rows[0]
    if len(rows) == 1:
        return say(
            "Not all processes that were asked for are stored: {cell} has {some} of {all}. The same command again "
            "measures the rest.",
            cell=scope.label(row),
            some=len(row.processes),
            all=row.plan.processes,
        )
    return say(
        "Not all processes that were asked for are stored: {cell} has {some} of {all}, and {others} too few. The same "
        "command again measures the rest.",
        cell=scope.label(row),
        some=len(row.processes),
        all=row.plan.processes,
        others=counted(len(rows) - 1, "other cell"),
    )


def _table(scope: Scope, found: tuple[Between, ...]) -> Table:
    time = time_scale(median for entry in found for median in entry.medians)
    spread = percent_scale(entry.spread for entry in found)
    within = percent_scale(entry.within for entry in found)
    between = percent_scale(entry.between for entry in found)
    return Table(
        caption=say("Medians of the whole step, by process"),
        columns=(
            *scope.columns(),
            number_column(
                say("processes"), description=say("Processes that measured the cell; of how many, where some lack.")
            ),
            number_column(say("lowest median"), time.unit, say("Of the process that was fastest.")),
            number_column(say("highest median"), time.unit, say("Of the process that was slowest.")),
            number_column(say("spread"), PERCENT.unit, say("Standard deviation of the medians over their mean.")),
            number_column(
                say("within one"),
                "± %",
                say("Half of the 95 % interval that one process has by itself; median over processes."),
            ),
            number_column(
                say("between"),
                "± %",
                say("Half of the 95 % interval between processes, as in the complete results."),
            ),
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
    return str(asked) if entry.row.is_complete else say("{some} of {asked}", some=len(entry.medians), asked=asked)
