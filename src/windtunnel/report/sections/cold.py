"""What the first step of a fresh process costs, beside the steps after it and a warm cell, and by cause."""

from collections.abc import Mapping

from windtunnel.analysis.comparisons import ColdStart, cold_cause, cold_starts
from windtunnel.analysis.results import Row
from windtunnel.language import counted, listed, say
from windtunnel.records.record import ColdCause
from windtunnel.report.axes import WARMUP
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.statistics.summary import spread_of
from windtunnel.units import NOT_KNOWN, Scale, time_scale
from windtunnel.units import ratio as ratio_text


def cold(scope: Scope) -> Section | None:
    """Return the cells without warm-up; only those that were first in their process can show a cold start."""
    starts = cold_starts(scope.rows)
    causes = _causes(scope, starts)
    if not starts:
        return Section(heading=say("Start of a cell by cause"), blocks=causes, is_detail=True) if causes else None
    blocks: list[Block] = [
        Paragraph(
            text=say(
                "Only a cell that was the first of its process can show what a cold start costs: "
                "every later one finds libraries loaded and memory reserved."
            )
        ),
        _table(scope, starts),
    ]
    late = sum(1 for row in scope.measured if row.plan.is_cold and not row.record.is_first_in_process)
    if late:
        blocks.append(
            Paragraph(
                text=say(
                    "Not shown: {cells} without warm-up that were not first in their process, and so say nothing about "
                    "it.",
                    cells=counted(late, "cell"),
                )
            )
        )
    return Section(heading=say("Cold start against warm"), blocks=(*blocks, *causes))


def _table(scope: Scope, starts: tuple[ColdStart, ...]) -> Table:
    spreads = [(every, spread_of(start.others)) for start in starts if (every := start.cold.spread())]
    time = time_scale(value for start in starts for value in (start.first, start.rest, start.warm))
    cost = time_scale(abs(start.cost) for start in starts)
    return Table(
        caption=say("The first step of a process"),
        columns=(
            *scope.columns(without=(WARMUP,)),
            number_column(
                say("first step"),
                time.unit,
                say("First timed step of the cell without warm-up; median over its processes."),
            ),
            number_column(say("other steps"), time.unit, say("Median of the steps after the first, in the same cell.")),
            number_column(say("warm cell"), time.unit, say("Median of the same cell measured with warm-up.")),
            number_column(say("cost"), cost.unit, say("First step minus the median of the others.")),
            number_column(say("factor"), description=say("First step over the median of the others.")),
            number_column(say("mean ± std, all"), time.unit, say("All samples of the cell without warm-up.")),
            number_column(say("mean ± std, without first"), time.unit, say("The same samples without the first.")),
        ),
        rows=tuple(
            (
                *scope.cells(start.cold, without=(WARMUP,)),
                Cell(text=time.text(start.first)),
                Cell(text=time.text(start.rest)),
                Cell(text=time.text(start.warm)),
                Cell(text=cost.text(start.cost)),
                Cell(text=ratio_text(start.first / start.rest)),
                Cell(text=time.spread(every.mean, every.std)),
                Cell(text=time.spread(rest.mean, rest.std)),
            )
            for start, (every, rest) in zip(starts, spreads, strict=True)
        ),
        note=_warm_note(starts),
    )


def _causes(scope: Scope, starts: tuple[ColdStart, ...]) -> tuple[Block, ...]:
    """Return the table of causes with its explanation; nothing where no cause is known of any row."""
    start_of = {start.cold: start for start in starts}
    rows = [row for row in scope.measured if _has_causes(row) or row in start_of]
    if not any(_has_causes(row) or _known(start_of.get(row)) for row in rows):
        return ()
    columns = {
        column: values
        for column, values in _cause_columns(rows, start_of)
        if any(value is not None for value in values)
    }
    scales = _scale_of_groups(columns)
    entries = zip(
        *([Cell(text=scales[c.group].text(v), sort=v) for v in values] for c, values in columns.items()), strict=True
    )
    return (
        Paragraph(
            text=say(
                "The context and compiling come before the first sample and are in no time of a step. The allocator "
                "and the clocks were measured on their own; the remainder is what is left of the cost, mostly "
                "libraries and kernels that are loaded when they are first used, and each cause that shows {gap}. Of "
                "several processes all are medians.",
                gap=NOT_KNOWN,
            )
        ),
        Table(
            caption=say("The start of a cell by cause"),
            columns=(
                *scope.columns(),
                *(number_column(c.name, scales[c.group].unit, c.description, c.group) for c in columns),
            ),
            rows=tuple((*scope.cells(row), *cells) for row, cells in zip(rows, entries, strict=True)),
            note=_remainder_note(starts),
        ),
    )


def _scale_of_groups(columns: Mapping[Column, list[float | None]]) -> dict[str, Scale]:
    """Return one scale for each group of columns: the parts of the cost add up to it, and should be seen to."""
    seconds: dict[str, list[float]] = {}
    for column, values in columns.items():
        largest = max(abs(value) for value in values if value is not None)
        seconds.setdefault(column.group, []).append(largest)
    return {group: time_scale([max(largest)]) for group, largest in seconds.items()}


def _known(start: ColdStart | None) -> bool:
    return start is not None and (start.allocator is not None or start.clocks is not None)


def _cause_columns(rows: list[Row], start_of: Mapping[Row, ColdStart]) -> tuple[tuple[Column, list[float | None]], ...]:
    found = [start_of.get(row) for row in rows]
    before, first = say("before the first sample"), say("cost of the first step")
    return (
        (
            number_column(say("context"), group=before, description=say("Making the device's context.")),
            [cold_cause(row, ColdCause.CONTEXT) for row in rows],
        ),
        (
            number_column(
                say("compiling"), group=before, description=say("Dynamo's own count of its time on whole frames.")
            ),
            [cold_cause(row, ColdCause.COMPILE) for row in rows],
        ),
        (
            number_column(say("cost"), group=first, description=say("First step minus the median of the others.")),
            [start.cost if start else None for start in found],
        ),
        (
            number_column(
                say("allocator"), group=first, description=say("A step with an empty cache minus the same median.")
            ),
            [start.allocator if start else None for start in found],
        ),
        (
            number_column(say("clocks"), group=first, description=say("What a usual step takes longer at its clock.")),
            [start.clocks if start else None for start in found],
        ),
        (
            number_column(say("remainder"), group=first, description=say("The cost without allocator and clocks.")),
            [start.libraries if start else None for start in found],
        ),
    )


def _has_causes(row: Row) -> bool:
    return any(stored.record.cold_causes for stored in row.processes)


def _remainder_note(starts: tuple[ColdStart, ...]) -> str:
    negative = sum(start.libraries < 0 for start in starts)
    if not negative:
        return ""
    return say(
        "The remainder is negative in {cells}: there the causes, each measured on its own, are together more than the "
        "cost.",
        cells=counted(negative, "cell"),
    )


def _warm_note(starts: tuple[ColdStart, ...]) -> str:
    warmups = sorted({start.warm_row.plan.warmup for start in starts if start.warm_row}, key=str)
    if not warmups:
        return say("No cell was also measured with warm-up, hence {gap}.", gap=NOT_KNOWN)
    *others, last = warmups
    steps = counted(last, "step") if isinstance(last, int) else last
    return say("The warm cell is the one with the most warm-up: {steps}.", steps=listed([*map(str, others), steps]))
