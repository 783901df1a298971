"""Cells whose samples start slow, drift, step or have two states: how much, for a careful reader, without causes."""

from collections.abc import Callable
from dataclasses import dataclass

from windtunnel.analysis.comparisons import shows_cold_start
from windtunnel.analysis.labels import Mark, slow_start_of
from windtunnel.analysis.results import Row, in_seconds
from windtunnel.language import counted, passage, say, word
from windtunnel.report.document import Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, interval_cell, mark_name, median_cell, number_column
from windtunnel.report.scope import Scope
from windtunnel.statistics.series import irregularities_of, level_intervals
from windtunnel.units import Scale, change, percent, time_scale
from windtunnel.units import ratio as ratio_text


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """One kind of irregularity: what it is in words, its columns, and their entries where it was found."""

    explained: str
    columns: tuple[Column, ...]
    cells: Callable[[Row], tuple[Cell, ...] | None]


def noise(scope: Scope) -> Section | None:
    """Return the cells in which something was found, under columns of the kinds that were."""
    kinds = _kinds(scope)
    irregular = [row for row in scope.measured if not row.irregularities.is_clean]
    found = {row: cells for row in irregular if any(cells := [kind.cells(row) for kind in kinds])}
    if not found:
        return None
    there = [place for place, _ in enumerate(kinds) if any(cells[place] for cells in found.values())]
    shown = [kinds[place] for place in there]
    table = Table(
        caption=say("{some} of {all}", some=f"{len(found):,}", all=counted(len(scope.measured), "measured cell")),
        columns=(*scope.columns(), *(column for kind in shown for column in kind.columns)),
        rows=tuple(
            (
                *scope.cells(row),
                *(cell for place in there for cell in cells[place] or (GAP,) * len(kinds[place].columns)),
            )
            for row, cells in found.items()
        ),
    )
    explained = Paragraph(
        text=passage(
            [
                *(kind.explained for kind in shown),
                say("No sample was dropped from any table, and the cause of none of this was measured."),
            ]
        )
    )
    return Section(heading=say("Irregular samples"), blocks=(explained, table))


def _kinds(scope: Scope) -> tuple[_Kind, ...]:
    states = [states for row in scope.measured if (states := row.irregularities.two_states)]
    time = time_scale(level * 1e-9 for state in states for level in (state.low, state.high))
    return (
        _Kind(
            explained=say(
                "Slow start: how many samples at the beginning are slow, and the first of them over the median "
                "of what follows, in cells that show no cold start."
            ),
            columns=(
                number_column(say("slow start"), description=say("Slow samples before the first that is not.")),
                number_column(
                    word("first"), description=say("First sample over the median of those after the slow ones.")
                ),
            ),
            cells=_slow_start,
        ),
        _Kind(
            explained=say(
                "Drift: how much a straight line through the samples rises or falls from the first to the last."
            ),
            columns=(
                number_column(say("drift"), description=say("From the first to the last sample, over the median.")),
            ),
            cells=_drift,
        ),
        _Kind(
            explained=say("Step: where the level changes once, and by how much."),
            columns=(
                number_column(
                    mark_name(Mark.STEP), description=say("Median after the step against the median before it.")
                ),
                number_column(
                    say("at sample"), description=say("The first sample after the step; samples count from 1.")
                ),
            ),
            cells=_step,
        ),
        _Kind(
            explained=say(
                "Two states: the samples go back and forth between two levels, each given as the median of its "
                "samples with its 95 % interval and their share; the median of all says little about either."
            ),
            columns=(
                number_column(say("low state"), time.unit, say("Median of the samples in the lower state.")),
                number_column(say("95 % interval"), time.unit, say("Of the median of the lower state.")),
                number_column(say("share"), description=say("Share of the samples in the lower state.")),
                number_column(say("high state"), time.unit, say("Median of the samples in the upper state.")),
                number_column(say("95 % interval"), time.unit, say("Of the median of the upper state.")),
                number_column(say("share"), description=say("Share of the samples in the upper state.")),
                number_column(
                    say("switches"), description=say("How often a sample is in another state than the one before.")
                ),
            ),
            cells=lambda row: _two_states(row, time),
        ),
    )


def _slow_start(row: Row) -> tuple[Cell, ...] | None:
    start = None if shows_cold_start(row) else slow_start_of(row)
    return None if start is None else (Cell(text=str(start.count)), Cell(text=ratio_text(start.ratio)))


def _drift(row: Row) -> tuple[Cell, ...] | None:
    trend = row.irregularities.trend
    return (Cell(text=change(trend.change), sort=trend.change),) if trend else None


def _step(row: Row) -> tuple[Cell, ...] | None:
    step = row.irregularities.step
    return (Cell(text=change(step.change), sort=step.change), Cell(text=str(step.index + 1))) if step else None


def _two_states(row: Row, time: Scale) -> tuple[Cell, ...] | None:
    found, states = row.irregularities, row.irregularities.two_states
    if states is None:
        return None
    samples = next(samples for samples in row.samples_by_process() if irregularities_of(samples) == found)
    levels = level_intervals(samples, found)
    assert levels is not None  # as there are two states
    low, high = (in_seconds(level) for level in levels)
    return (
        median_cell(low, time),
        interval_cell(low, time),
        Cell(text=percent(1 - states.share_high, decimals=0)),
        median_cell(high, time),
        interval_cell(high, time),
        Cell(text=percent(states.share_high, decimals=0)),
        Cell(text=str(states.switches)),
    )
