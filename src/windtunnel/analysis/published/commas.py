"""Which of its two meanings a comma has in the numbers of a table: it separates thousands, or it is a decimal point."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from windtunnel.analysis.published.headings import axis_of, measure_of
from windtunnel.analysis.published.layout import RawRow, RawTable, Unread
from windtunnel.analysis.published.values import clean, parse_count
from windtunnel.language import say

_NUMBER = re.compile(r"(?<![\w.,])[0-9](?:[0-9.,]*[0-9])?")
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"(?:[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3})+),[0-9]+")
_THOUSANDS_BY_POINTS = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pointed:
    """A table whose numbers have decimal points; `meaning` says what a comma was taken for, None where that is plain.

    `example` is the first number with a comma, `number` what it was read as.
    """

    table: RawTable
    meaning: str | None = None
    example: str = ""
    number: str = ""
    unread: tuple[Unread, ...] = ()


def with_points(table: RawTable) -> Pointed:
    """Return a table with decimal points in its columns of numbers.

    Commas are decimal where any number can be no other (`12,5`), or semicolons separate the entries; a number that
    can have no decimal comma (`1,234.5`, `1,234,567`) rules that out.
    """
    places = _places(table)
    commas = [number for row in table.rows for place in places for number in _numbers(row.entries[place], ",")]
    if not commas:
        return Pointed(table=table)
    grouped = [number for number in commas if _THOUSANDS.fullmatch(number)]
    if any("." in number or number.count(",") > 1 for number in grouped):
        return Pointed(table=table)
    if len(grouped) == len(commas) and table.separator != ";":
        return Pointed(table=table, meaning="thousands_commas", example=commas[0], number=commas[0].replace(",", ""))
    decimal = next((number for number in commas if _DECIMAL.fullmatch(number)), None)
    if decimal is None:
        return Pointed(table=table)
    rows: list[RawRow] = []
    unread: list[Unread] = []
    for row in table.rows:
        entries = list(row.entries)
        for place in places:
            if problem := _ambiguous(row.line, entries[place]):
                unread.append(problem)
                entries[place] = ""
            else:
                entries[place] = _NUMBER.sub(lambda found: _pointed(found[0]), entries[place])
        rows.append(replace(row, entries=tuple(entries)))
    return Pointed(
        table=replace(table, rows=tuple(rows)),
        meaning="decimal_commas",
        example=decimal,
        number=_pointed(decimal),
        unread=tuple(unread),
    )


def _places(table: RawTable) -> tuple[int, ...]:
    """Return the columns of measured numbers; counts of an axis have no decimals, and labels are no numbers."""
    return tuple(
        place
        for place, heading in enumerate(table.headings)
        if axis_of(heading) is None and (measure_of(heading) is not None or parse_count(heading) is not None)
    )


def _numbers(entry: str, sign: str) -> Iterator[str]:
    """Yield the numbers of an entry that have a sign in them, where the entry begins with a number."""
    if re.match(r"[-+±]?\s*[0-9]", clean(entry)):
        yield from (number for number in _NUMBER.findall(entry) if sign in number)


def _pointed(number: str) -> str:
    """Return a number of a table with decimal commas as others write it."""
    if _DECIMAL.fullmatch(number):
        return number.replace(".", "").replace(",", ".")
    return number.replace(".", "") if _THOUSANDS_BY_POINTS.fullmatch(number) else number


def _ambiguous(line: int, entry: str) -> Unread | None:
    """Return what is wrong with an entry whose one point may separate thousands or be a decimal point."""
    for number in _numbers(entry, "."):
        if _THOUSANDS_BY_POINTS.fullmatch(number) and number.count(".") == 1:
            reason = say(
                "{text!r} in a table of decimal commas may be {large} or {small}; write it without the point, or "
                "with a comma",
                text=number,
                large=number.replace(".", ""),
                small=number.replace(".", ","),
            )
            return Unread(line=line, reason=reason)
    return None
