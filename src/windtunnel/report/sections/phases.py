"""Forward, loss, backward, optimizer and total of the steps that have phases."""

from collections.abc import Iterable
from functools import reduce

from windtunnel.analysis.results import Row
from windtunnel.language import say, word
from windtunnel.records.record import ClockName
from windtunnel.report.axes import WORKLOAD, workload_name
from windtunnel.report.document import Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, interval_cell, median_cell, number_column, spread_cell
from windtunnel.report.scope import Scope
from windtunnel.units import Scale, time_scale


def phases(scope: Scope) -> Section | None:
    """Return a table for each workload with phases; the forward of inference is in none of them.

    Rows of an older version, whose forward has the loss inside, share no table with those of this one.
    """
    rows_of: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for row in sorted(scope.rows, key=lambda row: row.cell.workload):
        if row.cell.workload in {"forward_backward", "train_step"}:
            rows_of.setdefault((row.cell.workload, row.phases), []).append(row)
    tables = [
        _table(scope, workload, rows) for (workload, _), rows in rows_of.items() if any(row.is_ok for row in rows)
    ]
    if not tables:
        return None
    explained = Paragraph(
        text=say(
            "Each phase and the total are timed, none is a difference of others. What lies between phases is in the "
            "total only. Intervals are of the median; marks of the whole step stand in the complete results."
        )
    )
    return Section(heading=say("Phases of a step"), blocks=(explained, *tables))


def _table(scope: Scope, workload: str, rows: list[Row]) -> Table:
    measured = [row for row in rows if row.is_ok]
    names = measured[0].phases
    scales = {name: _scale(measured, name) for name in names}
    return Table(
        caption=_caption(workload, has_loss="loss" in names),
        columns=(
            *scope.columns(without=(WORKLOAD,)),
            *(column for name in names for column in _columns(measured, name, scales[name])),
        ),
        rows=tuple(
            (
                *scope.cells(row, without=(WORKLOAD,)),
                *(
                    (cell for name in names for cell in _cells(row, name, scales[name]))
                    if row.is_ok
                    else _failed(row, len(names))
                ),
            )
            for row in rows
        ),
    )


def _caption(workload: str, *, has_loss: bool) -> str:
    if has_loss:
        return say("Phases of {workload}", workload=workload_name(workload))
    return say("Phases of {workload}, loss inside forward", workload=workload_name(workload))


def _scale(rows: list[Row], phase: str) -> Scale:
    return time_scale(estimate.value for row in rows if (estimate := row.estimate(phase)))


def _columns(rows: list[Row], phase: str, scale: Scale) -> tuple[Column, ...]:
    clocks = either(_clock_name(row.clock(phase)) for row in rows)
    name = say("total") if phase == rows[0].record.total else word(phase)
    group = say("{phase}, {clock}", phase=name, clock=clocks)
    inside = word(rows[0].record.timed.get(phase, ""))
    return (
        number_column(say("median"), scale.unit, inside, group),
        number_column(say("95 % interval"), scale.unit, say("Of the median."), group),
        number_column(say("mean ± std"), scale.unit, inside, group),
    )


def _clock_name(clock: ClockName) -> str:
    match clock:
        case ClockName.HOST:
            return say("host clock")
        case ClockName.DEVICE:
            return say("device events")
        case ClockName.ENQUEUE:
            return say("host clock, without waiting for the device")


def either(names: Iterable[str]) -> str:
    """Name those that are not the same everywhere, each once: 'host or device'."""
    return reduce(lambda one, other: say("{one} or {other}", one=one, other=other), dict.fromkeys(names))


def _cells(row: Row, phase: str, scale: Scale) -> tuple[Cell, ...]:
    estimate = row.estimate(phase)
    return median_cell(estimate, scale), interval_cell(estimate, scale), spread_cell(row.spread(phase), scale)


def _failed(row: Row, num_phases: int) -> tuple[Cell, ...]:
    return (Cell(text=word(row.record.status.value), is_failure=True), GAP, GAP) * num_phases
