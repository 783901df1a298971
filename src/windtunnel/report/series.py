"""How rows become the series of charts: one colour and one mark each, and a chart each for what is left."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from windtunnel.analysis.comparisons import varying
from windtunnel.analysis.results import Row
from windtunnel.language import listed, say
from windtunnel.report.axes import (
    ATTENTION,
    BACKEND,
    BATCH,
    CACHE,
    CHECKPOINT,
    COMPILE,
    CONTEXT,
    D_HEAD,
    HEADS,
    MASK,
    PRECISION,
    SEED,
    SIZE,
    STEPS,
    WARMUP,
    WORKLOAD,
    Axis,
)
from windtunnel.report.scope import Scope

_Thing = TypeVar("_Thing")

MAX_SERIES = 18
"""More series than this in one chart cannot be told apart."""

MAX_PANELS = 4
"""More charts of one kind than this nobody looks at; the tables hold everything."""

MAX_POINTS = 200
"""More points than this on one line cannot be told apart."""

_CHANNELS = (WORKLOAD, CONTEXT, ATTENTION, PRECISION, COMPILE, CHECKPOINT, BATCH, WARMUP, STEPS, SEED)

_ATTENTION_CHANNELS = (
    *(BACKEND, COMPILE, D_HEAD, MASK, HEADS, BATCH),
    *(PRECISION, WORKLOAD, CACHE, WARMUP, STEPS, SEED),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Rows that are drawn with one colour and one mark, both counted from 0."""

    name: str
    color: int
    mark: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One chart: its series, and the phrases that tell it from others of its kind; empty where it is the only one."""

    title: str
    series: tuple[Series, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows that are drawn."""
        return tuple(row for series in self.series for row in series.rows)


def panels_of(scope: Scope, rows: Sequence[Row], *, x: Axis) -> tuple[Panel, ...]:
    """Spread rows over charts and series so that no series has two points above one value of `x`.

    The first axis that varies has the colour, the second the mark, and the others make a chart each. Over
    sizes the workload comes first; over anything else the size does, because lines are looked up by it. Of attention
    alone, where backends vary, only they and their compiling make lines: many cross one another in one chart.
    """
    order = _ATTENTION_CHANNELS if scope.is_attention else _CHANNELS if x is SIZE else (SIZE, *_CHANNELS)
    names = varying(rows, {axis.key: axis.get for axis in scope.axes})
    channels = [axis for axis in order if axis is not x and axis.key in names]
    drawn = [axis for axis in channels if axis in {BACKEND, COMPILE}] if channels[:1] == [BACKEND] else channels[:2]
    apart = [axis for axis in channels if axis not in drawn]
    lines = _grouped(rows, lambda row: tuple([axis.get(row) for axis in channels]))
    firsts = [line[0] for line in lines]  # of each value the first row is among them
    places = {axis: {value: place for place, value in enumerate(_values(firsts, axis))} for axis in drawn}

    def series(line: Sequence[Row]) -> Series:
        color, mark, *_ = (*(places[axis][axis.get(line[0])] for axis in drawn), 0, 0)
        if len(drawn) == 1:
            mark = color  # what differs in colour alone is lost in grey
        name = " · ".join(scope.phrase(axis, line[0]) for axis in drawn)
        return Series(name=name or say("all cells"), color=color, mark=mark, rows=tuple(line[:MAX_POINTS]))

    def panel(members: Sequence[Sequence[Row]]) -> Panel:
        drawn_lines = sorted((series(line) for line in members), key=_place)
        title = listed(scope.phrase(axis, members[0][0]) for axis in apart)
        return Panel(title=title, series=tuple(drawn_lines[:MAX_SERIES]))

    panels = _grouped(lines, lambda line: tuple([axis.get(line[0]) for axis in apart]))
    return tuple(panel(members) for members in panels[:MAX_PANELS])


def _place(series: Series) -> tuple[int, int]:
    return series.color, series.mark


def _values(rows: Sequence[Row], axis: Axis) -> list[object]:
    """Return the values of an axis: sizes from small to large, all others as they were asked for."""
    ordered = sorted(rows, key=lambda row: row.size_rank) if axis is SIZE else rows
    return list(dict.fromkeys(axis.get(row) for row in ordered))


def _grouped(things: Iterable[_Thing], key: Callable[[_Thing], Hashable]) -> list[list[_Thing]]:
    groups: dict[Hashable, list[_Thing]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.values())
