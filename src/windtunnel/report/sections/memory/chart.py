"""The bands of categories through one step."""

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.memory_timeline import timeline
from windtunnel.records.memory_ledger import Category
from windtunnel.report import figures
from windtunnel.report.document import Figure
from windtunnel.units import counted, memory, memory_scale

_ORDER = tuple(Category)


def chart(view: LedgerView, label: str) -> Figure | None:
    """Return stacked bands with the phases and the peak marked; None where the step did not begin."""
    line, step, peak = timeline(view), view.step, view.peak
    if line is None or step is None or peak is None or not line.bands:
        return None
    size = memory_scale([peak.total])
    traces = [
        figures.band(category.value, line.events, [value / size.size for value in values], place=_ORDER.index(category))
        for category, values in line.bands.items()
    ]
    spans = [(span.name, span.begin - step.begin) for span in view.ledger.phases]
    thinned = (
        f" Drawn are {len(line.events):,} of {line.num_events:,} events: of each stretch the first, highest and lowest "
        "level; bounds and peaks of phases are exact."
        if line.is_thinned
        else ""
    )
    return Figure(
        caption=f"Memory through one step of {label}, by what it is held for. Below: allocations and frees in their "
        f"order, which is not time.{thinned}",
        plotly=figures.chart(
            traces,
            x={**figures.counting_axis("allocations and frees since the step began"), "range": [0, line.num_events]},
            y=figures.values_axis(f"held ({size.unit})", [1.0]),
            hovermode="x unified",
            height=460,
            shapes=[figures.upright(begin) for _, begin in spans[1:]],
            annotations=[
                *(figures.note_above(name, begin) for name, begin in spans),
                figures.pointer(f"peak {memory(peak.total)}", peak.event - step.begin, peak.total / size.size),
            ],
            margin={"l": 64, "r": 16, "t": 36, "b": 48},
        ),
        alternative=_in_words(view),
    )


def _in_words(view: LedgerView) -> str:
    step = view.step
    assert step is not None
    said = ", ".join(f"{moment.name} {memory(moment.total)}" for moment in view.moments if moment.event >= step.begin)
    return f"In {counted(step.end - step.begin, 'event')} the step goes through these levels: {said}."
