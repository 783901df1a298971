"""The single samples behind the points of a chart of times, drawn when a reader asks for them."""

from collections.abc import Callable, Sequence

from windtunnel.analysis.results import Row
from windtunnel.report import figures
from windtunnel.report.series import Panel
from windtunnel.units import Scale

MAX_OF_CELL = 100
"""More points above one place than this cover one another."""

MAX_OF_CHART = 10_000
"""A chart of more points than this makes the file large and answers slowly."""


def raw_samples(panel: Panel, x: Callable[[Row], int | str], time: Scale) -> tuple[figures.Json, ...]:
    """Return a trace for each series, with samples of each cell taken evenly from first to last; none if too many."""
    rows = [row for row in panel.rows if row.is_ok]
    most = min(MAX_OF_CELL, MAX_OF_CHART // max(len(rows), 1))
    if not most:
        return ()
    traces: list[figures.Json] = []
    for series in panel.series:
        points = [(x(row), value) for row in series.rows if row.is_ok for value in _thinned(row.samples(), most)]
        if points:
            names, values = zip(*points, strict=True)
            seconds = [value * 1e-9 / time.size for value in values]
            traces.append(figures.specks(series.name, names, seconds, place=series.color, mark=series.mark))
    return tuple(traces)


def _thinned(values: Sequence[float], most: int) -> list[float]:
    count = min(most, len(values))
    return [values[place * len(values) // count] for place in range(count)]
