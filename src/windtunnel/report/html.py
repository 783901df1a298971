"""A document as one HTML file that works offline and runs no script but its own.

The page brings plotly along, compressed. Its Content-Security-Policy forbids every request and allows two
scripts by their hashes: ours, and plotly once ours has decompressed it. Ours is written in `assets/*.js`.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from windtunnel.errors import UnsupportedError
from windtunnel.language import current_texts, say, writing_in
from windtunnel.report.anchors import anchor, shown_evidence, shown_key
from windtunnel.report.document import (
    Block,
    Callout,
    Cell,
    Column,
    ColumnKind,
    Document,
    Figure,
    Paragraph,
    Section,
    Table,
    printable,
    run_in,
)
from windtunnel.report.figures import DARK

_TALL_ROWS = 40  # a longer table scrolls in its own box, so that what follows stays in reach
_LONG_TEXT = 48  # characters; a column with longer texts wraps

_SPECIAL = re.compile("[&<>\"']")

CLAIMS_ID = "windtunnel-claims"
"""Of the block that holds the claim ledger."""

_SCRIPTS = ("page.js", "tables.js", "charts.js")
"""Of the page, in the order in which they run; what one declares the next may use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A script that the page decompresses, and the expression by which its policy allows it."""

    base64_gzip: str
    source: str


def render_html(document: Document) -> str:
    """Return the whole page; everything in it that is not ours is escaped.

    Raises:
        UnsupportedError: The document has charts and plotly is not installed.
    """
    with writing_in(document.language):
        return _page(document, current_texts()["page"])


def _page(document: Document, words: Mapping[str, str]) -> str:
    style, script = _asset("report.css"), "\n".join(map(_asset, _SCRIPTS))
    body = [_section(section, f"s{place}", words) for place, section in enumerate(document.sections)]
    has_charts = any(isinstance(block, Figure) for section in document.sections for block in section.blocks)
    packed = packed_plotly() if has_charts else None
    title = _escaped(document.title)
    parts = [
        "<!doctype html>",
        f'<html lang="{_escaped(words["language"])}">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, packed)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="generator" content="windtunnel">',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        f'<a class="skip" href="#content">{_escaped(words["skip"])}</a>',
        '<div class="page">',
        f"<header><h1>{title}</h1></header>",
        _contents(document.sections, words),
        '<main id="content" tabindex="-1">',
        *body,
        "</main>",
        f"<footer>{_escaped(words['footer'])}</footer>",
        "</div>",
    ]
    if document.claims:
        claims = document.claims.replace("<", "\\u003c")
        parts.append(f'<script type="application/json" id="{CLAIMS_ID}">{claims}</script>')
    if packed:
        parts += [
            f'<script type="application/json" id="dark-colors">{_json(DARK)}</script>',
            f'<script type="application/gzip" id="plotly">{packed.base64_gzip}</script>',
        ]
    parts.append(f'<script type="application/json" id="words">{_json(words)}</script>')
    parts += [f"<script>{script}</script>", "</body>", "</html>", ""]
    return "\n".join(parts)


@cache
def packed_plotly() -> Packed:
    """Return plotly's script, found without importing plotly: only this file of it is needed.

    Raises:
        UnsupportedError: plotly is not installed.
    """
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if path is None or not path.exists():
        raise UnsupportedError("charts need plotly, which is not installed here; run: pip install plotly")
    text = path.read_bytes()
    # Without a time stamp, so that the same results make the same file.
    packed = base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode()
    return Packed(base64_gzip=packed, source=_source(text))


def _policy(script: str, packed: Packed | None) -> str:
    """Return the policy: no request at all, two known scripts, and style elements.

    Style elements are not allowed by hash because plotly adds some that change with its version; style
    attributes, which are what escaped text would turn into if it were not escaped, are not allowed at all.
    Images are those that plotly's own download button makes in memory.
    """
    scripts = [_source(script.encode()), *([packed.source] if packed else [])]
    directives = (
        "default-src 'none'",
        f"script-src {' '.join(scripts)}",
        "style-src 'unsafe-inline'",
        "style-src-attr 'none'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(directives)


def _source(text: bytes) -> str:
    """Return the expression of a policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return (files("windtunnel.report") / "assets" / name).read_text(encoding="utf-8")


def _contents(sections: Iterable[Section], words: Mapping[str, str]) -> str:
    links = "".join(
        f'<li><a href="#s{place}">{_escaped(section.heading)}</a></li>' for place, section in enumerate(sections)
    )
    return f'<nav aria-label="{_escaped(words["sections"])}"><ul>{links}</ul></nav>'


def _section(section: Section, identity: str, words: Mapping[str, str]) -> str:
    parts = [f'<section id="{identity}" aria-labelledby="{identity}h">']
    parts.append(f'<h2 id="{identity}h">{_escaped(section.heading)}</h2>')
    numbered = enumerate(section.blocks)
    for is_figure, blocks in groupby(numbered, key=lambda entry: isinstance(entry[1], Figure)):
        drawn = [_block(block, f"{identity}b{place}", words) for place, block in blocks]
        parts += ['<div class="figures">', *drawn, "</div>"] if is_figure else drawn
    return "\n".join([*parts, "</section>"])


def _block(block: Block, identity: str, words: Mapping[str, str]) -> str:
    match block:
        case Paragraph():
            lead = f"<b>{_escaped(run_in(block.lead))}</b> " if block.lead else ""
            return f"<p>{lead}{_escaped(block.text)}{_after(block)}</p>"
        case Callout():
            text = f"<b>{_escaped(words[block.kind.value])}</b>{_escaped(block.text)}"
            return f'<p class="callout {block.kind.value}">{text}{_after(block)}</p>'
        case Figure():
            return _figure(block, identity, words)
        case Table():
            return _table(block, identity)


def _after(block: Paragraph | Callout) -> str:
    """Return the command of a block and the links to its rows."""
    command = f" <code>{_escaped(block.command)}</code>" if block.command else ""
    links = " ".join(map(_link, shown_evidence(block.evidence)))
    return f'{command} <span class="rows">[{links}]</span>' if links else command


def _link(key: str) -> str:
    shown = shown_key(key)
    label = say("row {key}", key=shown)
    return f'<a href="#{_escaped(anchor(key))}" aria-label="{_escaped(label)}">{shown}</a>'


def _figure(figure: Figure, identity: str, words: Mapping[str, str]) -> str:
    """Return the chart with its text, which is shown unless the chart was drawn, and read aloud either way."""
    drawing = {**figure.plotly, "samples": figure.samples} if figure.samples else figure.plotly
    return (
        f'<figure aria-labelledby="{identity}c">'
        f'<figcaption id="{identity}c">{_escaped(figure.caption)}</figcaption>'
        f'<div class="chart"><script type="application/json">{_json(drawing)}</script>'
        '<div class="plot"></div></div>'
        f'<p class="missing"><b>{_escaped(words["needs_script"])}</b> '
        f"{_escaped(figure.alternative)}</p></figure>"
    )


def _table(table: Table, identity: str) -> str:
    caption = _escaped(table.caption)
    tall = " tall" if len(table.rows) > _TALL_ROWS else ""
    edges = _edges(table.columns)
    parts = [
        f'<div class="table"><p class="caption" id="{identity}c" aria-hidden="true">{caption}</p>',
        f'<div class="box{tall}" role="region" aria-labelledby="{identity}c" tabindex="0">',
        f"<table><caption>{caption}</caption>",
        _head(table.columns, edges),
        _body(table, edges),
        "</table></div>",
        f'<p class="note">{_escaped(table.note)}</p>' if table.note else "",
        "</div>",
    ]
    return "\n".join(parts)


def _edges(columns: tuple[Column, ...]) -> tuple[bool, ...]:
    """Say for each column whether a group begins there, or ended before it."""
    before = ("", *(column.group for column in columns))
    return tuple(column.group != last for column, last in zip(columns, before, strict=False))


def _head(columns: tuple[Column, ...], edges: tuple[bool, ...]) -> str:
    rows: list[str] = []
    if any(column.group for column in columns):
        spans = [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
        cells = "".join(
            f'<th scope="colgroup" colspan="{span}" class="e">{_escaped(group)}</th>'
            if group
            else f'<td colspan="{span}"></td>'
            for group, span in spans
        )
        rows.append(f'<tr class="groups">{cells}</tr>')
    heads = "".join(
        _header(column, place, edge) for place, (column, edge) in enumerate(zip(columns, edges, strict=True))
    )
    rows.append(f"<tr>{heads}</tr>")
    return f"<thead>{''.join(rows)}</thead>"


def _header(column: Column, place: int, edge: bool) -> str:
    title = f' title="{_escaped(column.description)}"' if column.description else ""
    unit = f' <span class="unit">({_escaped(column.unit)})</span>' if column.unit else ""
    classes = _class("t" if column.kind is ColumnKind.TEXT else "", "e" if edge else "")
    return f'<th scope="col" data-column="{place}"{classes}{title}><span>{_escaped(column.name)}</span>{unit}</th>'


def _body(table: Table, edges: tuple[bool, ...]) -> str:
    """Write the rows; ten thousand of them must not take a second, so what a column decides is decided once."""
    is_text = [column.kind is ColumnKind.TEXT for column in table.columns]
    is_long = [
        text and any(len(row[place].text) > _LONG_TEXT for row in table.rows) for place, text in enumerate(is_text)
    ]
    plain = [
        _class("t" if text else "", "w" if long else "", "e" if edge else "")
        for text, long, edge in zip(is_text, is_long, edges, strict=True)
    ]
    failed = [f'{attribute[:-1]} f"' if attribute else ' class="f"' for attribute in plain]
    lines: list[str] = []
    last = None
    identities = [f' id="{_escaped(anchor(key))}"' if key else "" for key in table.keys] or [""] * len(table.rows)
    for row, identity in zip(table.rows, identities, strict=True):
        texts = [cell.text for cell in row]
        opening = f"<tr{identity}>" if last is None or texts[0] == last else f'<tr{identity} class="g">'
        last = texts[0]
        if not _is_plain("".join(texts)):  # nearly every row is, and to find that out for all of it at once is faster
            texts = [_escaped(text) for text in texts]
        cells = [f'<th scope="row"{plain[0]}{_sort(row[0])}>{texts[0]}</th>']
        cells += [
            f"<td{bad if cell.is_failure else good}{'' if cell.sort is None else _sort(cell)}>{text}</td>"
            for cell, text, good, bad in zip(row[1:], texts[1:], plain[1:], failed[1:], strict=True)
        ]
        lines.append(f"{opening}{''.join(cells)}</tr>")
    return "<tbody>\n" + "\n".join(lines) + "\n</tbody>"


def _class(*names: str) -> str:
    text = " ".join(name for name in names if name)
    return f' class="{text}"' if text else ""


def _sort(cell: Cell) -> str:
    return "" if cell.sort is None else f' data-v="{cell.sort:.9g}"'


def _escaped(text: str) -> str:
    return text if _is_plain(text) else html.escape(printable(text))


def _is_plain(text: str) -> bool:
    return text.isprintable() and not _SPECIAL.search(text)


def _json(value: object) -> str:
    """Write JSON that no text in it can end: `</script>` needs its `<`, and so does `<!--`."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
