"""The largest that fits along each line that was searched, beside where it was predicted; and every probe."""

from collections.abc import Sequence

from windtunnel.analysis.frontier import FrontierLine, frontier_lines
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.record import Failure
from windtunnel.report.axes import BATCH, CONTEXT, SEQ, SIZE, Axis
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.heat import heat_map_of
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import failure_text, stage_name
from windtunnel.sweep.lines import predicted_peak
from windtunnel.units import NOT_KNOWN, change, memory

_NOUNS = {"context": "context", "batch": "batch", "size": "size", "seq": "sequence"}
_AXES = {"context": CONTEXT, "batch": BATCH, "size": SIZE, "seq": SEQ}


def fit(scope: Scope) -> Section | None:
    """Return the frontiers of each axis that was searched."""
    lines = frontier_lines(scope.rows, scope.runs)
    blocks: list[Block] = []
    for along in dict.fromkeys(line.along for line in lines):
        blocks += _along(scope, along, [line for line in lines if line.along == along])
    missing = _missing(scope)
    if missing:
        blocks.append(Callout(kind=CalloutKind.WARNING, text=missing))
    return Section(heading=say("What fits"), blocks=tuple(blocks)) if blocks else None


def probes(scope: Scope) -> Section | None:
    """Return every probe with what came of it."""
    table = Table(
        caption=counted(len(scope.rows), "probe"),
        columns=(
            *scope.columns(),
            Column(name=say("outcome")),
            number_column(
                say("tries"), description=say("How often it was probed; the outcome is that of the last time.")
            ),
            number_column(
                say("peak"), description=say("Most bytes allocated, of those that ran; on a CPU the resident set.")
            ),
            number_column(say("predicted peak"), description=say("What the closed form says of it.")),
            *_failure_columns(),
        ),
        rows=tuple(
            (
                *scope.cells(row),
                Cell(text=word(row.record.status.value), is_failure=not row.is_ok),
                Cell(text=str(row.repeat + 1)),
                _bytes(row.record.memory.peak_bytes if row.is_ok and row.record.memory else None),
                _bytes(predicted_peak(row.cell, is_limited=row.plan.memory_limit_bytes is not None)),
                *_failure(row.record.failure),
            )
            for row in scope.rows
        ),
    )
    return Section(heading=say("Probes"), blocks=(table,), is_detail=True)


def _along(scope: Scope, along: str, lines: Sequence[FrontierLine]) -> list[Block]:
    axis, noun = _AXES[along], word(_NOUNS[along])
    heat = heat_map_of(scope, lines, axis, say("Largest {what} that fits", what=noun))
    return [
        Paragraph(text=_how(scope, lines, noun)),
        _table(scope, lines, axis, noun),
        *heat,
        *[Callout(kind=CalloutKind.WARNING, text=text) for line in lines for text in _remarks(scope, line, axis)],
    ]


def _how(scope: Scope, lines: Sequence[FrontierLine], noun: str) -> str:
    capacity = scope.environment.device_memory_bytes
    limits = {line.line.plan.memory_limit_bytes for line in lines}
    limit = next(iter(limits)) if len(limits) == 1 else None
    room = memory(capacity)
    if limit:
        room = say("{limit} of the {capacity}", limit=memory(limit), capacity=room)
    where = word("host") if scope.environment.device == "cpu" else word("device")
    values = {line.line.values for line in lines if isinstance(line.line.values, range)}
    steps = next(iter(values)) if len(values) == 1 else None
    if steps:
        searched = say(
            "The largest {what} that fits into {room} of this {where}, found by search, in steps of {step} up to "
            "{end}.",
            what=noun,
            room=room,
            where=where,
            step=f"{steps.step:,}",
            end=f"{steps[-1]:,}",
        )
    else:
        searched = say(
            "The largest {what} that fits into {room} of this {where}, found by search.",
            what=noun,
            room=room,
            where=where,
        )
    probed = say("Each probe is two steps in a process of its own; the second has all that stays between steps.")
    return passage([searched, probed])


def _failure_columns() -> tuple[Column, Column, Column]:
    return (
        Column(name=say("in"), description=say("The phase, or the stage, in which memory ran out.")),
        number_column(say("asked for"), description=say("Bytes of the request that failed.")),
        number_column(
            say("free"), description=say("Bytes that were free then; on a CPU, once the error had been caught.")
        ),
    )


def _table(scope: Scope, lines: Sequence[FrontierLine], axis: Axis, noun: str) -> Table:
    has_prediction = any(line.course and line.course.has_prediction for line in lines)
    predicted = (
        number_column(
            say("predicted"), description=say("The largest that was predicted to fit, where the search began.")
        ),
        number_column(say("error"), description=say("The prediction against what was found.")),
    )
    return Table(
        caption=say("Largest {what} that fits", what=noun),
        columns=(
            *scope.columns(without=(axis,)),
            number_column(say("largest that fits")),
            number_column(say("smallest that does not")),
            *(predicted if has_prediction else ()),
            *_failure_columns(),
            number_column(say("probes")),
        ),
        rows=tuple(
            (
                *scope.cells(line.rows[0], without=(axis,)),
                *_ends(line),
                *(_prediction(line) if has_prediction else ()),
                *_failure(line.smallest.record.failure if line.smallest else None),
                Cell(text=str(line.course.probes if line.course else len(line.rows))),
            )
            for line in lines
        ),
    )


def _ends(line: FrontierLine) -> tuple[Cell, Cell]:
    nothing = say("none") if line.fits_nowhere else say("not known")
    largest = str(line.value(line.largest)) if line.largest else nothing
    is_exhausted = line.course is not None and line.course.is_exhausted
    smallest = str(line.value(line.smallest)) if line.smallest else say("all fit") if is_exhausted else NOT_KNOWN
    return Cell(text=largest, is_failure=line.largest is None), Cell(text=smallest)


def _prediction(line: FrontierLine) -> tuple[Cell, Cell]:
    if line.course is None or not line.course.has_prediction:
        return GAP, GAP
    predicted, error = line.course.predicted, line.prediction_error
    return Cell(text=say("none") if predicted is None else str(predicted)), Cell(text=change(error), sort=error)


def _failure(failure: Failure | None) -> tuple[Cell, Cell, Cell]:
    if failure is None:
        return Cell(text=NOT_KNOWN), GAP, GAP
    return (
        Cell(text=stage_name(failure.phase or failure.stage)),
        _bytes(failure.requested_bytes),
        _bytes(failure.free_bytes),
    )


def _bytes(number: int | None) -> Cell:
    return GAP if number is None else Cell(text=memory(number), sort=number)


def _remarks(scope: Scope, line: FrontierLine, axis: Axis) -> list[str]:
    """Say what a reader must know of a line before believing its end."""
    name = scope.label(line.rows[0], without=(axis,)) or say("the line")
    course = line.course
    if course is None:
        return [
            say(
                "{name}: the search was stopped before it came to the end of this line; run the same command again.",
                name=name,
            )
        ]
    said: list[str] = []
    if course.contradictions:
        said.append(
            say(
                "{name}: {values} ran out of memory once and fitted when tried again, so the end of this line moves "
                "from try to try. What else held the memory was not measured.",
                name=name,
                values=listed(str(value) for value in course.contradictions),
            )
        )
    if course.broken is not None and line.largest is None:
        said.append(
            say(
                "{name}: what fits is not known, as {value} failed for another reason than memory: {why}.",
                name=name,
                value=course.broken,
                why=_why(line, course.broken),
            )
        )
    elif course.broken is not None:
        said.append(
            say(
                "{name}: {value} failed for another reason than memory, and nothing larger was tried: {why}.",
                name=name,
                value=course.broken,
                why=_why(line, course.broken),
            )
        )
    if line.fits_nowhere:
        said.append(
            say(
                "{name}: already the smallest that was tried, {value}, does not fit.",
                name=name,
                value=line.value(line.rows[0]),
            )
        )
    if course.is_exhausted and line.largest is not None:
        said.append(
            say(
                "{name}: {value} fits, and no more was asked for: the end is further out (--most).",
                name=name,
                value=line.value(line.largest),
            )
        )
    if not course.is_settled and course.broken is None:
        said.append(
            say(
                "{name}: after so many contradictions the search was given up; what stands here is no frontier.",
                name=name,
            )
        )
    return said


def _why(line: FrontierLine, value: int | str) -> str:
    for row in line.rows:
        if line.value(row) == value and row.record.failure:
            return failure_text(row.record.status, row.record.failure)
    return say("its record is not in the store")


def _missing(scope: Scope) -> str:
    """Say that the last search left less of the device free than it found, where that is so."""
    summary = next((run.summary for run in reversed(scope.runs) if run.summary), None)
    missing = summary.get("missing_bytes") if summary else None
    if not isinstance(missing, int) or not missing:
        return ""
    return say(
        "After the last search {bytes} less were free on the device than before it, though none of its processes is "
        "left: another process took them, or the driver did not give them back.",
        bytes=memory(missing),
    )
