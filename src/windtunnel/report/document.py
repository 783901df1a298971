"""A document without a format: sections of paragraphs, tables, figures and callouts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from windtunnel.language import current_language, say


class ColumnKind(StrEnum):
    """What a column holds; numbers are aligned so that their points stand under one another."""

    TEXT = "text"
    NUMBER = "number"


class CalloutKind(StrEnum):
    """How much a callout weighs."""

    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Running text; `lead` is a short run-in heading, or empty.

    `command` is what to type next, or empty; `evidence` are keys of rows of tables that the text follows from.
    """

    text: str
    lead: str = ""
    command: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column; its unit stands in its header, its `description` where a format has room for it.

    Neighbouring columns of one `group` share a header above their own. A detail is left out where there is little room.
    """

    name: str
    unit: str = ""
    kind: ColumnKind = ColumnKind.TEXT
    description: str = ""
    group: str = ""
    is_detail: bool = False

    @property
    def header(self) -> str:
        """The name with the unit, without the group."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


class Cell(NamedTuple):
    """The text of one entry; `sort` is what it is ordered by where its text does not say so.

    A large report has half a million of them, and a frozen dataclass takes twice as long to make.
    """

    text: str
    sort: float | None = None
    is_failure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under columns, with a caption above and a note below (or none).

    `keys` are what sentences name the rows by, one for each row, or none at all; an empty one names no row.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that each row fills the columns, and that each has a key if any has."""
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption
        assert len(self.keys) in {0, len(self.rows)}, self.caption


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A chart in plotly's JSON schema, and a text that says the same where it cannot be drawn.

    `samples` are traces of raw samples, in the same schema, that a reader may ask for.
    """

    caption: str
    plotly: Mapping[str, Any]
    alternative: str
    samples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Callout:
    """A sentence that must not be overlooked; `command` and `evidence` as of a paragraph."""

    kind: CalloutKind
    text: str
    command: str = ""
    evidence: tuple[str, ...] = ()


Block: TypeAlias = Paragraph | Table | Figure | Callout


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading with what stands under it; a detail is left out where there is little room."""

    heading: str
    blocks: tuple[Block, ...]
    is_detail: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A whole report; `claims` is its claim ledger as JSON, or empty.

    `language` is the one in which it is written, and in which a format says its own words.
    """

    title: str
    sections: tuple[Section, ...]
    claims: str = ""
    language: str = field(default_factory=current_language)


# C0 and C1 controls but newline, lone surrogates, line separators, and what is invisible or turns text around.
_UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def run_in(lead: str) -> str:
    """Return a short heading as the beginning of a line of text."""
    return say("{lead}.", lead=lead)


def printable(text: str) -> str:
    """Return text from a record without what would steer a terminal or hide what it says."""
    return text if text.isprintable() else _UNPRINTABLE.sub("\ufffd", text.replace("\t", " "))
