"""A heat map of frontiers, and a table that says the same where it cannot be drawn."""

import math
from collections.abc import Sequence

from windtunnel.analysis.frontier import FrontierLine
from windtunnel.language import listed, say
from windtunnel.report import figures
from windtunnel.report.axes import D_HEAD, SIZE, WORKLOAD, Axis
from windtunnel.report.document import Block, Cell, Column, Figure, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope

_ACROSS = (SIZE, D_HEAD, WORKLOAD)
"""What the columns are: the first of these that varies, else the first that does."""


def heat_map_of(scope: Scope, lines: Sequence[FrontierLine], along: Axis, caption: str) -> tuple[Block, ...]:
    """Return the figure and its table; nothing where there is one line only."""
    axes = [axis for axis in scope.axes if axis is not along and len({_at(scope, axis, line) for line in lines}) > 1]
    if not axes:
        return ()
    across = next((axis for axis in _ACROSS if axis in axes), axes[0])
    columns = list(dict.fromkeys(_at(scope, across, line) for line in lines))
    others = [axis for axis in axes if axis is not across]
    grid: dict[str, dict[str, FrontierLine]] = {}
    for line in lines:
        name = " · ".join(scope.phrase(axis, line.rows[0]) for axis in others)
        grid.setdefault(name, {})[_at(scope, across, line)] = line
    names = list(grid)
    cells = [[grid[name].get(column) for column in columns] for name in names]
    texts = [[_text(line) for line in row] for row in cells]
    figure = Figure(
        caption=caption,
        plotly=figures.heat_map(
            columns,
            names,
            [[_height(line) for line in row] for row in cells],
            texts,
            x_title=across.name,
        ),
        alternative=say("The table below shows the same."),
    )
    table = Table(
        caption=say("{caption}, by {axis}", caption=caption, axis=across.name),
        columns=(
            *((Column(name=listed(axis.name for axis in others)),) if others else ()),
            *(number_column(column) for column in columns),
        ),
        rows=tuple(
            (
                *((Cell(text=name),) if others else ()),
                *(GAP if line is None else Cell(text=text) for line, text in zip(row, said, strict=True)),
            )
            for name, row, said in zip(names, cells, texts, strict=True)
        ),
    )
    return figure, table


def _at(scope: Scope, axis: Axis, line: FrontierLine) -> str:
    return scope.value(axis, line.rows[0])


def _text(line: FrontierLine | None) -> str:
    if line is None:
        return ""
    if line.largest is None:
        return say("none") if line.fits_nowhere else say("not known")
    sign = "≥ " if line.smallest is None else ""
    return f"{sign}{line.value(line.largest)}"


def _height(line: FrontierLine | None) -> float | None:
    """Return what the colour stands for: the doublings of a number, or the place of a size; None where none fits."""
    if line is None or line.largest is None:
        return None
    value = line.value(line.largest)
    if isinstance(value, int):
        return math.log2(value)
    return float([line.line.value(place) for place in range(len(line.line))].index(value))
