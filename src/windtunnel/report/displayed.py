"""A report as a reader sees it, read back from its file: headings, sentences, tables, and the claim ledger."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from windtunnel.errors import SpecError

Ledger: TypeAlias = Mapping[str, Any]


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


def read_displayed(text: str) -> Displayed:
    """Return what a report of either format shows."""
    from windtunnel.report.read_html import read_html
    from windtunnel.report.read_markdown import read_markdown

    return read_html(text) if is_html(text) else read_markdown(text)


def is_html(text: str) -> bool:
    """Whether this is a page; else it is taken for Markdown."""
    return text.lstrip()[:9].casefold() == "<!doctype"


def ledger_of(shown: Displayed, path: Path) -> Ledger:
    """Return the claim ledger of a report.

    Raises:
        SpecError: It has none, or its end is missing.
    """
    if not shown.claims:
        raise SpecError(
            f"{path} has no claim ledger: it is no report of a store, an older windtunnel wrote it, or its end is "
            "missing; write it again with windtunnel report"
        )
    try:
        ledger = json.loads(shown.claims)
        known = {"format", "windtunnel", "language", "runs", "scopes"}
        if not known.issubset(ledger):
            raise ValueError(f"it lacks {', '.join(sorted(known.difference(ledger)))}")
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"the claim ledger of {path} cannot be read: {error}; the file was cut off or edited: write it again with "
            "windtunnel report"
        ) from None
    return cast("Ledger", ledger)
