"""Clock, power and temperature while cells were timed: what held the clock down, and what a cool device did."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from windtunnel.analysis.results import Row
from windtunnel.analysis.telemetry import LOW_CLOCK, SMALLEST_CHANGE, THROTTLED_SHARE, Conditions
from windtunnel.language import counted
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
            text="Read in a thread of the worker while steps ran; the numbers are of the timed steps. "
            f"Throttled: the clock was held down in more than {percent(THROTTLED_SHARE, 0)} of the readings, or was "
            f"below {percent(LOW_CLOCK, 0)} of the 90th percentile of the cell in more than "
            f"{percent(THROTTLED_SHARE, 0)} of its steps. No such step was dropped."
        )
    ]
    throttled = sum(1 for _, seen in found if seen.is_throttled)
    if throttled:
        text = f"Throttled: {throttled:,} of {counted(len(found), 'measurement')} with telemetry."
        blocks.append(Callout(kind=CalloutKind.WARNING, text=text))
    return Section(heading="Clocks, power and temperature", blocks=(*blocks, _table(scope, found)), is_detail=True)


def _table(scope: Scope, found: Sequence[tuple[Row, Conditions]]) -> Table:
    """Return the table without the columns in which no cell has an entry."""
    entries = [(column, [text(seen) for _, seen in found]) for column, text in _entries([seen for _, seen in found])]
    kept = [(column, texts) for column, texts in entries if any(text != NOT_KNOWN for text in texts)]
    rows = zip(*(texts for _, texts in kept), strict=True)
    return Table(
        caption=f"{counted(len(found), 'measurement')} with telemetry, one for each process of a cell",
        columns=(*scope.columns(), *(column for column, _ in kept)),
        rows=tuple(
            (*scope.cells(row), *(Cell(text=text) for text in texts))
            for (row, _), texts in zip(found, rows, strict=True)
        ),
        note="Cycles are the time of a step times the clock meanwhile: what does not depend on the clock.",
    )


def _entries(seen: Sequence[Conditions]) -> tuple[Entry, ...]:
    cycles = count_scale(one.cycles for one in seen)
    levels = [one.levels for one in seen if one.levels is not None and one.levels.is_changed]
    time = time_scale(value for level in levels for value in (level.cool, level.sustained))
    limit = percent(SMALLEST_CHANGE, 0)
    return (
        (number_column("readings", description="During the timed steps."), lambda one: f"{one.num_readings:,}"),
        (
            number_column("clock", MEGAHERTZ.unit, "Median; of a GPU that of its streaming multiprocessors."),
            lambda one: MEGAHERTZ.text(one.median_mhz),
        ),
        (number_column("range", MEGAHERTZ.unit, "Lowest and highest clock."), _range),
        (
            number_column("cycles", cycles.unit, "Median of time times clock of the whole step."),
            lambda one: cycles.text(one.cycles),
        ),
        (number_column("power", WATTS.unit, "Median."), lambda one: WATTS.text(one.median_watts)),
        (number_column("temperature", CELSIUS.unit, "Highest."), lambda one: CELSIUS.text(one.max_celsius)),
        (Column(name="held down by", description="With the share of readings; a low clock with that of steps."), _held),
        (
            number_column(
                "cool", time.unit, f"Median of the first 5 steps after a slow start; – where within {limit}."
            ),
            lambda one: time.text(one.levels.cool) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column("sustained", time.unit, "Median of the last half of the timed steps."),
            lambda one: time.text(one.levels.sustained) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column("change", description="From cool to sustained."),
            lambda one: change(one.levels.change) if one.levels and one.levels.is_changed else NOT_KNOWN,
        ),
        (
            number_column(
                "time with clock", description="Rank correlation; near -1, steps are slow when the clock is."
            ),
            _correlation,
        ),
    )


def _range(one: Conditions) -> str:
    if one.low_mhz is None or one.high_mhz is None:
        return NOT_KNOWN
    return f"{MEGAHERTZ.text(one.low_mhz)} to {MEGAHERTZ.text(one.high_mhz)}"


def _held(one: Conditions) -> str:
    said = [f"{reason} {percent(share, 0)}" for reason, share in one.reasons]
    if one.low_clock_share is not None and one.low_clock_share > THROTTLED_SHARE:
        said.append(f"low clock {percent(one.low_clock_share, 0)}")
    return ", ".join(said) or "nothing"


def _correlation(one: Conditions) -> str:
    """Return the correlation of cells that follow their clock; any other is chance as likely as not."""
    value = one.clock_correlation
    return significant(value, 2) if value is not None and one.is_following_clock else NOT_KNOWN
