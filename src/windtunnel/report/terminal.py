"""A document for a terminal, as renderables of rich."""

import textwrap

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text

from windtunnel.report.document import (
    Callout,
    CalloutKind,
    Column,
    ColumnKind,
    Document,
    Figure,
    Paragraph,
    Table,
    printable,
)
from windtunnel.units import counted

MAX_ROWS = 60
"""More rows than this nobody reads in a terminal; the files hold all."""

_STYLES = {CalloutKind.NOTE: "cyan", CalloutKind.WARNING: "yellow", CalloutKind.FAILURE: "bold red"}
_SIGNS = {CalloutKind.NOTE: "i", CalloutKind.WARNING: "!", CalloutKind.FAILURE: "✗"}


def render_terminal(document: Document, *, max_rows: int = MAX_ROWS) -> Group:
    """Return what a rich console prints: no charts, no details, and of each table the first `max_rows` rows."""
    parts: list[RenderableType] = [Text(printable(document.title), style="bold"), Text()]
    for section in document.sections:
        blocks = [block for block in section.blocks if not isinstance(block, Figure)]
        if blocks and not section.is_detail:
            parts.append(Rule(Text(printable(section.heading), style="bold"), align="left", style="dim"))
            parts += [Padding(_block(block, max_rows), (0, 0, 1, 0)) for block in blocks]
    return Group(*parts)


def _block(block: Paragraph | Callout | Table, max_rows: int) -> RenderableType:
    match block:
        case Paragraph():
            lead = [(f"{printable(block.lead)}. ", "bold")] if block.lead else []
            return Text.assemble(*lead, printable(block.text))
        case Callout():
            return Text(f"{_SIGNS[block.kind]} {printable(block.text)}", style=_STYLES[block.kind])
        case Table():
            return _table(block, max_rows)


def _table(table: Table, max_rows: int) -> RenderableType:
    """Return a table for each group of columns: all groups side by side are wider than a terminal."""
    parts: list[RenderableType] = []
    for group in dict.fromkeys(column.group for column in table.columns if column.group) or ("",):
        caption = f"{table.caption}: {group}" if group else table.caption
        places = [place for place, column in enumerate(table.columns) if column.group in {"", group}]
        parts += [Text(printable(caption), style="italic"), _grid(table, places, max_rows)]
    left_out = len(table.rows) - max_rows
    if left_out > 0:
        parts.append(Text(f"and {counted(left_out, 'more row')}, in the report's files", style="dim"))
    if table.note:
        parts.append(Text(printable(table.note), style="dim"))
    return Group(*parts)


def _grid(table: Table, places: list[int], max_rows: int) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    rows = [[printable(row[place].text) for place in places] for row in table.rows[:max_rows]]
    for number, place in enumerate(places):
        column = table.columns[place]
        if column.kind is ColumnKind.NUMBER:
            header = _narrow(column, width=max((len(row[number]) for row in rows), default=1))
            drawn.add_column(Text(header), justify="right", no_wrap=True)  # what wraps first is text
        else:
            drawn.add_column(Text(printable(column.header)))
    for row, texts in zip(table.rows, rows, strict=False):
        styles = ["red" if row[place].is_failure else "" for place in places]
        # Where there is no room at all a number is folded: cut off, it would be another number.
        drawn.add_row(
            *(Text(text, style, no_wrap=False, overflow="fold") for text, style in zip(texts, styles, strict=True))
        )
    return drawn


def _narrow(column: Column, *, width: int) -> str:
    """Break a header where that makes its column narrower; the unit has a line of its own."""
    words = printable(column.name).split()
    lines = textwrap.wrap(" ".join(words), max(width, *map(len, words)))
    return "\n".join([*lines, f"({column.unit})"] if column.unit else lines)
