"""Finding the parts of a document, for tests that make a claim about one of them."""

import io

from rich.console import Console

from windtunnel.report.document import Document, Section, Table
from windtunnel.report.terminal import render_terminal


def section_of(document: Document, heading: str) -> Section:
    """Return the section with this heading."""
    return next(section for section in document.sections if section.heading == heading)


def tables_of(document: Document, heading: str) -> list[Table]:
    """Return the tables of the section with this heading."""
    return [block for block in section_of(document, heading).blocks if isinstance(block, Table)]


def column_of(table: Table, header: str) -> list[str]:
    """Return the texts under a header, which may be preceded by its group and a colon."""
    headers = [f"{column.group}: {column.header}".removeprefix(": ") for column in table.columns]
    place = headers.index(header)
    return [row[place].text for row in table.rows]


def headings_of(document: Document) -> list[str]:
    """Return the headings in their order."""
    return [section.heading for section in document.sections]


def texts_of(section: Section) -> str:
    """Return the running text of a section."""
    return " ".join(getattr(block, "text", "") for block in section.blocks)


def printed(document: Document, *, width: int = 100, **options: int) -> str:
    """Return what a terminal without colours shows, without the padding at the end of lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render_terminal(document, **options))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"
