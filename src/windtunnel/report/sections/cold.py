"""What the first step of a fresh process costs, beside the steps after it and a warm cell."""

from windtunnel.analysis.comparisons import ColdStart, cold_starts
from windtunnel.report.document import Block, Cell, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import WARMUP, Scope
from windtunnel.statistics.summary import spread_of
from windtunnel.units import NOT_KNOWN, counted, time_scale
from windtunnel.units import ratio as ratio_text


def cold(scope: Scope) -> Section | None:
    """Return the cells without warm-up; only those that were first in their process can show a cold start."""
    starts = cold_starts(scope.rows)
    if not starts:
        return None
    blocks: list[Block] = [
        Paragraph(
            text="Only a cell that was the first of its process can show what a cold start costs: "
            "every later one finds libraries loaded and memory reserved."
        ),
        _table(scope, starts),
    ]
    late = sum(1 for row in scope.measured if row.plan.is_cold and not row.record.is_first_in_process)
    if late:
        blocks.append(
            Paragraph(
                text=f"Not shown: {counted(late, 'cell')} without warm-up that were not first in their process, "
                "and so say nothing about it."
            )
        )
    return Section(heading="Cold start against warm", blocks=tuple(blocks))


def _table(scope: Scope, starts: tuple[ColdStart, ...]) -> Table:
    spreads = [(every, spread_of(start.cold.samples()[1:])) for start in starts if (every := start.cold.spread())]
    time = time_scale(value for start in starts for value in (start.first, start.rest, start.warm))
    cost = time_scale(abs(start.cost) for start in starts)
    return Table(
        caption="The first step of a process",
        columns=(
            *scope.columns(without=WARMUP),
            number_column("first step", time.unit, "First timed step of the cell without warm-up."),
            number_column("other steps", time.unit, "Median of the steps after the first, in the same cell."),
            number_column("warm cell", time.unit, "Median of the same cell measured with warm-up."),
            number_column("cost", cost.unit, "First step minus the median of the others."),
            number_column("factor", description="First step over the median of the others."),
            number_column("mean ± std, all", time.unit, "All samples of the cell without warm-up."),
            number_column("mean ± std, without first", time.unit, "The same samples without the first."),
        ),
        rows=tuple(
            (
                *scope.cells(start.cold, without=WARMUP),
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


def _warm_note(starts: tuple[ColdStart, ...]) -> str:
    warmups = sorted({start.warm_row.plan.warmup for start in starts if start.warm_row}, key=str)
    if not warmups:
        return f"No cell was also measured with warm-up, hence {NOT_KNOWN}."
    return f"The warm cell is the one with the most warm-up: {', '.join(map(str, warmups))} steps."
