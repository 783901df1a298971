"""Every cell that was not measured to its end, with its whole configuration and what went wrong."""

from windtunnel.analysis.results import Row
from windtunnel.language import counted
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import NOT_KNOWN, memory


def failures(scope: Scope) -> Section | None:
    """Return the failed cells; they are also rows of every table that would have held their numbers."""
    if not scope.failed:
        return None
    blocks: tuple[Block, ...] = (
        Callout(
            kind=CalloutKind.FAILURE,
            text=f"{len(scope.failed):,} of {counted(len(scope.rows), 'cell')} were not measured to their end.",
        ),
        Table(
            caption="Failed cells",
            columns=(
                Column(name="cell", description="The whole configuration."),
                Column(name="status"),
                Column(name="where", description="What the worker was doing, and in which phase of a step."),
                Column(name="message"),
                number_column("requested", description="Bytes asked for when memory ran out."),
                number_column("free", description="Bytes that were free then."),
            ),
            rows=tuple(_row(scope, row) for row in scope.failed),
        ),
    )
    return Section(heading="Failures", blocks=blocks)


def _row(scope: Scope, row: Row) -> tuple[Cell, ...]:
    failure = row.record.failure
    where = (failure.stage, failure.phase, row.record.task.process_name) if failure else ()
    requested, free = (failure.requested_bytes, failure.free_bytes) if failure else (None, None)
    return (
        Cell(text=" · ".join([*(scope.phrase(axis, row) for axis in scope.all_axes), row.cell.device])),
        Cell(text=row.record.status.value, is_failure=True),
        Cell(text=", ".join(filter(None, where)) if failure else NOT_KNOWN),
        Cell(text=failure.message if failure else NOT_KNOWN),
        Cell(text=memory(requested), sort=requested),
        Cell(text=memory(free), sort=free),
    )
