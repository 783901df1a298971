"""A report as a reader sees it, read back from its file: headings, sentences, tables, and the claim ledger."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from windtunnel.analysis.claims import Ledger, ledger_from_text
from windtunnel.errors import SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownTable:
    """A table: its caption, the texts of its header, and those of each row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownSection:
    """A section: its heading, and its sentences and tables in their order."""

    heading: str
    blocks: tuple[str | ShownTable, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Displayed:
    """All that a file of a report shows; `claims` is the text of its claim ledger, or empty."""

    title: str
    sections: tuple[ShownSection, ...]
    claims: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFile:
    """A report that was read: its whole text, what of it is displayed, and its claim ledger."""

    text: str
    shown: Displayed
    ledger: Ledger


def read_report(text: str, path: Path) -> ReportFile:
    """Return a report of either format; `path` names it in errors.

    Raises:
        SpecError: It has no claim ledger, or one that cannot be read.
    """
    shown = read_displayed(text)
    return ReportFile(text=text, shown=shown, ledger=_ledger(shown, path))


def read_displayed(text: str) -> Displayed:
    """Return what a report of either format shows."""
    from windtunnel.report.read_html import read_html
    from windtunnel.report.read_markdown import read_markdown

    return read_html(text) if is_html(text) else read_markdown(text)


def is_html(text: str) -> bool:
    """Whether this is a page; else it is taken for Markdown."""
    return text.lstrip()[:9].casefold() == "<!doctype"


def _ledger(shown: Displayed, path: Path) -> Ledger:
    if not shown.claims:
        raise SpecError(
            f"{path} has no claim ledger: it is no report of a store, an older windtunnel wrote it, or its end is "
            "missing; write it again with windtunnel report"
        )
    try:
        return ledger_from_text(shown.claims)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"the claim ledger of {path} cannot be read: {f'{place}: ' if place else ''}{first['msg']}; the file was "
            "cut off or edited: write it again with windtunnel report"
        ) from None
