"""What an HTML report shows: the texts of its headings, paragraphs, charts and tables, by the standard parser."""

from html.parser import HTMLParser

from windtunnel.report.displayed import Displayed, ShownSection, ShownTable
from windtunnel.report.html import CLAIMS_ID

_TEXTS = frozenset({"h1", "h2", "p", "figcaption", "caption", "th", "td"})
"""Elements whose text is read, each by itself."""


def read_html(text: str) -> Displayed:
    """Return what a page shows; the data of its charts count as texts, as they are what is drawn."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    sections = tuple(ShownSection(heading=heading, blocks=tuple(blocks)) for heading, blocks in reader.sections)
    return Displayed(title=reader.title, sections=sections, claims=reader.claims)


class _Reader(HTMLParser):
    """Collects texts between a heading and the next."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.claims = ""
        self.sections: list[tuple[str, list[str | ShownTable]]] = []
        self._open: list[tuple[str, str]] = []
        self._parts: list[str] = []
        self._caption = ""
        self._header: list[str] = []
        self._rows: list[list[str]] = []
        self._is_head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            kind = "claims" if given.get("id") == CLAIMS_ID else given.get("type") or "code"
            self._begin(tag, kind)
        elif tag in _TEXTS:
            self._begin(tag, "caption" if given.get("aria-hidden") == "true" else "")
        elif tag == "table":
            self._caption, self._header, self._rows = "", [], []
        elif tag == "thead":
            self._is_head = True
        elif tag == "tr" and not self._is_head:
            self._rows.append([])

    def handle_endtag(self, tag: str) -> None:
        if tag == "thead":
            self._is_head = False
        elif tag == "table" and self.sections:
            rows = tuple(tuple(row) for row in self._rows)
            self._add(ShownTable(caption=self._caption, header=tuple(self._header), rows=rows))
        elif self._open and self._open[-1][0] == tag:
            self._end()

    def handle_data(self, data: str) -> None:
        if self._open:
            self._parts.append(data)

    def _begin(self, tag: str, kind: str) -> None:
        self._open.append((tag, kind))
        self._parts = []

    def _end(self) -> None:
        tag, kind = self._open.pop()
        text = " ".join("".join(self._parts).split())
        self._parts = []
        match tag:
            case "script":
                self._script(kind, text)
            case "h1":
                self.title = text
            case "h2":
                self.sections.append((text, []))
            case "caption":
                self._caption = text
            case "th" | "td" if self._is_head:
                self._header.append(text)
            case "th" | "td":
                self._rows[-1].append(text)
            case _:
                if kind != "caption":  # shown twice: once for the eye, once for screen readers
                    self._add(text)

    def _script(self, kind: str, text: str) -> None:
        if kind == "claims":
            self.claims = text
        elif kind == "application/json":
            self._add(text)

    def _add(self, block: str | ShownTable) -> None:
        if self.sections:
            self.sections[-1][1].append(block)
