"""What a Markdown report shows: its headings, paragraphs and tables, as `report/markdown.py` writes them."""

import re

from windtunnel.report.displayed import Displayed, ShownSection, ShownTable
from windtunnel.report.markdown import CLAIMS_BEGIN, CLAIMS_END

_ANCHOR = re.compile(r'<a id="[^"]*"></a>')
_CELLS = re.compile(r"(?<!\\)\|")


def read_markdown(text: str) -> Displayed:
    """Return what a report shows; escapes stay as they are written."""
    body, found, rest = text.partition(CLAIMS_BEGIN)
    claims = rest.rpartition(CLAIMS_END)[0] if found else ""
    title, sections = "", list[tuple[str, list[str | ShownTable]]]()
    for block in body.split("\n\n"):
        block = block.strip("\n")
        if block.startswith("# "):
            title = block[2:]
        elif block.startswith("## "):
            sections.append((block[3:], []))
        elif block and sections:
            sections[-1][1].append(_table(block, sections[-1][1]) if block.startswith("| ") else block)
    shown = tuple(ShownSection(heading=heading, blocks=tuple(blocks)) for heading, blocks in sections)
    return Displayed(title=title, sections=shown, claims=claims)


def _table(block: str, before: list[str | ShownTable]) -> ShownTable:
    """Return a table; the bold line above it is its caption."""
    caption = before.pop() if before and isinstance(before[-1], str) and before[-1].startswith("**") else ""
    header, _, *rows = [_cells(line) for line in block.split("\n")]
    return ShownTable(caption=str(caption).strip("*"), header=header, rows=tuple(rows))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(_ANCHOR.sub("", cell).strip() for cell in _CELLS.split(line)[1:-1])
