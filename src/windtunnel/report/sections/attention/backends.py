"""Backends beside one another at equal points, as speed-ups of medians that were not paired."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.attention import SHORT_SECONDS, Point, Variant, in_order, points_of, speed_up, variant_of
from windtunnel.analysis.results import Row
from windtunnel.language import say, word
from windtunnel.report.axes import BACKEND, COMPILE, WORKLOAD
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, median_cell, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.attention.results import phase_name
from windtunnel.units import Scale, duration, milliseconds_scale, ratio, span

_SAME = (BACKEND, COMPILE, WORKLOAD)


def backends(scope: Scope) -> Section | None:
    """Return the speed-ups of whole calls; None where one backend was measured."""
    reference = _reference(scope)
    if reference is None:
        return None
    said = say(
        "Medians of one run, not paired: time of {reference} over time of the other, above 1x where the other is "
        "faster. A drift of the machine between two cells is in their ratio; windtunnel compare measures such a "
        "difference in pairs. Ranges are from the ends of the two intervals divided crosswise. short: both medians "
        "below {short}, where a ratio would rank launches and noise.",
        reference=reference.name,
        short=duration(SHORT_SECONDS),
    )
    blocks: list[Block] = [Paragraph(text=said)]
    blocks += [_table(scope, points, reference, None) for points in _by_workload(scope)]
    return Section(heading=say("Backends against one another"), blocks=tuple(blocks))


def backends_by_phase(scope: Scope) -> Section | None:
    """Return the same of the phases inside a call."""
    reference = _reference(scope)
    tables = [
        _table(scope, points, reference, phase)
        for points in _by_workload(scope)
        for phase in points[0].first.phases[:-1]
        if reference
    ]
    if not tables:
        return None
    return Section(heading=say("Backends against one another, by phase"), blocks=tuple(tables), is_detail=True)


def _reference(scope: Scope) -> Variant | None:
    """Return the variant that came first in the store; None where no other one shares a point with any."""
    if not any(len(point.rows) > 1 for point in points_of(scope.measured)):
        return None
    return variant_of(scope.rows[0])


def _by_workload(scope: Scope) -> Iterator[Sequence[Point]]:
    """Yield the points of each workload at which several variants were tried."""
    workloads: dict[str, list[Point]] = {}
    for point in points_of(in_order(scope.rows)):
        if len(point.rows) > 1:
            workloads.setdefault(point.first.cell.workload, []).append(point)
    yield from workloads.values()


def _table(scope: Scope, points: Sequence[Point], reference: Variant, phase: str | None) -> Table:
    order = dict.fromkeys([reference, *map(variant_of, scope.rows)])
    there = {variant for point in points for variant in point.rows}
    others = [variant for variant in order if variant in there and variant != reference]
    old = [row.estimate(phase) for point in points if (row := point.rows.get(reference)) and row.is_ok]
    time = milliseconds_scale(estimate.value for estimate in old if estimate)
    first = points[0].first
    name = phase_name(first, phase or first.record.total)
    old_name = reference.name
    columns: list[Column] = [
        *scope.columns(without=_SAME),
        number_column(old_name, time.unit, say("Median of {phase}: the reference.", phase=name)),
    ]
    for variant in others:
        new_name = variant.name
        columns += [
            number_column(
                new_name, "x", say("Time of {reference} over time of {other}.", reference=old_name, other=new_name)
            ),
            number_column(
                say("range of {variant}", variant=new_name),
                description=say("What the two intervals allow."),
                is_detail=True,
            ),
        ]

    def cells(point: Point) -> Iterator[Cell]:
        row = point.rows.get(reference)
        yield _median(row, phase, time)
        for variant in others:
            yield from _speed_up(row, point.rows.get(variant), phase)

    return Table(
        caption=say("Speed-up of {phase} over {reference}", phase=name, reference=old_name),
        columns=tuple(columns),
        rows=tuple((*scope.cells(point.first, without=_SAME), *cells(point)) for point in points),
    )


def _median(row: Row | None, phase: str | None, time: Scale) -> Cell:
    if row is None:
        return GAP
    return median_cell(row.estimate(phase), time) if row.is_ok else _status(row)


def _speed_up(reference: Row | None, row: Row | None, phase: str | None) -> tuple[Cell, Cell]:
    if row is None:
        return GAP, GAP
    if not row.is_ok:
        return _status(row), GAP
    found = speed_up(reference, row, phase) if reference else None
    if found is None:
        return Cell(text=word("runs")), GAP
    if found.ratio is None:
        return Cell(text=say("short")), GAP
    return Cell(text=ratio(found.ratio), sort=found.ratio), Cell(text=span(found.span))


def _status(row: Row) -> Cell:
    return Cell(text=word(row.record.status.value), is_failure=True)
