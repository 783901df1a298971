"""The largest that fits along each line that was searched, beside where it was predicted; and every probe."""

from collections.abc import Sequence

from windtunnel.analysis.frontier import FrontierLine, frontier_lines
from windtunnel.language import counted
from windtunnel.records.record import Failure
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.heat import heat_map_of
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import BATCH, CONTEXT, SEQ, SIZE, Axis, Scope
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
    return Section(heading="What fits", blocks=tuple(blocks)) if blocks else None


def probes(scope: Scope) -> Section | None:
    """Return every probe with what came of it."""
    table = Table(
        caption=counted(len(scope.rows), "probe"),
        columns=(
            *scope.columns(),
            Column(name="outcome"),
            number_column("tries", description="How often it was probed; the outcome is that of the last time."),
            number_column("peak", description="Most bytes allocated, of those that ran; on a CPU the resident set."),
            number_column("predicted peak", description="What the closed form says of it."),
            *_FAILURE_COLUMNS,
        ),
        rows=tuple(
            (
                *scope.cells(row),
                Cell(text=row.record.status.value, is_failure=not row.is_ok),
                Cell(text=str(row.repeat + 1)),
                _bytes(row.record.memory.peak_bytes if row.is_ok and row.record.memory else None),
                _bytes(predicted_peak(row.cell)),
                *_failure(row.record.failure),
            )
            for row in scope.rows
        ),
    )
    return Section(heading="Probes", blocks=(table,), is_detail=True)


def _along(scope: Scope, along: str, lines: Sequence[FrontierLine]) -> list[Block]:
    axis, noun = _AXES[along], _NOUNS[along]
    heat = heat_map_of(scope, lines, axis, f"Largest {noun} that fits")
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
    where = f"{memory(limit)} of the {memory(capacity)}" if limit else memory(capacity)
    into = f"into {where} of this {'host' if scope.environment.device == 'cpu' else 'device'}"
    values = {line.line.values for line in lines if isinstance(line.line.values, range)}
    steps = next(iter(values)) if len(values) == 1 else None
    between = f", in steps of {steps.step:,} up to {steps[-1]:,}" if steps else ""
    return (
        f"The largest {noun} that fits {into}, found by search{between}. Each probe is two steps in a process of its "
        "own; the second has all that stays between steps."
    )


_FAILURE_COLUMNS = (
    Column(name="in", description="The phase, or the stage, in which memory ran out."),
    number_column("asked for", description="Bytes of the request that failed."),
    number_column("free", description="Bytes that were free then; on a CPU, once the error had been caught."),
)


def _table(scope: Scope, lines: Sequence[FrontierLine], axis: Axis, noun: str) -> Table:
    has_prediction = any(line.course and line.course.has_prediction for line in lines)
    predicted = (
        number_column("predicted", description="The largest that was predicted to fit, where the search began."),
        number_column("error", description="The prediction against what was found."),
    )
    return Table(
        caption=f"Largest {noun} that fits",
        columns=(
            *scope.columns(without=(axis,)),
            number_column("largest that fits"),
            number_column("smallest that does not"),
            *(predicted if has_prediction else ()),
            *_FAILURE_COLUMNS,
            number_column("probes"),
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
    largest = str(line.value(line.largest)) if line.largest else "none"
    is_exhausted = line.course is not None and line.course.is_exhausted
    smallest = str(line.value(line.smallest)) if line.smallest else "all fit" if is_exhausted else NOT_KNOWN
    return Cell(text=largest, is_failure=line.largest is None), Cell(text=smallest)


def _prediction(line: FrontierLine) -> tuple[Cell, Cell]:
    if line.course is None or not line.course.has_prediction:
        return GAP, GAP
    predicted, error = line.course.predicted, line.prediction_error
    return Cell(text="none" if predicted is None else str(predicted)), Cell(text=change(error), sort=error)


def _failure(failure: Failure | None) -> tuple[Cell, Cell, Cell]:
    if failure is None:
        return Cell(text=NOT_KNOWN), GAP, GAP
    return (
        Cell(text=failure.phase or failure.stage),
        _bytes(failure.requested_bytes),
        _bytes(failure.free_bytes),
    )


def _bytes(number: int | None) -> Cell:
    return GAP if number is None else Cell(text=memory(number), sort=number)


def _remarks(scope: Scope, line: FrontierLine, axis: Axis) -> list[str]:
    """Say what a reader must know of a line before believing its end."""
    name = scope.label(line.rows[0], without=(axis,)) or "the line"
    course = line.course
    if course is None:
        return [f"{name}: the search was stopped before it came to the end of this line; run the same command again."]
    said: list[str] = []
    if course.contradictions:
        values = ", ".join(str(value) for value in course.contradictions)
        said.append(
            f"{name}: {values} ran out of memory once and fitted when tried again, so the end of this line moves from "
            "try to try. What else held the memory was not measured."
        )
    if course.broken is not None:
        said.append(
            f"{name}: {course.broken} failed for another reason than memory, and nothing larger was tried: "
            f"{_why(line, course.broken)}."
        )
    if line.largest is None and course.broken is None:
        said.append(f"{name}: already the smallest that was tried, {line.value(line.rows[0])}, does not fit.")
    if course.is_exhausted and line.largest is not None:
        said.append(
            f"{name}: {line.value(line.largest)} fits, and no more was asked for: the end is further out (--most)."
        )
    if not course.is_settled and course.broken is None:
        said.append(f"{name}: after so many contradictions the search was given up; what stands here is no frontier.")
    return said


def _why(line: FrontierLine, value: int | str) -> str:
    for row in line.rows:
        if line.value(row) == value and row.record.failure:
            return f"{row.record.status.value} in {row.record.failure.stage}: {row.record.failure.message}"
    return "its record is not in the store"


def _missing(scope: Scope) -> str:
    """Say that the last search left less of the device free than it found, where that is so."""
    summary = next((run.summary for run in reversed(scope.runs) if run.summary), None)
    missing = summary.get("missing_bytes") if summary else None
    if not isinstance(missing, int) or not missing:
        return ""
    return (
        f"After the last search {memory(missing)} less were free on the device than before it, though none of its "
        "processes is left: another process took them, or the driver did not give them back."
    )
