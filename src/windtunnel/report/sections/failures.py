"""Every cell that was not measured to its end, with its whole configuration and what went wrong."""

from windtunnel.analysis.results import Row
from windtunnel.language import counted, listed, say, word
from windtunnel.records.record import Failure, Status
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
            text=say(
                "{failed:,} of {cells} were not measured to their end.",
                failed=len(scope.failed),
                cells=counted(len(scope.rows), "cell"),
            ),
        ),
        Table(
            caption=say("Failed cells"),
            columns=(
                Column(name=say("cell"), description=say("The whole configuration.")),
                Column(name=say("status")),
                Column(name=say("where"), description=say("What the worker was doing, and in which phase of a step.")),
                Column(name=say("message")),
                number_column(say("requested"), description=say("Bytes asked for when memory ran out.")),
                number_column(say("free"), description=say("Bytes that were free then.")),
            ),
            rows=tuple(_row(scope, row) for row in scope.failed),
        ),
    )
    return Section(heading=say("Failures"), blocks=blocks)


def _row(scope: Scope, row: Row) -> tuple[Cell, ...]:
    failure = row.record.failure
    phase = word(failure.phase) if failure and failure.phase else ""
    where = (stage_name(failure.stage), phase, row.record.task.process_name) if failure else ()
    requested, free = (failure.requested_bytes, failure.free_bytes) if failure else (None, None)
    return (
        Cell(text=" · ".join([*(scope.phrase(axis, row) for axis in scope.all_axes), row.cell.device])),
        Cell(text=word(row.record.status.value), is_failure=True),
        Cell(text=listed(filter(None, where)) if failure else NOT_KNOWN),
        Cell(text=failure.message if failure else NOT_KNOWN),
        Cell(text=memory(requested), sort=requested),
        Cell(text=memory(free), sort=free),
    )


def failure_text(status: Status, failure: Failure | None) -> str:
    """Say with what something ended, where and why: 'crashed in build: message'."""
    if failure is None:
        return word(status.value)
    return say(
        "{status} in {stage}: {message}",
        status=word(status.value),
        stage=stage_name(failure.stage),
        message=failure.message,
    )


def stage_name(name: str) -> str:
    """Return what the worker was doing; the name of its warm-up is not that of the axis."""
    return say("warmup") if name == "warmup" else word(name)
