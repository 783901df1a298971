"""The flame graph of a profile: the step, its phases, their parts, and what ran in them, as wide as they take."""

from windtunnel.analysis.profile import ProfileView
from windtunnel.language import listed, passage, say, word
from windtunnel.records.profile import Unit
from windtunnel.report import figures
from windtunnel.report.document import Figure
from windtunnel.report.sections.profile.words import short_name
from windtunnel.units import duration, percent

_LEAST_SHARE = 0.002
"""What takes less of the step is summed up: it could not be seen."""


def flame(view: ProfileView, label: str) -> Figure | None:
    """Return the flame graph; None where nothing ran."""
    if not view.total:
        return None
    seconds: dict[tuple[str, ...], float] = {}
    depth_of_leaves = 4 if view.profile.has_parts else 3
    step, summed = say("step"), say("shorter ones")
    for (phase, part, name), one in view.sums(lambda place, name, _kind: (place.phase, place.part.value, name)).items():
        leaf = short_name(name) if one.seconds >= _LEAST_SHARE * view.total else summed
        path = (step, phase, part, leaf) if view.profile.has_parts else (step, phase, leaf)
        for depth in range(1, len(path) + 1):
            seconds[path[:depth]] = seconds.get(path[:depth], 0.0) + one.seconds
    order = {phase: place for place, phase in enumerate(view.phases)}
    paths = sorted(seconds, key=lambda path: (len(path), order.get(path[1], 0) if len(path) > 1 else 0, -seconds[path]))
    trace: figures.Json = {
        "type": "icicle",
        "ids": [figures.chart_text("/".join(path)) for path in paths],
        "labels": [figures.chart_text(word(path[-1]) if len(path) < depth_of_leaves else path[-1]) for path in paths],
        "parents": [figures.chart_text("/".join(path[:-1])) for path in paths],
        "values": [float(f"{seconds[path] * 1e3:.6g}") for path in paths],
        "customdata": [
            figures.chart_text(
                say(
                    "{time}, {share} of all work",
                    time=duration(seconds[path]),
                    share=percent(seconds[path] / view.total),
                )
            )
            for path in paths
        ],
        "hovertemplate": "%{label}<br>%{customdata}<extra></extra>",
        "branchvalues": "remainder",
        "sort": False,
        "tiling": {"orientation": "v"},
        "marker": {"colors": [_color(path, order) for path in paths]},
    }
    # Values of what holds others are those of its own: with sums, rounding makes plotly refuse the whole chart.
    inner = {path[:-1] for path in paths if len(path) > 1}
    trace["values"] = [0.0 if path in inner else value for path, value in zip(paths, trace["values"], strict=True)]
    longest = sorted((path for path in paths if len(path) == 2), key=lambda path: -seconds[path])
    said = listed(say("{name} {size}", name=word(path[1]), size=duration(seconds[path])) for path in longest)
    return Figure(
        caption=passage(
            (
                say("One step of {cell}: phases, parts and kernels, as wide as the time that they take.", cell=label)
                if view.profile.unit is Unit.KERNELS
                else say(
                    "One step of {cell}: phases, parts and operators, as wide as the time that they take.", cell=label
                ),
                say("Click one to see it alone."),
            )
        ),
        plotly={
            "data": [trace],
            "layout": {
                "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13},
                "paper_bgcolor": "rgba(0,0,0,0)",
                "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
                "height": 420,
            },
        },
        alternative=say("All work of a step, {time}, by phase: {phases}.", time=duration(view.total), phases=said),
    )


def _color(path: tuple[str, ...], order: dict[str, int]) -> str:
    return figures.COLORS[-1] if len(path) == 1 else figures.color(order.get(path[1], 0))
