"""The bands of categories through one step."""

from collections.abc import Collection, Iterator, Mapping

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.memory_timeline import Timeline, timeline
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.memory_ledger import Category
from windtunnel.report import figures
from windtunnel.report.document import Figure
from windtunnel.units import Scale, memory, memory_scale

_LOOKS = {
    Category.PARAMETERS: (0, 0),
    Category.OPTIMIZER: (5, 0),
    Category.GRADIENTS: (2, 0),
    Category.INPUTS: (6, 0),
    Category.BUFFERS: (6, 4),
    Category.CASTS: (0, 1),
    Category.ACTIVATIONS: (1, 0),
    Category.SCORES: (3, 0),
    Category.LOGITS: (4, 0),
    Category.TEMPORARIES: (1, 1),
    Category.WORKSPACE: (6, 1),
    Category.KEPT: (3, 3),
    Category.NOT_ATTRIBUTED: (6, 2),
}
"""Colour and hatching of each band: what comes of the same thing shares a colour."""

_LEAST_SHARE = 0.0005
"""A band that is never more than this share of the peak cannot be seen."""

_NARROW = 0.06
"""A phase with a smaller share of the events has its name in a row above the others."""


def chart(view: LedgerView, label: str) -> Figure | None:
    """Return stacked bands with the phases and the peak marked; None where the step did not begin."""
    line, step, peak = timeline(view), view.step, view.peak
    if line is None or step is None or peak is None or not line.bands:
        return None
    size = memory_scale([peak.total])
    shown = [category for category, values in line.bands.items() if max(values) > _LEAST_SHARE * peak.total]
    spans = [(span.name, span.begin - step.begin, span.end - span.begin) for span in view.ledger.phases]
    names = [
        figures.note_above(word(name), begin, row=int(length < _NARROW * line.num_events))
        for name, begin, length in spans
    ]
    arrow = figures.pointer(
        say("peak {memory}", memory=memory(peak.total)), peak.event - step.begin, peak.total / size.size
    )
    return Figure(
        caption=passage(
            (
                say(
                    "Memory through one step of {cell}, by what it is held for. Below: allocations and frees in their "
                    "order, which is not time.",
                    cell=label,
                ),
                *_left_out(line, shown),
            )
        ),
        plotly=figures.chart(
            _bands(line, shown, size),
            x={
                **figures.counting_axis(say("allocations and frees since the step began")),
                "range": [0, line.num_events],
            },
            y=figures.values_axis(say("held ({unit})", unit=size.unit), [1.0]),
            hovermode="x unified",
            height=460,
            shapes=[figures.upright(begin) for _, begin, _ in spans[1:]],
            annotations=[*names, arrow],
            margin={"l": 64, "r": 16, "t": 48, "b": 48},
        ),
        alternative=_in_words(view),
    )


def _bands(line: Timeline, shown: Collection[Category], size: Scale) -> list[figures.Json]:
    bands: Mapping[Category, tuple[int, ...]] = {category: line.bands[category] for category in shown}
    return [
        figures.band(
            word(category.value),
            line.events,
            [value / size.size for value in values],
            place=_LOOKS[category][0],
            mark=_LOOKS[category][1],
        )
        for category, values in bands.items()
    ]


def _left_out(line: Timeline, shown: Collection[Category]) -> Iterator[str]:
    """Say what the chart leaves out; nothing where it has all."""
    if line.is_thinned:
        yield say(
            "Drawn are {drawn} of {all} events: of each stretch the first, highest and lowest level; bounds and peaks "
            "of phases are exact.",
            drawn=f"{len(line.events):,}",
            all=f"{line.num_events:,}",
        )
    if hidden := [word(category.value) for category in line.bands if category not in shown]:
        yield say("Too small to be seen, and left out: {categories}.", categories=listed(hidden))


def _in_words(view: LedgerView) -> str:
    step = view.step
    assert step is not None
    said = listed(
        say("{name} {size}", name=word(moment.name), size=memory(moment.total))
        for moment in view.moments
        if moment.event >= step.begin
    )
    return say(
        "In {events} the step goes through these levels: {levels}.",
        events=counted(step.end - step.begin, "event"),
        levels=said,
    )
