"""Tables in a shape of the user's own: which columns, what stands apart and what side by side, as a sweep says it."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from windtunnel.analysis.attention import memory_use
from windtunnel.analysis.comparisons import varying
from windtunnel.analysis.results import Row
from windtunnel.errors import SpecError
from windtunnel.language import listed, say, word
from windtunnel.report.axes import ATTENTION_BY_FIELD, SEED, SIZE, STEPS_BY_FIELD, Axis
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, interval_cell, median_cell, number_column, samples_text, spread_cell
from windtunnel.report.scope import Scope
from windtunnel.spec.sweep import make_sweep
from windtunnel.spec.table_layout import MEMORY_COLUMNS, NUMBER, RATIO, SHAPE_COLUMNS, TableLayout, Unit
from windtunnel.statistics.summary import Spread
from windtunnel.units import PERCENT, count_scale, mebibytes_scale, ratio, scale_in


def asked_tables(scope: Scope) -> Section | None:
    """Return the tables that sweeps of this scope ask for, each of the rows of its sweep; None where none does."""
    latest = {str(run.sweep.get("name", "")): run for run in scope.runs if run.sweep.get("tables")}
    blocks: list[Block] = []
    for run in latest.values():
        try:
            sweep = make_sweep(run.sweep)
            tasks = sweep.expand(scope.environment.device)
        except SpecError as error:
            name = run.sweep.get("name", "step")
            text = say("The tables of sweep {name} cannot be drawn: {reason}", name=name, reason=str(error))
            blocks.append(Callout(kind=CalloutKind.WARNING, text=text))
            continue
        row_of = {stored.key: row for row in scope.rows for stored in row.processes}
        rows = tuple(dict.fromkeys(row_of[key] for task in tasks if (key := task.key()) in row_of))
        if rows:
            blocks += chain.from_iterable(
                _tables(scope, layout, rows, say("{sweep}, table {number}", sweep=sweep.name, number=place))
                for place, layout in enumerate(sweep.tables, start=1)
            )
    if not blocks:
        return None
    explained = say(
        "In the shape that the sweep asks for. What tells cells apart and is no column has tables of its own; what is "
        "the same in all rows stands below them. Marks and intervals of the same cells stand under Complete results, "
        "what lies inside each time and its clock under Method."
    )
    return Section(heading=say("Tables as asked"), blocks=(Paragraph(text=explained), *blocks))


def _tables(scope: Scope, layout: TableLayout, rows: Sequence[Row], name: str) -> Iterator[Table]:
    """Yield the tables of one layout: one for each value of what stands apart, in the order of the rows."""
    axes = ATTENTION_BY_FIELD if scope.is_attention else STEPS_BY_FIELD
    across = axes[layout.across] if layout.across else None
    shown = {axes[column] for column in layout.columns if column in axes} | {across}
    varies = set(varying(rows, {axis.name: axis.get for axis in scope.all_axes}))
    split = [axes[axis] for axis in layout.split]
    split += [axis for axis in scope.all_axes if axis.name in varies and axis not in shown and axis not in split]
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(axis.get(row) for axis in split), []).append(row)
    for group in groups.values():
        said = [scope.phrase(axis, group[0]) for axis in split]
        yield _table(scope, layout, group, " · ".join([name, *said]), across=across, said=shown.union(split))


def _table(
    scope: Scope, layout: TableLayout, rows: Sequence[Row], caption: str, *, across: Axis | None, said: set[Axis | None]
) -> Table:
    entries = [_entry(scope, name, rows, layout) for name in layout.columns]
    same = [scope.phrase(axis, rows[0]) for axis in scope.all_axes if axis not in said and axis is not SEED]
    note = say("The same in all rows: {phrases}.", phrases=listed(same)) if same else ""
    if across is None:
        return Table(
            caption=caption,
            columns=tuple(entry.column for entry in entries),
            rows=tuple(tuple(entry.cell(row) for entry in entries) for row in rows),
            note=note,
        )
    names, numbers = [one for one in entries if one.is_name], [one for one in entries if not one.is_name]
    values = {across.get(row): scope.phrase(across, row) for row in rows}
    lines: dict[tuple[Cell, ...], dict[Hashable, Row]] = {}
    for row in rows:
        lines.setdefault(tuple(entry.cell(row) for entry in names), {})[across.get(row)] = row
    return Table(
        caption=caption,
        columns=(
            *(entry.column for entry in names),
            *(replace(entry.column, group=phrase) for phrase in values.values() for entry in numbers),
        ),
        rows=tuple(
            (*cells, *(entry.cell(at[value]) if value in at else GAP for value in values for entry in numbers))
            for cells, at in lines.items()
        ),
        note=note,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One column, and what makes the entry of a row under it; `is_name` where it says which cell a row is."""

    column: Column
    cell: Callable[[Row], Cell]
    is_name: bool = False


def _entry(scope: Scope, name: str, rows: Sequence[Row], layout: TableLayout) -> _Entry:
    """Return what a layout's column means here; the unit and the decimals of a number are one for all rows."""
    axes = ATTENTION_BY_FIELD if scope.is_attention else STEPS_BY_FIELD
    if name in axes:
        axis = axes[name]
        return _Entry(
            column=Column(name=axis.name, kind=axis.kind, description=axis.description),
            cell=lambda row: Cell(text=scope.value(axis, row), sort=row.size_rank if axis is SIZE else None),
            is_name=True,
        )
    if name in SHAPE_COLUMNS:
        return _shape(name, rows)
    if name == NUMBER:
        return _number(say("n"), "", say("Number of samples."), samples_text)
    if name == RATIO:
        said = say("Median of backward over median of forward, in the same steps.")
        return _number(say("backward over forward"), "", said, lambda row: ratio(_ratio(row)))
    if name in MEMORY_COLUMNS:
        size = mebibytes_scale(_MEMORY[name](row) for row in rows)
        heading, said = _memory_words(name)
        return _number(heading, size.unit, said, lambda row: size.text(_MEMORY[name](row)))
    phase, _, statistic = name.rpartition(".")
    has_phases = any("." in column for column in layout.columns)
    return _statistic(phase or None, statistic, rows, layout.unit, has_phases=has_phases)


def _number(name: str, unit: str, description: str, text: Callable[[Row], str]) -> _Entry:
    return _measured(number_column(name, unit, description), lambda row: Cell(text=text(row)))


def _measured(column: Column, cell: Callable[[Row], Cell]) -> _Entry:
    """Return the entries of a number, of which a failed row has none but its status."""

    def entry(row: Row) -> Cell:
        if row.is_ok and row.samples():
            return cell(row)
        return Cell(text=word(row.record.status.value), is_failure=True)

    return _Entry(column=column, cell=entry)


def _statistic(phase: str | None, statistic: str, rows: Sequence[Row], unit: Unit, *, has_phases: bool) -> _Entry:
    spreads = [spread for row in rows if (spread := row.spread(phase))]
    times = scale_in(unit, (spread.mean for spread in spreads), digits=4)
    deviations = scale_in(unit, (spread.std for spread in spreads), digits=3)
    cells: dict[str, tuple[str, str, Callable[[Row], Cell]]] = {
        "mean": (say("mean"), times.unit, lambda row: _text(times.text, row.spread(phase), "mean")),
        "std": (say("std"), deviations.unit, lambda row: _text(deviations.text, row.spread(phase), "std")),
        "mean_std": (say("mean ± std"), times.unit, lambda row: spread_cell(row.spread(phase), times)),
        "median": (say("median"), times.unit, lambda row: median_cell(row.estimate(phase), times)),
        "interval": (say("95 % interval"), times.unit, lambda row: interval_cell(row.estimate(phase), times)),
        "cv": (say("CV"), PERCENT.unit, lambda row: _text(PERCENT.text, row.spread(phase), "cv")),
    }
    name, column_unit, cell = cells[statistic]
    if has_phases:
        name = say("{phase} {statistic}", phase=word(phase) if phase else say("total"), statistic=name)
    return _measured(number_column(name, column_unit, _inside(phase, rows)), cell)


def _inside(phase: str | None, rows: Sequence[Row]) -> str:
    """Say what lies inside the timed region, where that is one thing for all rows."""
    regions = {row.record.timed.get(phase or row.record.total, "") for row in rows}
    return regions.pop() if len(regions) == 1 else ""


def _text(write: Callable[[float | None], str], spread: Spread | None, field: str) -> Cell:
    return Cell(text=write(getattr(spread, field))) if spread else GAP


def _shape(name: str, rows: Sequence[Row]) -> _Entry:
    headings = {
        "d_model": "d_model",
        "d_ff": "d_ff",
        "layers": say("layers"),
        "heads": say("heads"),
        "vocab": say("vocabulary"),
        "parameters": say("parameters"),
    }
    if name == "parameters":
        scale = count_scale(row.record.parameters for row in rows)
        column = number_column(headings[name], scale.unit)
        return _Entry(column=column, cell=lambda row: Cell(text=scale.text(row.record.parameters)), is_name=True)
    field = _SHAPE_FIELDS[name]

    def cell(row: Row) -> Cell:
        value = getattr(row.cell.model, field, None)
        return GAP if value is None else Cell(text=str(value))

    return _Entry(column=number_column(headings[name]), cell=cell, is_name=True)


_SHAPE_FIELDS = {
    "d_model": "d_model",
    "d_ff": "d_ff",
    "layers": "num_layers",
    "heads": "num_heads",
    "vocab": "vocab_size",
}
"""Columns to the fields of a model; a model of the user's own has some of them at most."""


def _ratio(row: Row) -> float | None:
    forward, backward = row.estimate("forward"), row.estimate("backward")
    return backward.value / forward.value if forward and backward else None


_MEMORY: Mapping[str, Callable[[Row], int | None]] = {
    "peak_memory": lambda row: row.peak_bytes,
    "held_memory": lambda row: use.before_backward if (use := memory_use(row)) else None,
    "forward_peak_memory": lambda row: use.forward_peak if (use := memory_use(row)) else None,
    "backward_peak_memory": lambda row: use.backward_peak if (use := memory_use(row)) else None,
}


def _memory_words(name: str) -> tuple[str, str]:
    """Return the heading and the meaning of a column of memory."""
    return {
        "peak_memory": (say("peak memory"), say("Most bytes in use at any one time.")),
        "held_memory": (say("held before backward"), say("Allocated when forward is over.")),
        "forward_peak_memory": (say("forward peak memory"), say("Most in use during forward.")),
        "backward_peak_memory": (say("backward peak memory"), say("Most in use during backward.")),
    }[name]
