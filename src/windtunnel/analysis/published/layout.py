"""A text to raw tables: headings and rows of entries, each with its line; nothing is interpreted here."""

import csv
import io
import re
from dataclasses import dataclass

from windtunnel.language import say

_BORDERS = str.maketrans(dict.fromkeys("│┃║|", "|"))
_RULE = re.compile(r"[\s|:+\-=─━┄┅═┼╪╇╈┿╋┌┐└┘├┤┬┴┏┓┗┛┡┩┢┪┯┷┠┨╞╡╭╮╰╯╤╧╒╕╘╛╔╗╚╝╠╣╦╩╬]+")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*)")
_FACT = re.compile(r"\s*(?:[-*•]\s+)?\**([^:：|*]{1,40}?)\**\s*[:：=]\s*\**\s*([^|:：]{1,60}?)\**\s*")
_MOST_COLUMNS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRow:
    """The entries of one line."""

    line: int
    entries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTable:
    """A table as it stands; `captions` are the headings above it, the nearest first, `facts` lines like `Batch: 4`.

    `separator` is what stands between entries of CSV and TSV, None in other tables.
    """

    line: int
    headings: tuple[str, ...]
    rows: tuple[RawRow, ...]
    captions: tuple[str, ...]
    facts: tuple[tuple[int, str, str], ...]
    separator: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """What could not be read: the line and why."""

    line: int
    reason: str


def _torn(line: int, entries: int, headings: int) -> Unread:
    reason = say("{entries} entries under {headings} headings", entries=entries, headings=headings)
    return Unread(line=line, reason=reason)


def find_tables(text: str) -> tuple[tuple[RawTable, ...], tuple[Unread, ...]]:
    """Return the tables of a text in their order, and the lines of tables that could not be read.

    Rows between bars (Markdown, terminals) come first; where there are none, columns of a fixed width; else commas,
    semicolons or tabs.
    """
    lines = text.replace("\x00", "\ufffd").splitlines()
    tables, unread = _barred(lines)
    if not tables:
        tables, more = _separated(lines)
        unread += more
    if not tables:
        tables = _fixed(lines)
    return tuple(tables), tuple(unread)


def _barred(lines: list[str]) -> tuple[list[RawTable], list[Unread]]:
    tables: list[RawTable] = []
    unread: list[Unread] = []
    captions: list[str] = []
    facts: list[tuple[int, str, str]] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        barred = line.translate(_BORDERS)
        if barred.count("|") >= 2 or (block and _is_rule(barred)):
            block.append((number, barred))
            continue
        if not barred.strip() and block and number <= len(lines) and _goes_on(lines, number):
            continue
        if block:
            _take(block, captions, facts, tables, unread)
            block = []
        _note(line, number, captions, facts)
    return tables, unread


def _goes_on(lines: list[str], number: int) -> bool:
    """Whether a blank line is inside a drawn table; Markdown ends there."""
    return False if number >= len(lines) else lines[number].translate(_BORDERS).lstrip().startswith("├")


def _note(line: str, number: int, captions: list[str], facts: list[tuple[int, str, str]]) -> None:
    if heading := _HEADING.fullmatch(line):
        captions.insert(0, heading[1].strip())
    elif len(line) <= 120 and (fact := _FACT.fullmatch(line)):
        facts.append((number, fact[1].strip(), fact[2].strip()))


def _take(
    block: list[tuple[int, str]],
    captions: list[str],
    facts: list[tuple[int, str, str]],
    tables: list[RawTable],
    unread: list[Unread],
) -> None:
    """Make a table of the lines of a block: what stands above its first rule are the headings."""
    start = next((place for place, (_, line) in enumerate(block) if not _is_rule(line)), len(block))
    block = block[start:]
    rule = next((place for place, (_, line) in enumerate(block) if _is_rule(line)), None)
    if rule is None:
        rule = 1
    heads = [_entries(line) for _, line in block[:rule]]
    body = [(number, _entries(line)) for number, line in block[rule:] if not _is_rule(line)]
    if not heads or not body or len(heads[0]) > _MOST_COLUMNS:
        return
    width = len(heads[0])
    headings = tuple(
        " ".join(head[place] for head in heads if place < len(head) and head[place]) for place in range(width)
    )
    rows: list[RawRow] = []
    for number, entries in body:
        if len(entries) != width:
            unread.append(_torn(number, len(entries), width))
        else:
            rows.append(RawRow(line=number, entries=entries))
    tables.append(
        RawTable(line=block[0][0], headings=headings, rows=tuple(rows), captions=tuple(captions), facts=tuple(facts))
    )


def _is_rule(line: str) -> bool:
    return bool(line.strip()) and _RULE.fullmatch(line) is not None and any(sign in line for sign in "-=─━═┄┅")


def _entries(line: str) -> tuple[str, ...]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return tuple(entry.strip() for entry in inner.split("|"))


def _separated(lines: list[str]) -> tuple[list[RawTable], list[Unread]]:
    """Read comma, semicolon or tab separated values, whose first line with two separators has the headings."""
    first = next((place for place, line in enumerate(lines) if _separator(line)), None)
    if first is None:
        return [], []
    separator = _separator(lines[first])
    assert separator is not None
    captions: list[str] = []
    facts: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines[:first], start=1):
        _note(line.lstrip("#").strip() if _FACT.fullmatch(line.lstrip("# ")) else line, number, captions, facts)
    reader = csv.reader(io.StringIO("\n".join(lines[first:])), delimiter=separator, skipinitialspace=True)
    rows: list[RawRow] = []
    unread: list[Unread] = []
    headings: tuple[str, ...] = ()
    try:
        for entries in reader:
            number = first + reader.line_num
            if not headings:
                headings = tuple(entry.strip() for entry in entries)
            elif len(entries) == len(headings):
                rows.append(RawRow(line=number, entries=tuple(entry.strip() for entry in entries)))
            elif any(entry.strip() for entry in entries):
                unread.append(_torn(number, len(entries), len(headings)))
    except csv.Error as error:
        unread.append(Unread(line=first + reader.line_num, reason=str(error)))
    if not rows or len(headings) > _MOST_COLUMNS:
        return [], unread
    table = RawTable(
        line=first + 1,
        headings=headings,
        rows=tuple(rows),
        captions=tuple(captions),
        facts=tuple(facts),
        separator=separator,
    )
    return [table], unread


def _separator(line: str) -> str | None:
    return next((sign for sign in "\t;," if line.count(sign) >= 2), None)


def _fixed(lines: list[str]) -> list[RawTable]:
    """Read columns of a fixed width: two blanks between entries, or one where all lines then agree."""
    tables: list[RawTable] = []
    captions: list[str] = []
    facts: list[tuple[int, str, str]] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            block.append((number, line))
            continue
        _columns(block, captions, facts, tables)
        for place, text in block:
            _note(text, place, captions, facts)
        block = []
    return tables


def _columns(
    block: list[tuple[int, str]],
    captions: list[str],
    facts: list[tuple[int, str, str]],
    tables: list[RawTable],
) -> None:
    kept = [(number, line) for number, line in block if not _is_rule(line)]
    for pattern in (r"\s{2,}", r"(?<!±)(?<!\+/-)\s+(?!±|\+/-)"):
        split = [(number, tuple(re.split(pattern, line.strip()))) for number, line in kept]
        for start in range(len(split) - 1):
            (line, headings), below = split[start], split[start + 1 :]
            wide = len(below[0][1])
            if len(headings) < 2 or wide - len(headings) not in {0, 1} or not re.search(r"[0-9]", below[0][1][-1]):
                continue
            index = ("",) * (wide - len(headings))  # pandas prints an index without a heading
            rows = tuple(RawRow(line=number, entries=entries) for number, entries in below if len(entries) == wide)
            if len(rows) == len(below) or len(rows) >= 2:
                for place, text in block:
                    if place < line:
                        _note(text, place, captions, facts)
                tables.append(
                    RawTable(
                        line=line,
                        headings=(*index, *headings),
                        rows=rows,
                        captions=tuple(captions),
                        facts=tuple(facts),
                    )
                )
                return
