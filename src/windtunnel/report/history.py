"""Histories as a document: one table of all cells, and for each cell a chart and its runs."""

from collections.abc import Callable, Iterator, Sequence

from windtunnel.analysis.history import History, Moment
from windtunnel.language import apart, counted, listed, say, word
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Document, Figure, Section, Table
from windtunnel.report.figures import (
    Json,
    chart,
    counting_axis,
    dots,
    note_above,
    upright,
    values_axis,
    with_hover,
    with_intervals,
)
from windtunnel.report.measures import number_column
from windtunnel.statistics.change_points import ChangePoint, Course
from windtunnel.statistics.series import FEWEST_SAMPLES
from windtunnel.units import NOT_KNOWN, change, duration, half_width, percent, time_scale

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 40
_FEW_CELLS = 3
"""Of so many cells a terminal shows every run; of more only what all of them did."""


def history_document(histories: Sequence[History]) -> Document:
    """Return the whole document."""
    sections = [Section(heading=say("All cells"), blocks=tuple(overview(histories)))]
    for history in histories:
        blocks = (*chart_of(history), _runs(history))
        is_detail = len(histories) > _FEW_CELLS
        sections.append(Section(heading=_heading(history, histories), blocks=blocks, is_detail=is_detail))
    return Document(title=say("History of {cells}", cells=counted(len(histories), "cell")), sections=tuple(sections))


def _heading(history: History, histories: Sequence[History]) -> str:
    shared = sum(other.label == history.label for other in histories) > 1
    return say("{one}, {other}", one=history.label, other=history.machine) if shared else history.label


def overview(histories: Sequence[History]) -> Iterator[Block]:
    """Yield the table of all cells, and in how many of them no change is looked for."""
    times = [estimate.value for history in histories for _, estimate in history.measured]
    time = time_scale(times)
    yield Table(
        caption=say("{phase} over all runs", phase=_what(histories[0])),
        columns=(
            Column(name=say("cell")),
            number_column(say("runs")),
            number_column(say("first"), time.unit),
            number_column(say("last"), time.unit),
            number_column(say("change"), description=say("From the first to the last run; no test.")),
            Column(name=say("course"), description=say("From the least to the most, oldest first.")),
            Column(name=say("changes of level")),
        ),
        rows=tuple(
            (
                Cell(text=_heading(history, histories)),
                Cell(text=str(len(history.moments))),
                *_ends(history, time.text),
                Cell(text=sparkline([estimate.value for _, estimate in history.measured])),
                Cell(text=_said(history), is_failure=any(one.change > 0 for one in history.course.changes)),
            )
            for history in histories
        ),
        note=_note() if any(history.course.is_scanned for history in histories) else "",
    )
    if copied := [runs for history in histories if (runs := sum(one.copies > 1 for one in history.moments))]:
        text = say(
            "Counted once, though found more than once (in a folder given twice, or in copies of a store): {runs} of "
            "{cells}.",
            runs=counted(sum(copied), "run"),
            cells=counted(len(copied), "cell"),
        )
        yield Callout(kind=CalloutKind.NOTE, text=text)
    if short := [history for history in histories if not history.course.is_scanned]:
        text = say(
            "{cells} with fewer than {number} runs: no change is looked for there.",
            cells=counted(len(short), "cell"),
            number=FEWEST_SAMPLES,
        )
        yield Callout(kind=CalloutKind.NOTE, text=text)


def _note() -> str:
    return say(
        "A change of level is a step beyond noise that wanders. Of steady series of 30 to 300 runs at most two in a "
        "hundred have one by accident. It says when, not why: the machine changes too."
    )


def _what(history: History) -> str:
    return say("The phase {phase}", phase=word(history.phase)) if history.phase else say("Whole steps")


def _ends(history: History, text: Callable[[float], str]) -> tuple[Cell, Cell, Cell]:
    if not history.measured:
        return Cell(text=NOT_KNOWN), Cell(text=NOT_KNOWN), Cell(text=NOT_KNOWN)
    first, last = history.measured[0][1].value, history.measured[-1][1].value
    moved = change(last / first - 1) if len(history.measured) > 1 else NOT_KNOWN
    return Cell(text=text(first)), Cell(text=text(last)), Cell(text=moved)


def sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value, the lowest for the least; of more than 40 values the last 40."""
    shown = values[-_MOST_BARS:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = high - low
    return "".join(_BARS[min(7, int(8 * (value - low) / span))] if span else _BARS[3] for value in shown)


def _said(history: History) -> str:
    course = history.course
    if not course.is_scanned:
        return say("not looked for")
    if course.changes:
        return apart(_change(history, one) for one in course.changes)
    return _else(course) or say("none")


def _change(history: History, one: ChangePoint) -> str:
    moment = history.at(one)
    fields = {"change": change(one.change), "time": _minute(moment.started_at)}
    if not moment.since:
        return say("{change} from {time} on", **fields)
    return say("{change} from {time} on, with {versions}", **fields, versions=listed(map(str, moment.since)))


def _else(course: Course) -> str:
    found = course.irregularities
    if found.trend:
        return say("drifting by {change}", change=change(found.trend.change))
    if found.two_states:
        states = found.two_states
        return say("to and fro between two levels, {share} apart", share=percent(states.high / states.low - 1))
    return ""


def chart_of(history: History) -> Iterator[Figure]:
    """Yield the runs as points with intervals, a line at each change of level; nothing without two runs."""
    if len(history.measured) < 2:
        return
    time = time_scale(estimate.value for _, estimate in history.measured)
    scaled = 1 / time.size
    numbers = list(range(1, len(history.measured) + 1))
    values = [estimate.value * scaled for _, estimate in history.measured]
    points = dots(_what(history), numbers, values, place=0, mark=0, is_joined=True)
    ends = [
        (None, None) if one.low is None or one.high is None else (one.low * scaled, one.high * scaled)
        for _, one in history.measured
    ]
    hovers = [
        say("{what}: {text}", what=_minute(moment.started_at), text=duration(one.value))
        for moment, one in history.measured
    ]
    trace = with_hover(with_intervals(points, ends), hovers)
    changes = history.course.changes
    lines: list[Json] = [upright(one.index + 0.5) for one in changes]
    notes: list[Json] = [
        note_above(change(one.change), one.index + 0.5, row=place % 3) for place, one in enumerate(changes)
    ]
    yield Figure(
        caption=say(
            "{phase} by run, oldest first; a bar is the 95 % interval of that run's own samples.", phase=_what(history)
        ),
        plotly=chart(
            [trace],
            x=counting_axis(say("run")),
            y=values_axis(say("time ({unit})", unit=time.unit), values, is_from_zero=False),
            shapes=lines,
            annotations=notes,
            margin={"l": 64, "r": 16, "t": 60 if notes else 12, "b": 48},
        ),
        alternative=say(
            "{runs}; changes of level: {changes}. The table below has each run.",
            runs=counted(len(values), "run"),
            changes=_said(history),
        ),
    )


def _runs(history: History) -> Table:
    time = time_scale(estimate.value for _, estimate in history.measured)
    starts = {id(history.at(one)): one for one in history.course.changes}
    return Table(
        caption=say("{phase} by run", phase=_what(history)),
        columns=(
            number_column(say("run")),
            Column(name=say("measured (UTC)")),
            Column(name=say("label"), description=say("The name of the sweep.")),
            number_column(say("median"), time.unit),
            number_column(say("95 % interval")),
            number_column(say("n")),
            Column(name=say("versions that changed")),
            Column(name=say("level")),
        ),
        rows=tuple(_run(number, moment, time.text, starts) for number, moment in enumerate(history.moments, 1)),
    )


def _run(number: int, moment: Moment, text: Callable[[float], str], starts: dict[int, ChangePoint]) -> tuple[Cell, ...]:
    estimate, begins = moment.estimate, starts.get(id(moment))
    numbers = (
        (
            Cell(text=text(estimate.value)),
            Cell(text=half_width(estimate.relative_half_width)),
            Cell(text=str(estimate.n)),
        )
        if estimate
        else (
            Cell(text=word(moment.row.record.status.value), is_failure=not moment.row.is_ok),
            Cell(text=NOT_KNOWN),
            Cell(text=NOT_KNOWN),
        )
    )
    return (
        Cell(text=str(number)),
        Cell(text=_minute(moment.started_at)),
        Cell(text=moment.label or NOT_KNOWN),
        *numbers,
        Cell(text=listed(map(str, moment.since))),
        Cell(text=say("{change} from here on", change=change(begins.change)) if begins else ""),
    )


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
