"""Clock, power and temperature while cells were timed: what held the clock down, and what a cool device did."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from windtunnel.analysis.results import Row
from windtunnel.analysis.telemetry import LOW_CLOCK, SMALLEST_CHANGE, THROTTLED_SHARE, Conditions
from windtunnel.language import counted, listed, say, word
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import CELSIUS, MEGAHERTZ, NOT_KNOWN, WATTS, change, count_scale, percent, significant, time_scale

Entry: TypeAlias = tuple[Column, Callable[[Conditions], str]]
"""A column, and the text of a cell under it; NOT_KNOWN where it does not apply."""


def conditions(scope: Scope) -> Section | None:
    """Return what sensors said of each measured cell; nothing where there were none."""
    found = [(row, seen) for row in scope.measured for seen in row.conditions]
    if not found:
        return None
    blocks: list[Block] = [
        Paragraph(
            text=say(
                "Read in a thread of the worker while steps ran; the numbers are of the timed steps. Throttled: the "
                "clock was held down in more than {share} of the readings, or was below {low} of the 90th percentile "
                "of the cell in more than {share} of its steps. No such step was dropped.",
                share=percent(THROTTLED_SHARE, 0),
                low=percent(LOW_CLOCK, 0),
            )
        )
    ]
    throttled = sum(1 for _, seen in found if seen.is_throttled)
    if throttled:
        text = say(
            "Throttled: {throttled:,} of {measurements} with telemetry.",
            throttled=throttled,
            measurements=counted(len(found), "measurement"),
        )
        blocks.append(Callout(kind=CalloutKind.WARNING, text=text))
    heading = say("Clocks, power and temperature")
    return Section(heading=heading, blocks=(*blocks, _table(scope, found)), is_detail=True)


def _table(scope: Scope, found: Sequence[tuple[Row, Conditions]]) -> Table:
    """Return the table without the columns in which no cell has an entry."""
    entries = [(column, [text(seen) for _, seen in found]) for column, text in _entries([seen for _, seen in found])]
    kept = [(column, texts) for column, texts in entries if any(text != NOT_KNOWN for text in texts)]
    rows = zip(*(texts for _, texts in kept), strict=True)
    return Table(
        caption=say(
            "{measurements} with telemetry, one for each process of a cell",
            measurements=counted(len(found), "measurement"),
        ),
        columns=(*scope.columns(), *(column for column, _ in kept)),
        rows=tuple(
            (*scope.cells(row), *(Cell(text=text) for text in texts))
            for (row, _), texts in zip(found, rows, strict=True)
        ),
        note=say("Cycles are the time of a step times the clock meanwhile: what does not depend on the clock."),
    )


def _entries(seen: Sequence[Conditions]) -> tuple[Entry, ...]:
    cycles = count_scale(one.cycles for one in seen)
    levels = [one.levels for one in seen if one.levels is not None and one.levels.is_changed]
    time = time_scale(value for level in levels for value in (level.cool, level.sustained))
    limit = percent(SMALLEST_CHANGE, 0)
    return (
        (
            number_column(say("readings"), description=say("During the timed steps.")),
            lambda one: f"{one.num_readings:,}",
        ),
        (
            number_column(say("clock"), MEGAHERTZ.unit, say("Median; of a GPU that of its streaming multiprocessors.")),
            lambda one: MEGAHERTZ.text(one.median_mhz),
        ),
        (number_column(say("range"), MEGAHERTZ.unit, say("Lowest and highest clock.")), _range),
        (
            number_column(say("cycles"), cycles.unit, say("Median of time times clock of the whole step.")),
            lambda one: cycles.text(one.cycles),
        ),
        (number_column(say("power"), WATTS.unit, say("Median.")), lambda one: WATTS.text(one.median_watts)),
        (number_column(say("temperature"), CELSIUS.unit, say("Highest.")), lambda one: CELSIUS.text(one.max_celsius)),
        (
            Column(
                name=say("held down by"),
                description=say("With the share of readings; a low clock with that of steps."),
            ),
            _held,
        ),
        (
            number_column(
                say("cool"),
                time.unit,
                say("Median of the first 5 steps after a slow start; – where within {limit}.", limit=limit),
            ),
            lambda one: time.text(one.levels.cool) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column(say("sustained"), time.unit, say("Median of the last half of the timed steps.")),
            lambda one: time.text(one.levels.sustained) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column(say("change"), description=say("From cool to sustained.")),
            lambda one: change(one.levels.change) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column(
                say("time with clock"),
                description=say("Rank correlation; near -1, steps are slow when the clock is."),
            ),
            _correlation,
        ),
    )


def _range(one: Conditions) -> str:
    return MEGAHERTZ.interval(one.low_mhz, one.high_mhz)


def _held(one: Conditions) -> str:
    said = [say("{reason} {share}", reason=word(reason), share=percent(share, 0)) for reason, share in one.reasons]
    if one.low_clock_share is not None and one.low_clock_share > THROTTLED_SHARE:
        said.append(say("low clock {share}", share=percent(one.low_clock_share, 0)))
    return listed(said) or say("nothing")


def _correlation(one: Conditions) -> str:
    """Return the correlation of cells that follow their clock; any other is chance as likely as not."""
    value = one.clock_correlation
    return significant(value, 2) if value is not None and one.is_following_clock else NOT_KNOWN
