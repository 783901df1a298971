"""Every cell with its times: a table for each backend, a row for each shape, failures among them."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise

from windtunnel.analysis.attention import in_order
from windtunnel.analysis.results import Row
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.record import ClockName
from windtunnel.report.axes import BACKEND, COMPILE, PRECISION, WORKLOAD, Axis
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import (
    GAP,
    explain_marks,
    half_width_cell,
    mark_name,
    median_cell,
    number_column,
    samples_text,
    spread_cell,
)
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import stage_name
from windtunnel.units import Scale, mebibytes_scale, memory, milliseconds_scale

MAX_TABLES = 16
"""With more backends than this all stand in one table for each workload: short tables are hard to search."""

_APART = (BACKEND, PRECISION, COMPILE, WORKLOAD)
"""What makes a table of its own: in one table only what a row of a kernel's table says."""


def phase_name(row: Row, phase: str) -> str:
    """Return what tables call a phase of a row.

    The two forwards are two quantities: one keeps what backward needs.
    """
    if phase == "forward":
        return say("forward, no_grad") if row.cell.workload == "attention_forward" else say("forward with graph")
    return say("forward + backward") if phase == row.record.total else word(phase)


def results(scope: Scope) -> Section:
    """Return all cells; what does not vary stands in a sentence above them."""
    said = say(
        "Medians, with half of their 95 % interval (±) and mean ± standard deviation. Forward with graph keeps what "
        "backward needs, forward with no_grad does not: two quantities, never in one column."
    )
    blocks: list[Block] = [Paragraph(text=passage((said, _clocks(scope), scope.constants())))]
    blocks += [_table(scope, rows, apart) for rows, apart in _split(scope)]
    if fault := _disorder(scope):
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=fault))
    return Section(heading=say("Complete results"), blocks=tuple(blocks))


def _clocks(scope: Scope) -> str:
    clocks = {row.clock(phase) for row in scope.measured for phase in row.phases}
    if clocks == {ClockName.DEVICE}:
        return say("All times are on the device's clock.")
    if clocks == {ClockName.HOST}:
        return say("All times are on the host's clock.")
    return say("The clock of each time stands under Method.")


def _split(scope: Scope) -> Iterator[tuple[list[Row], tuple[Axis, ...]]]:
    """Yield the rows of each table, and the axes that are one value in it."""
    apart = _APART
    if len({tuple(axis.get(row) for axis in apart) for row in scope.rows}) > MAX_TABLES:
        apart = (WORKLOAD,)
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in scope.rows:
        groups.setdefault(tuple(axis.get(row) for axis in apart), []).append(row)
    for rows in groups.values():
        yield list(in_order(rows)), apart


def _table(scope: Scope, rows: Sequence[Row], apart: tuple[Axis, ...]) -> Table:
    measured = [row for row in rows if row.is_ok and row.samples()]
    phases = rows[0].phases
    estimates = [estimate.value for row in measured for phase in phases if (estimate := row.estimate(phase))]
    time = milliseconds_scale(estimates)
    peaks = {row: row.peak_bytes for row in rows}
    use = mebibytes_scale(peaks.values())
    has_remarks = any(not row.is_ok or scope.marks[row] for row in rows)
    columns = [
        *scope.columns(without=apart),
        number_column(say("n"), description=say("Number of samples; 5 x 10 are 10 in each of 5 processes.")),
        *(column for phase in phases for column in _columns(rows[0], phase, time)),
        number_column(say("peak memory"), use.unit, say("Most bytes in use at any one time, from building on.")),
    ]
    remarks = Column(
        name=say("remarks"), description=say("Marks are explained below; of a failure, where and what was asked.")
    )

    def entries(row: Row) -> Iterator[Cell]:
        yield from scope.cells(row, without=apart)
        if row.is_ok and row.samples():
            yield Cell(text=samples_text(row), sort=len(row.samples()))
            for phase in phases:
                yield from _cells(row, phase, time)
            yield Cell(text=use.text(peaks[row]))
        else:
            yield GAP
            yield Cell(text=word(row.record.status.value), is_failure=True)
            yield from [GAP] * (len(columns) - len(scope.columns(without=apart)) - 2)
        if has_remarks:
            yield Cell(text=listed(map(mark_name, scope.marks[row])) if row.is_ok else _failure(row))

    said = [scope.phrase(axis, rows[0]) for axis in apart if axis in scope.axes or axis in {BACKEND, WORKLOAD}]
    return Table(
        caption=say("{one}, {other}", one=" · ".join(said), other=counted(len(rows), "cell")),
        columns=(*columns, remarks) if has_remarks else tuple(columns),
        rows=tuple(tuple(entries(row)) for row in rows),
        keys=scope.row_keys(rows),
        note=explain_marks(rows, scope.marks),
    )


def _columns(row: Row, phase: str, time: Scale) -> tuple[Column, ...]:
    name = phase_name(row, phase)
    inside = row.record.timed.get(phase, "")
    median = number_column(name, time.unit, say("Median. Inside: {region}.", region=word(inside)))
    if phase == row.record.total and len(row.phases) > 1:
        return (median, number_column("±", "%", say("Half of the 95 % interval of the median over it.")))
    return (
        median,
        number_column("±", "%", say("Half of the 95 % interval of the median over it, of {phase}.", phase=name)),
        number_column(say("mean ± std"), time.unit, say("Mean and sample standard deviation of {phase}.", phase=name)),
    )


def _cells(row: Row, phase: str, time: Scale) -> tuple[Cell, ...]:
    estimate = row.estimate(phase)
    cells = median_cell(estimate, time), half_width_cell(estimate)
    if phase == row.record.total and len(row.phases) > 1:
        return cells
    return *cells, spread_cell(row.spread(phase), time)


def _failure(row: Row) -> str:
    failure = row.record.failure
    if failure is None:
        return ""
    where = stage_name(failure.phase or failure.stage)
    if not failure.requested_bytes:
        return where
    return say("{phase}: asked {memory}", phase=where, memory=memory(failure.requested_bytes))


def _disorder(scope: Scope) -> str:
    """Say which cell has a phase that takes longer than the step around it; empty when none has."""
    wrong = [row for row in scope.measured if _is_in_disorder(row)]
    if not wrong:
        return ""
    if len(wrong) > 1:
        return say(
            "A fault in the measurement: in {cell}, and {others} a phase takes longer than forward + backward of the "
            "same calls.",
            cell=scope.label(wrong[0]),
            others=counted(len(wrong) - 1, "other cell"),
        )
    return say(
        "A fault in the measurement: in {cell} a phase takes longer than forward + backward of the same calls.",
        cell=scope.label(wrong[0]),
    )


def _is_in_disorder(row: Row) -> bool:
    medians = [estimate.value for phase in row.phases if (estimate := row.estimate(phase))]
    return any(part > 1.02 * whole for part, whole in pairwise(sorted(medians[:-1])[-1:] + medians[-1:]))
