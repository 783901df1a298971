"""The pictures: time by size and by context, samples in their order, peak memory; chosen by what varies."""

from collections.abc import Iterable, Sequence
from functools import reduce

from windtunnel.analysis.results import Row
from windtunnel.language import apart, say
from windtunnel.report import figures
from windtunnel.report.axes import ATTENTION, BATCH, COMPILE, CONTEXT, PRECISION, SIZE, WARMUP, WORKLOAD, Axis
from windtunnel.report.document import Figure, Section
from windtunnel.report.raw_samples import raw_samples
from windtunnel.report.scope import Scope
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
    return Section(heading=say("Charts"), blocks=drawn)


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
    return Figure(
        caption=_caption(say("Time of a step by {axis}", axis=axis.name), panel, scope),
        plotly=figures.chart(
            traces,
            x=_x_axis(scope, axis, panel.rows),
            y=figures.values_axis(say("time of a step ({unit})", unit=time.unit), values),
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
    parts += [say("95 % interval {ends}", ends=interval)] if estimate.low is not None else [say("no interval")]
    parts += [say("mean ± std {both}", both=time.spread(spread.mean, spread.std))] if spread else []
    return in_a_row([*parts, f"n = {estimate.n:,}"])


def _times_in_words(scope: Scope, panel: Panel) -> str:
    ordered = sorted((estimate.value, scope.label(row)) for row in panel.rows if (estimate := row.estimate()))
    (low, fastest), (high, slowest) = ordered[0], ordered[-1]
    ends = {"low": duration(low), "fastest": fastest, "high": duration(high), "slowest": slowest}
    if not any((estimate := row.estimate()) and estimate.low is not None for row in panel.rows):
        return say(
            "Medians of whole steps, of too few samples for intervals, from {low} ({fastest}) to {high} ({slowest}). "
            "All numbers are in the table of complete results.",
            **ends,
        )
    return say(
        "Medians of whole steps with their 95 % intervals, from {low} ({fastest}) to {high} ({slowest}). All numbers "
        "are in the table of complete results.",
        **ends,
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
    (low, least), (high, most) = ordered[0], ordered[-1]
    return Figure(
        caption=_caption(say("Peak memory by {axis}", axis=axis.name), panel, scope),
        plotly=figures.chart(
            traces,
            x=_x_axis(scope, axis, panel.rows),
            # Bars begin at 0.
            y=figures.values_axis(say("peak memory ({unit})", unit=scale.unit), peaks.values(), log_from=float("inf")),
            barmode="group",
        ),
        alternative=say(
            "Peak memory from {low} ({least}) to {high} ({most}). All numbers are in the table of complete results.",
            low=memory(low),
            least=least,
            high=memory(high),
            most=most,
        ),
    )


def samples_of_cells(scope: Scope) -> list[Figure]:
    """Return the raw samples, cold cells apart: their first step would press all others flat."""
    cold = [row for row in scope.measured if row.plan.is_cold]
    warm = [row for row in scope.measured if not row.plan.is_cold]
    kinds = {
        say("Samples in order, cells with warm-up"): warm,
        say("Samples in order, cells without warm-up"): cold,
    }
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
    if len(shown) < len(rows):
        caption = say(
            "{what}: the {some} of {all} with the largest CV", what=caption, some=len(shown), all=f"{len(rows):,}"
        )
    if any(len(row.samples()) > MAX_SAMPLES for row in shown):
        caption = say("{what}, first {n} samples", what=caption, n=MAX_SAMPLES)
    every = [value for values in series.values() for value in values]
    return Figure(
        caption=caption,
        plotly=figures.chart(
            traces,
            x=figures.counting_axis(say("sample")),
            y=figures.values_axis(say("time over the cell's median"), every, is_from_zero=False),
        ),
        alternative=say(
            "Each sample over the median of its cell, from {low} to {high}, in the order in which they were taken. "
            "Cells: {cells}.",
            low=ratio(min(every)),
            high=ratio(max(every)),
            cells=apart(scope.label(row) for row in shown),
        ),
    )


def _caption(what: str, panel: Panel, scope: Scope) -> str:
    parts = [what, panel.title]
    if WARMUP in scope.axes:
        parts.append(say("cells with {warmup}", warmup=scope.phrase(WARMUP, panel.rows[0])))
    if len(panel.rows) < len(scope.rows):
        parts.append(say("{some} of {all} cells", some=f"{len(panel.rows):,}", all=f"{len(scope.rows):,}"))
    if scope.failed:
        parts.append(say("failed ones have nothing to draw"))
    return in_a_row(part for part in parts if part)


def in_a_row(parts: Iterable[str]) -> str:
    """Return the parts of a caption or a hover after one another."""
    return reduce(lambda one, other: say("{one}, {other}", one=one, other=other), parts)


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
        return figures.ticks_axis(say("context (tokens)"), sorted({row.cell.context_length for row in rows}))
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
