"""Links from sentences to rows: only to rows that are on the page, and one place for each."""

from collections.abc import Sequence
from dataclasses import replace

from windtunnel.report.document import Block, Callout, Document, Paragraph, Section, Table

_SHOWN_DIGITS = 8
_MOST_LINKS = 4


def anchor(key: str) -> str:
    """Return the identity of a row on the page."""
    return f"r-{key.replace(' ', '-')}"


def shown_key(key: str) -> str:
    """Return the text of a link: the first digits of the key, which `windtunnel show` takes, without what it is of."""
    return key.partition("-")[2].split(" ")[-1][:_SHOWN_DIGITS]


def shown_evidence(evidence: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that a sentence links to: of many the first ones and the last."""
    return evidence if len(evidence) <= _MOST_LINKS else (*evidence[: _MOST_LINKS - 1], evidence[-1])


def keyed(section: Section, caption: str, keys: Sequence[str]) -> Section:
    """Return a section whose table of this caption, if it is there, has keys: those of its rows, the latest ones."""
    return replace(
        section,
        blocks=tuple(
            replace(block, keys=tuple(keys[-len(block.rows) :]))
            if isinstance(block, Table) and block.caption == caption
            else block
            for block in section.blocks
        ),
    )


def with_anchors(document: Document) -> Document:
    """Return the document in which every piece of evidence names a row of it, and every key is named by a sentence.

    A key that several rows have belongs to the first of them.
    """
    blocks = [block for section in document.sections for block in section.blocks]
    on_page = {key for block in blocks if isinstance(block, Table) for key in block.keys if key}
    asked = {key for block in blocks if isinstance(block, Paragraph | Callout) for key in block.evidence}
    left = on_page & asked
    sections = tuple(_section(section, on_page, left) for section in document.sections)
    return replace(document, sections=sections)


def _section(section: Section, on_page: set[str], left: set[str]) -> Section:
    return replace(section, blocks=tuple(_block(block, on_page, left) for block in section.blocks))


def _block(block: Block, on_page: set[str], left: set[str]) -> Block:
    match block:
        case Paragraph() | Callout() if block.evidence:
            return replace(block, evidence=tuple(key for key in dict.fromkeys(block.evidence) if key in on_page))
        case Table() if block.keys:
            keys = tuple(_taken(key, left) for key in block.keys)
            return replace(block, keys=keys if any(keys) else ())
        case _:
            return block


def _taken(key: str, left: set[str]) -> str:
    """Return the key if no row before had it and a sentence asks for it; else nothing."""
    if key not in left:
        return ""
    left.remove(key)
    return key
