"""The look of charts, as plain dicts in plotly's JSON schema.

Plotly's own objects would make the same dicts more slowly; the tests hand ours to it for validation.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from windtunnel.report.document import printable

INK, MUTED, GRID = "#1f2733", "#5a6675", "#e2e6eb"

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7f87")
"""Okabe and Ito 2008, which colour-blind readers can tell apart; grey in place of black, yellow left out."""

DARK = {
    INK: "#e4e8ee",
    MUTED: "#a2adbb",
    GRID: "#2b3440",
    "#0072b2": "#4ba3e3",
    "#d55e00": "#ff8a47",
    "#009e73": "#2cc598",
    "#cc79a7": "#e79cc8",
    "#e69f00": "#f3b63f",
    "#56b4e9": "#a5dcff",
    "#7a7f87": "#a9b0ba",
}
"""Each colour to the one that stands in for it on a dark ground; a page swaps them in the JSON."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PATTERNS = ("", "/", ".", "x", "-", "+")

_LOG_FROM = 5.0  # a range below this factor reads better on a linear axis

Json = dict[str, Any]


def color(place: int) -> str:
    """Return a colour; there are few, so the mark has to tell apart what shares one."""
    return COLORS[place % len(COLORS)]


def chart_text(text: str) -> str:
    """Escape text for plotly, which reads a few HTML tags in names, labels and hovers."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def dots(name: str, x: Sequence[Any], y: Iterable[float], *, place: int, mark: int, is_joined: bool) -> Json:
    """Return a trace of points; joined by a line where x is a quantity or an order, not a set of names."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if is_joined else "markers",
        "name": chart_text(name),
        "x": list(x),
        "y": [_short(value) for value in y],
        "marker": {"color": color(place), "symbol": SYMBOLS[mark % len(SYMBOLS)], "size": 8},
        "line": {"color": color(place), "dash": DASHES[mark % len(DASHES)], "width": 1.75},
        "cliponaxis": False,
    }


def specks(name: str, x: Sequence[Any], y: Iterable[float], *, place: int, mark: int) -> Json:
    """Return a trace of faint points for what lies behind the points of `dots` of the same name; not in the legend."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": chart_text(name),
        "x": list(x),
        "y": [_short(value) for value in y],
        "marker": {"color": color(place), "symbol": SYMBOLS[mark % len(SYMBOLS)], "size": 4, "opacity": 0.45},
        "offsetgroup": chart_text(name),
        "showlegend": False,
        "hovertemplate": "%{fullData.name}<br>%{x}: %{y}<extra></extra>",
        "cliponaxis": False,
    }


def crosses(name: str, x: Sequence[Any], y: Iterable[float], *, place: int) -> Json:
    """Return a trace of crosses in the colour of a line, for what has no value there; the legend leaves it out."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": chart_text(name),
        "x": list(x),
        "y": [_short(value) for value in y],
        "marker": {"color": color(place), "symbol": "x", "size": 10},
        "showlegend": False,
        "cliponaxis": False,
    }


def with_intervals(trace: Json, ends: Iterable[tuple[float | None, float | None]]) -> Json:
    """Return a trace of points with error bars from the lower to the upper end of each; None where there is none."""
    reach = [
        (0.0, 0.0) if low is None or high is None else (max(y - low, 0.0), max(high - y, 0.0))
        for y, (low, high) in zip(trace["y"], ends, strict=True)
    ]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [_short(above) for _, above in reach],
        "arrayminus": [_short(below) for below, _ in reach],
        "thickness": 1.25,
        "width": 4,
        "color": trace["marker"]["color"],
    }
    return {**trace, "error_y": bars}


def bars(name: str, x: Sequence[Any], y: Iterable[float], *, place: int, mark: int) -> Json:
    """Return a trace of bars, which start at 0."""
    pattern = PATTERNS[mark % len(PATTERNS)]
    return {
        "type": "bar",
        "name": chart_text(name),
        "x": list(x),
        "y": [_short(value) for value in y],
        "marker": {"color": color(place), "pattern": {"shape": pattern, "fillmode": "replace"}, "line": {"width": 0}},
    }


_HEAT = ((0.0, "#e8f1f8"), (0.5, "#6aaed6"), (1.0, "#08519c"))
"""Light to dark blue: what is larger is darker, also in grey."""


def heat_map(
    x: Sequence[str],
    y: Sequence[str],
    z: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    x_title: str,
) -> Mapping[str, Any]:
    """Return a whole figure of a grid whose colours are `z`, each with its text; None leaves a hole."""
    columns, rows = [chart_text(name) for name in x], [chart_text(name) for name in y]
    trace: Json = {
        "type": "heatmap",
        "x": columns,
        "y": rows,
        "z": [[None if value is None else _short(value) for value in row] for row in z],
        "text": [[chart_text(text) for text in row] for row in texts],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}<br>%{x}: %{text}<extra></extra>",
        "colorscale": [list(stop) for stop in _HEAT],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    down = {**names_axis("", y), "autorange": "reversed"}
    return chart([trace], x=names_axis(x_title, x), y=down, height=max(160, 110 + 34 * len(rows)))


def band(name: str, x: Sequence[int], y: Iterable[float], *, place: int, mark: int) -> Json:
    """Return a trace of levels that hold until the next point, stacked; marks from 1 on hatch it."""
    pattern = PATTERNS[mark % len(PATTERNS)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": chart_text(name),
        "x": list(x),
        "y": [_short(value) for value in y],
        "stackgroup": "all",
        "line": {"color": color(place), "width": 0.5, "shape": "hv"},
        "fillcolor": color(place),
        **({"fillpattern": _hatched(pattern, color(place))} if pattern else {}),
        "hovertemplate": "%{y:.4g}",
    }


def _hatched(pattern: str, ground: str) -> Json:
    return {"shape": pattern, "bgcolor": ground, "fgcolor": INK, "fgopacity": 0.45, "size": 6, "solidity": 0.2}


def upright(x: float) -> Json:
    """Return a line across the whole height of a chart."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": MUTED, "width": 1, "dash": "dot"},
    }


def note_above(text: str, x: float, *, row: int = 0) -> Json:
    """Return a name that stands above a chart, from `x` on, so many rows higher than the lowest."""
    return {
        "text": chart_text(text),
        "x": x,
        "y": 1,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 15 * row,
        "showarrow": False,
        "font": {"color": MUTED},
    }


def pointer(text: str, x: float, y: float) -> Json:
    """Return an arrow to a point, with a text at its other end."""
    return {
        "text": chart_text(text),
        "x": x,
        "y": y,
        "ax": -56,
        "ay": -12,
        "arrowcolor": INK,
        "arrowhead": 2,
        "font": {"color": INK},
    }


def with_hover(trace: Json, texts: Iterable[str]) -> Json:
    """Return a trace that shows its name and a text of each point where the pointer is."""
    template = "%{fullData.name}<br>%{x}: %{customdata}<extra></extra>"
    return {**trace, "customdata": [chart_text(text) for text in texts], "hovertemplate": template}


def names_axis(title: str, names: Iterable[str]) -> Json:
    """Return an axis of names in the given order."""
    texts = [chart_text(name) for name in names]
    return {**_axis(title), "type": "category", "categoryorder": "array", "categoryarray": texts, "showgrid": False}


def ticks_axis(title: str, values: Sequence[int]) -> Json:
    """Return a logarithmic axis that is labelled at the given values only."""
    return {
        **_axis(title),
        "type": "log",
        "tickmode": "array",
        "tickvals": list(values),
        "ticktext": [str(value) for value in values],
    }


def counting_axis(title: str) -> Json:
    """Return an axis of whole numbers from 1."""
    return {**_axis(title), "tickformat": ",d", "zeroline": False, "showgrid": False}


def values_axis(title: str, values: Iterable[float], *, log_from: float = _LOG_FROM, is_from_zero: bool = True) -> Json:
    """Return an axis for `values`: logarithmic from a range of `log_from` on, linear below it."""
    known = [value for value in values if value > 0]
    span = max(known) / min(known) if known else 1.0
    if span < log_from:
        return {**_axis(title), "rangemode": "tozero" if is_from_zero else "normal", "tickformat": ",~r"}
    return {**_axis(title), "type": "log", "tickformat": ",~r", "dtick": "D2" if math.log10(span) < 2.5 else 1}


def chart(traces: Sequence[Json], *, x: Json, y: Json, **layout: Any) -> Mapping[str, Any]:
    """Return a whole figure on a transparent ground, with its legend below."""
    return {
        "data": list(traces),
        "layout": {
            "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 64, "r": 16, "t": 12, "b": 48},
            "height": 380,
            "hovermode": "closest",
            "showlegend": len(traces) > 1,
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top"},
            "xaxis": x,
            "yaxis": y,
            **layout,
        },
    }


def _axis(title: str) -> Json:
    return {
        "title": {"text": chart_text(title), "font": {"color": MUTED}, "standoff": 10},
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": MUTED,
        "tickfont": {"color": MUTED},
        "automargin": True,
        "fixedrange": False,
    }


def _short(value: float) -> float:
    """Return the value with six significant digits: more cannot be seen, and only make the file larger."""
    return float(f"{value:.6g}")
