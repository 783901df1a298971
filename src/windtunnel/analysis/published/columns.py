"""What each column of a table is: an axis, or a measure with its unit and what tells it from those beside it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from windtunnel.analysis.published.headings import Measure, axis_of, is_rate, measure_of, rest_of, unit_of
from windtunnel.analysis.published.layout import RawTable
from windtunnel.analysis.published.values import BYTES, SECONDS, clean, parse_count, parse_value
from windtunnel.language import listed, say

_NUMBERED = {"d_model", "d_ff", "num_layers", "num_heads", "context_length", "batch_size", "warmup"}
"""Axes of which a heading can be a value."""


def columns_of(table: RawTable, unit: str | None) -> tuple[dict[int, str | Measure], str]:
    """Return what each column is, or why the table cannot be read; `unit` is that of times which have none."""
    columns: dict[int, str | Measure] = {}
    for place, heading in enumerate(table.headings):
        meaning = axis_of(heading) or measure_of(heading)
        if meaning is not None:
            columns[place] = meaning
    if not any(isinstance(meaning, Measure) for meaning in columns.values()):
        columns |= _pivot(table, columns)
    measures = {place: meaning for place, meaning in columns.items() if isinstance(meaning, Measure)}
    if not measures:
        names = listed(repr(clean(heading)) for heading in table.headings if heading)[:200]
        if not names:
            return {}, say("no column of times or memory among its headings")
        return {}, say("no column of times or memory among {names}", names=names)
    for place, measure in measures.items():
        found, reason = _with_unit(table, place, measure, unit)
        if reason:
            return {}, reason
        measures[place] = found
    return columns | dict(_with_means(dict(_told_apart(measures)))), ""


def _with_unit(table: RawTable, place: int, measure: Measure, declared: str | None) -> tuple[Measure, str]:
    """Return a measure with its unit, or why there is none: from its heading, its entries, the caption or an option."""
    if not (measure.is_judged or measure.is_held or (measure.quantity == "time" and measure.statistic == "std")):
        return measure, ""
    caption = table.captions[0] if table.captions else ""
    unit = measure.unit or _unit_below(table, place)
    if unit is None and is_rate(caption):
        return replace(measure, quantity="rate"), ""
    unit = unit or unit_of(caption)
    if measure.quantity == "time" and unit not in SECONDS:
        unit = declared
    if measure.quantity == "memory" and unit not in BYTES:
        return measure, say(
            "the memory in column {name!r} has no unit; write it into the heading, as (MiB)", name=measure.name
        )
    if unit is None:
        return measure, say("the times in column {name!r} have no unit; give --unit s, ms or us", name=measure.name)
    return replace(measure, unit=unit), ""


def _unit_below(table: RawTable, place: int) -> str | None:
    """Return the unit that the entries of a column carry themselves."""
    values = (parse_value(row.entries[place]) for row in table.rows)
    return next((value.unit for value in values if value and value.unit), None)


def _pivot(table: RawTable, columns: Mapping[int, str | Measure]) -> dict[int, Measure]:
    """Take columns headed by numbers for a pivot over the axis that the caption names: `by context length`."""
    caption = table.captions[0] if table.captions else ""
    by = re.search(r"\bby\s+(.+)$|按(.+?)(?:分组|统计)?$", caption, re.IGNORECASE)
    axis = axis_of(by[1] or by[2]) if by else None
    found: dict[int, Measure] = {}
    for place, heading in enumerate(table.headings):
        count = parse_count(heading)
        if place not in columns and count is not None:
            is_known = axis in _NUMBERED
            found[place] = Measure(
                name=f"{axis}={clean(heading)}" if is_known else clean(heading),
                quantity="time",
                statistic="mean",
                phase=None,
                unit=None,
                pivot=(axis, count) if axis and is_known else None,
            )
    return found


def _told_apart(measures: Mapping[int, Measure]) -> Iterator[tuple[int, Measure]]:
    """Yield the measures, those that would be the same told apart by the rest of their headings.

    Of columns whose headings say the same (a median beside a mean) the first counts. A deviation goes with the mean
    whose heading has the same rest.
    """
    measures = dict(measures)
    first: dict[tuple[object, ...], dict[str, Measure]] = {}
    for place, measure in measures.items():
        if not measure.is_judged:
            continue
        before = first.setdefault(measure.key, {}).setdefault(rest_of(measure.name), measure)
        if before is not measure:
            measures[place] = replace(measure, unused=say("not used, as {column} says it", column=before.name))
    for place, measure in measures.items():
        rests = first.get(measure.key, {})
        rest = rest_of(measure.name)
        is_ours = measure.quantity == "time" and measure.statistic in {"mean", "median", "std"}
        if is_ours and len(rests) > 1 and rest in rests:
            measure = replace(measure, column=rest or None)
        yield place, measure


def _with_means(measures: Mapping[int, Measure]) -> Iterator[tuple[int, Measure]]:
    """Yield the measures, each deviation as that of a mean: one whose heading says no phase is of the column before."""
    means = {measure.key for measure in measures.values() if measure.is_judged}
    taken: set[tuple[object, ...]] = set()
    for place, measure in measures.items():
        if measure.quantity != "time" or measure.statistic != "std":
            yield place, measure
            continue
        before = measures.get(place - 1)
        if measure.key not in means and measure.phase is None and before is not None and before.is_judged:
            found = replace(before, name=measure.name, statistic="std", unit=measure.unit)
        else:
            found = measure
        if found.key not in means or found.key in taken:
            found = replace(measure, unused=say("not used: no mean stands beside it"))
        taken.add(found.key)
        yield place, found


def labels_of(table: RawTable, columns: Mapping[int, str | Measure]) -> dict[int, str]:
    """Return the columns that no word explains but whose values repeat, as those of an axis do."""
    return {
        place: clean(heading)
        for place, heading in enumerate(table.headings)
        if place not in columns and heading and len({row.entries[place] for row in table.rows}) <= len(table.rows) / 2
    }


def words_of(meaning: str | Measure | None) -> tuple[str, ...]:
    """Return the words of what a heading was taken for."""
    if meaning is None:
        return ("unused",)
    if isinstance(meaning, str):
        return (meaning,)
    if meaning.quantity == "memory":
        said = ("memory", meaning.phase, meaning.unit if meaning.is_held else say("a deviation, not used"))
    elif meaning.quantity != "time":
        said = (meaning.quantity,)
    elif meaning.unused is not None:
        said = ("a time", meaning.unused)
    else:
        said = ("a time", "by its name" if meaning.column else None, meaning.phase, meaning.statistic, meaning.unit)
    return tuple(word for word in said if word)
