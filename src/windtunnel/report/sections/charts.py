"""The pictures: time by size and by context, samples in their order, peak memory; chosen by what varies."""

from collections.abc import Sequence

from windtunnel.analysis.results import Row
from windtunnel.report import figures
from windtunnel.report.document import Figure, Section
from windtunnel.report.raw_samples import raw_samples
from windtunnel.report.scope import ATTENTION, BATCH, COMPILE, CONTEXT, PRECISION, SIZE, WARMUP, WORKLOAD, Axis, Scope
from windtunnel.report.series import Panel, panels_of
from windtunnel.statistics.interval import Estimate
from windtunnel.units import Scale, duration, memory, memory_scale, ratio, time_scale

_NAMED = (SIZE, WORKLOAD, ATTENTION, PRECISION, COMPILE, BATCH)
"""What the chart of names may have below it: the first of these that varies."""

MAX_CELLS = 8
"""More lines of samples than this cross one another beyond reading."""

MAX_SAMPLES = 300
"""More samples of a cell than this are more points than pixels."""


def charts(scope: Scope) -> Section | None:
    """Return the charts; each says what it does not show."""
    if not scope.measured:
        return None
    warm = most_warmed(scope)
    drawn = (
        *_times_by_name(scope, warm),
        *_times_by_context(scope, warm),
        *samples_of_cells(scope),
        *_memory(scope, warm),
    )
    return Section(heading="Charts", blocks=drawn)


def most_warmed(scope: Scope) -> tuple[Row, ...]:
    """Return the measured cells with the most warm-up: times of cold and of warm steps make no common line."""
    ranks = [row.plan.warmup_rank for row in scope.measured]
    most = max(ranks)
    return tuple(row for row, rank in zip(scope.measured, ranks, strict=True) if rank == most)


def _times_by_name(scope: Scope, rows: tuple[Row, ...]) -> list[Figure]:
    axis = _named_axis(scope)
    return [_times(scope, panel, axis) for panel in panels_of(scope, rows, x=axis)] if axis else []


def _named_axis(scope: Scope) -> Axis | None:
    """Return what a chart of names has below it; None where there would be one name, or none."""
    return next((axis for axis in _NAMED if axis in scope.axes), None) if len(scope.rows) > 1 else None


def _times_by_context(scope: Scope, rows: tuple[Row, ...]) -> list[Figure]:
    if CONTEXT not in scope.axes:
        return []
    return [_times(scope, panel, CONTEXT) for panel in panels_of(scope, rows, x=CONTEXT)]


def _times(scope: Scope, panel: Panel, axis: Axis) -> Figure:
    estimates = {row: estimate for row in panel.rows if (estimate := row.estimate())}
    time = time_scale(estimate.value for estimate in estimates.values())
    values = [estimate.value / time.size for estimate in estimates.values()]
    traces: list[figures.Json] = []
    for series in panel.series:
        members = _along(axis, series.rows)
        trace = figures.dots(
            series.name,
            [_x(scope, axis, row) for row in members],
            [estimates[row].value / time.size for row in members],
            place=series.color,
            mark=series.mark,
            is_joined=axis is CONTEXT,
        )
        trace["offsetgroup"] = trace["name"]  # its raw samples stand with it
        ends = [(scaled(estimates[row].low, time), scaled(estimates[row].high, time)) for row in members]
        hovers = [hover(row, estimates[row], time) for row in members]
        traces.append(figures.with_hover(figures.with_intervals(trace, ends), hovers))
    title = f"time of a step ({time.unit})"
    return Figure(
        caption=_caption(f"Time of a step by {axis.name}", panel, scope),
        plotly=figures.chart(
            traces,
            x=_x_axis(scope, axis, panel.rows),
            y=figures.values_axis(title, values),
            # Above a name, points of several series stand side by side; above a context, where it is.
            scattermode="overlay" if axis is CONTEXT else "group",
        ),
        alternative=_times_in_words(scope, panel),
        samples=raw_samples(panel, lambda row: _x(scope, axis, row), time),
    )


def hover(row: Row, estimate: Estimate, time: Scale) -> str:
    """Return what a point of time says where the pointer is."""
    spread = row.spread()
    interval = time.interval(estimate.low, estimate.high)
    parts = [f"{time.text(estimate.value)} {time.unit}"]
    parts += [f"95 % interval {interval}"] if estimate.low is not None else ["no interval"]
    parts += [f"mean ± std {time.spread(spread.mean, spread.std)}"] if spread else []
    return ", ".join([*parts, f"n = {estimate.n:,}"])


def _times_in_words(scope: Scope, panel: Panel) -> str:
    ordered = sorted((estimate.value, scope.label(row)) for row in panel.rows if (estimate := row.estimate()))
    (low, fastest), (high, slowest) = ordered[0], ordered[-1]
    return (
        f"Medians of whole steps with their 95 % intervals, from {duration(low)} ({fastest}) to "
        f"{duration(high)} ({slowest}). All numbers are in the table of complete results."
    )


def _memory(scope: Scope, rows: tuple[Row, ...]) -> list[Figure]:
    axis = _named_axis(scope)
    known = tuple(row for row in rows if row.peak_bytes)
    if axis is None or not known:
        return []
    return [_memory_of(scope, panel, axis) for panel in panels_of(scope, known, x=axis)]


def _memory_of(scope: Scope, panel: Panel, axis: Axis) -> Figure:
    peaks = {row: float(row.peak_bytes or 0) for row in panel.rows}
    scale = memory_scale(peaks.values())
    traces: list[figures.Json] = []
    for series in panel.series:
        members = _along(axis, series.rows)
        trace = figures.bars(
            series.name,
            [_x(scope, axis, row) for row in members],
            [peaks[row] / scale.size for row in members],
            place=series.color,
            mark=series.mark,
        )
        traces.append(figures.with_hover(trace, [f"{scale.text(peaks[row])} {scale.unit}" for row in members]))
    ordered = sorted((value, scope.label(row)) for row, value in peaks.items())
    title = f"peak memory ({scale.unit})"
    return Figure(
        caption=_caption(f"Peak memory by {axis.name}", panel, scope),
        plotly=figures.chart(
            traces,
            x=_x_axis(scope, axis, panel.rows),
            y=figures.values_axis(title, peaks.values(), log_from=float("inf")),  # bars begin at 0
            barmode="group",
        ),
        alternative=f"Peak memory from {memory(ordered[0][0])} ({ordered[0][1]}) to {memory(ordered[-1][0])} "
        f"({ordered[-1][1]}). All numbers are in the table of complete results.",
    )


def samples_of_cells(scope: Scope) -> list[Figure]:
    """Return the raw samples, cold cells apart: their first step would press all others flat."""
    cold = [row for row in scope.measured if row.plan.is_cold]
    warm = [row for row in scope.measured if not row.plan.is_cold]
    kinds = {"Samples in order, cells with warm-up": warm, "Samples in order, cells without warm-up": cold}
    return [_samples_of(scope, caption, rows) for caption, rows in kinds.items() if rows]


def _samples_of(scope: Scope, caption: str, rows: Sequence[Row]) -> Figure:
    shown = sorted(rows, key=_cv, reverse=True)[:MAX_CELLS]
    series = {row: [value / _median_ns(row) for value in row.samples()[:MAX_SAMPLES]] for row in shown}
    traces: list[figures.Json] = []
    for place, (row, values) in enumerate(series.items()):
        numbers = range(1, len(values) + 1)
        mark = place // len(figures.COLORS)
        trace = figures.dots(scope.label(row), numbers, values, place=place, mark=mark, is_joined=True)
        trace["marker"] |= {"size": 5, "symbol": figures.SYMBOLS[place % len(figures.SYMBOLS)]}
        traces.append(figures.with_hover(trace, [duration(value * 1e-9, 4) for value in row.samples()[:MAX_SAMPLES]]))
    chosen = f": the {len(shown)} of {len(rows):,} with the largest CV" if len(shown) < len(rows) else ""
    cut = f", first {MAX_SAMPLES} samples" if any(len(row.samples()) > MAX_SAMPLES for row in shown) else ""
    every = [value for values in series.values() for value in values]
    return Figure(
        caption=f"{caption}{chosen}{cut}",
        plotly=figures.chart(
            traces,
            x=figures.counting_axis("sample"),
            y=figures.values_axis("time over the cell's median", every, is_from_zero=False),
        ),
        alternative=f"Each sample over the median of its cell, from {ratio(min(every))} to {ratio(max(every))}, "
        f"in the order in which they were taken. Cells: {'; '.join(scope.label(row) for row in shown)}.",
    )


def _caption(what: str, panel: Panel, scope: Scope) -> str:
    parts = [what, panel.title]
    if WARMUP in scope.axes:
        parts.append(f"cells with {scope.phrase(WARMUP, panel.rows[0])}")
    if len(panel.rows) < len(scope.rows):
        parts.append(f"{len(panel.rows):,} of {len(scope.rows):,} cells")
    if scope.failed:
        parts.append("failed ones have nothing to draw")
    return ", ".join(part for part in parts if part)


def _along(axis: Axis, rows: Sequence[Row]) -> list[Row]:
    """Order the rows of a series as they stand along its axis."""
    if axis is CONTEXT:
        return sorted(rows, key=lambda row: row.cell.context_length)
    return sorted(rows, key=lambda row: row.size_rank)


def _x(scope: Scope, axis: Axis, row: Row) -> int | str:
    return row.cell.context_length if axis is CONTEXT else figures.chart_text(scope.value(axis, row))


def _x_axis(scope: Scope, axis: Axis, rows: tuple[Row, ...]) -> figures.Json:
    ordered = _along(axis, rows)
    if axis is CONTEXT:
        return figures.ticks_axis("context (tokens)", sorted({row.cell.context_length for row in rows}))
    return figures.names_axis(axis.name, dict.fromkeys(scope.value(axis, row) for row in ordered))


def scaled(value: float | None, scale: Scale) -> float | None:
    """Return a value in the unit of its axis."""
    return None if value is None else value / scale.size


def _cv(row: Row) -> float:
    spread = row.spread()
    return (spread.cv or 0.0) if spread else 0.0


def _median_ns(row: Row) -> float:
    estimate = row.estimate()
    assert estimate is not None  # a measured row has samples
    return estimate.value * 1e9
