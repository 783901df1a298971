"""A document as Markdown, as GitHub draws it and as it reads in an editor."""

import re
from collections.abc import Sequence

from windtunnel.language import say, writing_in
from windtunnel.report.anchors import anchor, shown_evidence, shown_key
from windtunnel.report.document import (
    Block,
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

# An underscore inside a word does nothing, so that `train_step` stays readable.
_SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|&(?=[#\w])|(?<!\w)_|_(?!\w)")
# Nearly every text is this, and needs no second look.
_PLAIN = re.compile(r"[0-9A-Za-z.,%±–+-]+(?: [0-9A-Za-z.,%±–+-]+)*")
_WIDE = re.compile("[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]")
_STARTS_A_BLOCK = re.compile(r"^(\d*)(?=[-+#=.)])")

_ALERTS = {CalloutKind.NOTE: "NOTE", CalloutKind.WARNING: "WARNING", CalloutKind.FAILURE: "CAUTION"}


def render_markdown(document: Document) -> str:
    """Return the document as text; everything in it is escaped, so that nothing from a record is markup."""
    with writing_in(document.language):
        return _text(document)


def _text(document: Document) -> str:
    parts = [f"# {_escaped(document.title)}"]
    for section in document.sections:
        parts.append(f"## {_escaped(section.heading)}")
        parts += [_block(block) for block in section.blocks]
    if document.claims:
        parts.append(f"{CLAIMS_BEGIN}{_in_comment(document.claims)}{CLAIMS_END}")
    return "\n\n".join(parts) + "\n"


CLAIMS_BEGIN, CLAIMS_END = "<!-- windtunnel claims ", " -->"
"""What the claim ledger stands between: a comment, so that no reader has to see it."""


def _in_comment(text: str) -> str:
    """Write JSON so that nothing in it ends the comment, which two dashes may, and nothing looks like markup."""
    return text.replace("--", "-\\u002d").replace("<", "\\u003c").replace(">", "\\u003e")


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            text = f"**{_escaped(run_in(block.lead))}** {_escaped(block.text)}" if block.lead else _line(block.text)
            return text + _after(block)
        case Callout():
            return f"> [!{_ALERTS[block.kind]}]\n> {_line(block.text)}{_after(block)}"
        case Figure():
            return f"**{_escaped(say('Chart: {caption}', caption=block.caption))}**\n\n{_line(block.alternative)}"
        case Table():
            return _table(block)


def _after(block: Paragraph | Callout) -> str:
    """Return the command of a block and the links to its rows."""
    command = f" {_code(block.command)}" if block.command else ""
    links = [f"[{shown_key(key)}](#{anchor(key)})" for key in shown_evidence(block.evidence)]
    return f"{command} [{' '.join(links)}]" if links else command


def _code(text: str) -> str:
    """Return text as code: between more backticks than stand together in it."""
    text = " ".join(printable(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _table(table: Table) -> str:
    header = [_escaped(_header(column)) for column in table.columns]
    rows = [_all_escaped([cell.text for cell in row]) for row in table.rows]
    for key, row in zip(table.keys, rows, strict=False):
        if key:
            row[0] += f'<a id="{anchor(key)}"></a>'
    # An editor shows a Chinese sign as wide as two letters; where there is none, counting letters is much faster.
    is_wide = any(_WIDE.search("".join(texts)) for texts in (header, *rows))
    widths = [max(3, *map(_width if is_wide else len, texts)) for texts in zip(header, *rows, strict=True)]
    is_number = [column.kind is ColumnKind.NUMBER for column in table.columns]
    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, is_number, strict=True)]
    template = (
        "| " + " | ".join(f"{{:{'>' if right else '<'}{w}}}" for w, right in zip(widths, is_number, strict=True)) + " |"
    )
    lines = (
        [_padded(texts, widths, is_number) for texts in (header, rule, *rows)]
        if is_wide
        else [template.format(*texts) for texts in (header, rule, *rows)]
    )
    parts = [f"**{_escaped(table.caption)}**", "\n".join(lines)]
    return "\n\n".join([*parts, _line(table.note)] if table.note else parts)


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def _padded(texts: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> str:
    entries: list[str] = []
    for text, width, right in zip(texts, widths, is_number, strict=True):
        blank = " " * (width - _width(text))
        entries.append(f"{blank}{text}" if right else f"{text}{blank}")
    return f"| {' | '.join(entries)} |"


def _header(column: Column) -> str:
    return say("{group}: {column}", group=column.group, column=column.header) if column.group else column.header


def _line(text: str) -> str:
    """Escape text that stands at the start of a line, where digits and dashes too can be markup."""
    return _STARTS_A_BLOCK.sub(r"\1\\", _escaped(text))


def _all_escaped(texts: list[str]) -> list[str]:
    """Escape the entries of a row; nearly every one of a large table is plain, which is found out for all at once."""
    return texts if _PLAIN.fullmatch(" ".join(filter(None, texts))) else [_escaped(text) for text in texts]


def _escaped(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return _SPECIAL.sub(_escape, " ".join(printable(text).split()))


def _escape(match: re.Match[str]) -> str:
    return "&amp;" if match[0] == "&" else f"\\{match[0]}"
