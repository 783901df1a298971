"""The pictures of attention alone: time and memory by length, both axes logarithmic, and the samples in their order."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from windtunnel.analysis.attention import in_order, memory_use
from windtunnel.analysis.results import Row
from windtunnel.language import apart, counted, passage, say, word
from windtunnel.records.record import Status
from windtunnel.report import figures
from windtunnel.report.axes import SEQ
from windtunnel.report.document import Figure, Section
from windtunnel.report.raw_samples import raw_samples
from windtunnel.report.scope import Scope
from windtunnel.report.sections.charts import hover, in_a_row, most_warmed, samples_of_cells, scaled
from windtunnel.report.series import Panel, Series, panels_of
from windtunnel.units import Scale, duration, mebibytes_scale, memory, milliseconds_scale

_ABOVE = 1.5
"""How far above the highest point the crosses of what ran out of memory stand, each line's above the last, as a factor.
"""


def attention_charts(scope: Scope) -> Section | None:
    """Return the charts; a line that ends in a cross ran out of memory there."""
    if not scope.measured:
        return None
    drawn: list[Figure] = []
    if SEQ in scope.axes:
        warm = most_warmed(scope)
        kept = {id(row) for row in warm}
        plans = {row.plan.warmup_rank for row in warm}
        out = [row for row in scope.failed if _is_out(row) and row.plan.warmup_rank in plans]
        rows = [row for row in scope.rows if id(row) in kept] + out
        ordered = sorted(in_order(rows), key=lambda row: row.cell.workload, reverse=True)  # training's first
        drawn += [_times(scope, panel) for panel in panels_of(scope, ordered, x=SEQ)]
        known = [row for row in ordered if _is_out(row) or _peak(row)]
        if any(not _is_out(row) for row in known):
            drawn += [_memory(scope, panel) for panel in panels_of(scope, known, x=SEQ)]
    return Section(heading=say("Charts"), blocks=(*drawn, *samples_of_cells(scope)))


def _is_out(row: Row) -> bool:
    return row.record.status is Status.OUT_OF_MEMORY


def _peak(row: Row) -> int | None:
    """Return the peak of the cell, the same as in the table of memory where that has one."""
    use = memory_use(row)
    return use.peak if use and use.peak else row.peak_bytes


def _times(scope: Scope, panel: Panel) -> Figure:
    estimates = {row: estimate for row in panel.rows if row.is_ok and (estimate := row.estimate())}
    values = {row: estimate.value for row, estimate in estimates.items()}
    time = milliseconds_scale(values.values())

    def trace_of(series: Series, members: Sequence[Row]) -> figures.Json:
        ends = [(scaled(estimates[row].low, time), scaled(estimates[row].high, time)) for row in members]
        trace = figures.with_intervals(_line(series, members, values, time), ends)
        return figures.with_hover(trace, [hover(row, estimates[row], time) for row in members])

    caption, axis = say("Time by sequence length"), say("time ({unit})", unit=time.unit)
    figure = _figure(scope, panel, caption, axis, values, time, trace_of, duration)
    return replace(figure, samples=raw_samples(panel, lambda row: row.cell.context_length, time))


def _memory(scope: Scope, panel: Panel) -> Figure:
    values = {row: float(peak) for row in panel.rows if row.is_ok and (peak := _peak(row))}
    size = mebibytes_scale(values.values())

    def trace_of(series: Series, members: Sequence[Row]) -> figures.Json:
        trace = _line(series, members, values, size)
        return figures.with_hover(trace, [f"{size.text(values[row])} {size.unit}" for row in members])

    caption, axis = say("Peak memory by sequence length"), say("peak memory ({unit})", unit=size.unit)
    return _figure(scope, panel, caption, axis, values, size, trace_of, memory)


def _line(series: Series, members: Sequence[Row], values: dict[Row, float], scale: Scale) -> figures.Json:
    return figures.dots(
        series.name,
        [row.cell.context_length for row in members],
        [values[row] / scale.size for row in members],
        place=series.color,
        mark=series.mark,
        is_joined=True,
    )


def _figure(
    scope: Scope,
    panel: Panel,
    what: str,
    title: str,
    values: dict[Row, float],
    scale: Scale,
    trace_of: Callable[[Series, Sequence[Row]], figures.Json],
    text_of: Callable[[float], str],
) -> Figure:
    traces: list[figures.Json] = []
    top = max(values.values(), default=scale.size) / scale.size
    for series in panel.series:
        rows = sorted(series.rows, key=lambda row: row.cell.context_length)
        if members := [row for row in rows if row in values]:
            traces.append(trace_of(series, members))
        if out := [row for row in rows if _is_out(row)]:
            top *= _ABOVE  # crosses of two lines at one length would hide one another
            crosses = figures.crosses(
                series.name, [row.cell.context_length for row in out], [top] * len(out), place=series.color
            )
            traces.append(figures.with_hover(crosses, [word(Status.OUT_OF_MEMORY.value)] * len(out)))
    lengths = sorted({row.cell.context_length for row in panel.rows})
    drawn = [value / scale.size for value in values.values()]
    return Figure(
        caption=_caption(what, panel, scope),
        plotly=figures.chart(
            traces,
            x=figures.ticks_axis(say("sequence length (tokens)"), lengths),
            y=figures.values_axis(title, drawn, log_from=0.0),
        ),
        alternative=_in_words(scope, panel, values, text_of),
    )


def _caption(what: str, panel: Panel, scope: Scope) -> str:
    parts = [what, panel.title]
    if len(panel.rows) < len(scope.rows):
        parts.append(say("{some} of {all}", some=f"{len(panel.rows):,}", all=counted(len(scope.rows), "cell")))
    return in_a_row(part for part in parts if part)


def _in_words(scope: Scope, panel: Panel, values: dict[Row, float], text_of: Callable[[float], str]) -> str:
    parts = [say("Both axes are logarithmic.")]
    if values:
        ordered = sorted((value, scope.label(row)) for row, value in values.items())
        (low, lowest), (high, highest) = ordered[0], ordered[-1]
        parts.append(
            say(
                "From {low} ({lowest}) to {high} ({highest}).",
                low=text_of(low),
                lowest=lowest,
                high=text_of(high),
                highest=highest,
            )
        )
    out = [(series.name, row.cell.context_length) for series in panel.series for row in series.rows if _is_out(row)]
    if out:
        ends = apart(say("{name} at {length}", name=name, length=length) for name, length in out)
        parts.append(say("Crosses above all points ran out of memory: {ends}.", ends=ends))
    return passage([*parts, say("All numbers are in the tables.")])
