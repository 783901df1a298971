"""A document for a terminal, as renderables of rich."""

import textwrap
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text

from windtunnel.language import counted, current_language, listed, say, writing_in
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
    run_in,
)

MAX_ROWS = 60
"""More rows than this nobody reads in a terminal; the files hold all."""

_WIDEST_WORD = 24
"""A word longer than this (a path, an address) may be broken for the sake of the other columns."""

_STYLES = {CalloutKind.NOTE: "cyan", CalloutKind.WARNING: "yellow", CalloutKind.FAILURE: "bold red"}
_SIGNS = {CalloutKind.NOTE: "i", CalloutKind.WARNING: "!", CalloutKind.FAILURE: "✗"}


def render_terminal(document: Document, *, max_rows: int = MAX_ROWS) -> Group:
    """Return what a rich console prints: no charts, no details, and of each table the first `max_rows` rows."""
    with writing_in(document.language):
        return _group(document, max_rows)


def _group(document: Document, max_rows: int) -> Group:
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
            lead = [(f"{printable(run_in(block.lead))} ", "bold")] if block.lead else []
            command = [(f" {printable(block.command)}", "cyan")] if block.command else []
            return Text.assemble(*lead, printable(block.text), *command)
        case Callout():
            text = f"{_SIGNS[block.kind]} {printable(' '.join(filter(None, (block.text, block.command))))}"
            return Text(text, style=_STYLES[block.kind])
        case Table():
            return render_table(block, max_rows=max_rows)


def render_table(table: Table, *, max_rows: int = MAX_ROWS) -> RenderableType:
    """Return a table for each group of columns: all groups side by side are wider than a terminal."""
    parts: list[RenderableType] = []
    for group in dict.fromkeys(column.group for column in table.columns if column.group) or ("",):
        caption = say("{caption}: {group}", caption=table.caption, group=group) if group else table.caption
        places = [place for place, column in enumerate(table.columns) if column.group in {"", group}]
        parts += [Text(printable(caption), style="italic"), _Grid(table, places, max_rows)]
    left_out = len(table.rows) - max_rows
    if left_out > 0:
        more = say("and {rows}, in the report's files", rows=counted(left_out, "more row"))
        parts.append(Text(more, style="dim"))
    if table.note:
        parts.append(Text(printable(table.note), style="dim"))
    return Group(*parts)


class _Grid:
    """The columns at some places of a table, drawn for the width that there is.

    Details are left out where not all columns fit unbroken. Columns break between words, then stand closer, and only
    then inside a word: never cut off, because a number without its last digits is another number.
    """

    def __init__(self, table: Table, places: list[int], max_rows: int) -> None:
        self._columns = [table.columns[place] for place in places]
        self._rows = [[row[place] for place in places] for row in table.rows[:max_rows]]
        self._language = current_language()  # it is drawn later

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [[printable(cell.text) for cell in row] for row in self._rows]
        by_column = list(zip(*texts, strict=True)) if texts else [()] * len(self._columns)
        headers = [_header(column, entries) for column, entries in zip(self._columns, by_column, strict=True)]
        shown = list(range(len(headers)))
        if sum(map(_wanted, headers, by_column)) + 2 * (len(shown) - 1) > options.max_width:
            shown = [place for place in shown if not self._columns[place].is_detail]
        widths = _widths([headers[place] for place in shown], [by_column[place] for place in shown], options.max_width)
        gap = int(sum(widths) + 2 * (len(widths) - 1) <= options.max_width)  # beside the divider, one blank wide
        drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
        for place, width in zip(shown, widths, strict=True):
            justify = "right" if self._columns[place].kind is ColumnKind.NUMBER else "left"
            drawn.add_column(Text(headers[place], overflow="fold"), justify=justify, width=width)
        for row, entries in zip(self._rows, texts, strict=True):
            styles = ["red" if cell.is_failure else "" for cell in row]
            drawn.add_row(*(Text(entries[place], styles[place], overflow="fold") for place in shown))
        yield drawn
        left_out = [printable(column.header) for place, column in enumerate(self._columns) if place not in shown]
        if left_out:
            with writing_in(self._language):
                text = say("{columns}: in a wider terminal, and in the report's files", columns=listed(left_out))
            yield Text(text, style="dim")


def _header(column: Column, entries: Sequence[str]) -> str:
    if column.kind is ColumnKind.TEXT:
        return printable(column.header)
    return _narrow(column, width=max(map(cell_len, entries), default=1))


def _widths(headers: Sequence[str], by_column: Sequence[Sequence[str]], room: int) -> list[int]:
    """Share `room` among the columns: all they want, or else their longest word and what is left over."""
    wanted: list[int] = []
    least: list[int] = []
    for header, entries in zip(headers, by_column, strict=True):
        wanted.append(_wanted(header, entries))
        longest = max((cell_len(word) for text in (header, *entries) for word in text.split()), default=1)
        least.append(min(longest, _WIDEST_WORD))
    left = room - sum(least) - 2 * (len(least) - 1)
    if left < 0:
        left += len(least) - 1  # without the second blank between columns
    if left < 0:
        return _cut(least, room - (len(least) - 1))
    widths = least[:]
    for place in sorted(range(len(least)), key=lambda place: wanted[place] - least[place]):
        more = min(wanted[place] - least[place], left)
        widths[place] += more
        left -= more
    return widths


def _cut(widths: Sequence[int], room: int) -> list[int]:
    """Take what is missing from the widest columns only: the others keep their words and numbers whole."""
    cut = list(widths)
    while sum(cut) > room and max(cut) > 1:
        cut[cut.index(max(cut))] -= 1
    return cut


def _wanted(header: str, entries: Sequence[str]) -> int:
    """Return the width in which no line of a column breaks."""
    return max((cell_len(line) for text in (header, *entries) for line in text.splitlines()), default=1)


def _narrow(column: Column, *, width: int) -> str:
    """Break a header where that makes its column narrower; the unit has a line of its own."""
    words = printable(column.name).split()
    lines = textwrap.wrap(" ".join(words), max(width, *map(cell_len, words)))
    return "\n".join([*lines, f"({column.unit})"] if column.unit else lines)
