"""A report against its store: every sentence, table cell and finding recomputed, and every record's hash compared.

Where nothing of that differs the two files are compared as texts, too: what stands around the sentences, is hidden
from the eye or from a screen reader, links to another row or changes the look is then found by its line.
"""

import gzip
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from windtunnel.analysis.claims import Changed, Ledger, LedgerScope, changed_between
from windtunnel.report.displayed import Displayed, ReportFile, ShownSection, ShownTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Where a report differs from what its store gives: the place in words, what stands there, what should."""

    where: str
    said: str
    given: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What came of it: what was compared, the first difference, and which records changed.

    `brings_another_plotly` says that the page's charts are drawn by another plotly.js than the one installed here,
    so that nothing is known of what that script does.
    """

    sentences: int
    cells: int
    findings: int
    records: int
    difference: Difference | None
    changed: tuple[Changed, ...]
    brings_another_plotly: bool

    @property
    def is_true(self) -> bool:
        """Whether the report says what the store gives, and rests on what the store holds."""
        return self.difference is None and not self.changed


_NOTHING = "nothing"
_SHOWN_LENGTH = 400
_SHOWN_BEFORE = 60  # characters of a long line before the first that differs
_PLOTLY = re.compile(r'(<script type="application/gzip" id="plotly">)([^<]*)')
_PLOTLY_ALLOWED = re.compile(r"(script-src '[^']*') '[^']*'")


def verify(said: ReportFile, given: ReportFile) -> Verification:
    """Compare a report with what its store gives now, in the order in which a reader meets it."""
    texts = [block for section in said.shown.sections for block in section.blocks]
    tables = [block for block in texts if isinstance(block, ShownTable)]
    found = next(_differences(said.shown, given.shown), None) or next(_of_findings(said.ledger, given.ledger), None)
    changed = tuple(changed_between(said.ledger, given.ledger))
    return Verification(
        sentences=len(texts) - len(tables),
        cells=sum(len(row) for table in tables for row in table.rows),
        findings=sum(len(scope.findings) for scope in said.ledger.scopes),
        records=sum(len(scope.records) for scope in said.ledger.scopes),
        difference=found or (None if changed else next(_of_lines(said.text, given.text), None)),
        changed=changed,
        brings_another_plotly=_plotly(said.text) != _plotly(given.text),
    )


def _differences(said: Displayed, given: Displayed) -> Iterator[Difference]:
    yield from _texts("title", said.title, given.title)
    for one, other in zip_longest(said.sections, given.sections):
        heading = one.heading if one else ""
        yield from _texts("headings of sections", heading, other.heading if other else "")
        if one and other:
            yield from _section(one, other)


def _section(said: ShownSection, given: ShownSection) -> Iterator[Difference]:
    for place, (one, other) in enumerate(zip_longest(said.blocks, given.blocks), start=1):
        if isinstance(one, ShownTable) and isinstance(other, ShownTable):
            yield from _table(said.heading, one, other)
        else:
            where = f"section '{said.heading}', block {place}"
            yield from _texts(where, _name(one), _name(other))


def _name(block: str | ShownTable | None) -> str:
    return f"table '{block.caption}'" if isinstance(block, ShownTable) else block or ""


def _table(heading: str, said: ShownTable, given: ShownTable) -> Iterator[Difference]:
    where = f"section '{heading}', table '{said.caption}'"
    yield from _texts(f"{where}, caption", said.caption, given.caption)
    yield from _texts(f"{where}, header", " | ".join(said.header), " | ".join(given.header))
    columns = said.header[-len(said.rows[0]) :] if said.rows else ()
    for number, (one, other) in enumerate(zip_longest(said.rows, given.rows), start=1):
        if one != other:
            yield from _row(f"{where}, row {number} ({_first(one or other)})", one, other, columns)


def _first(row: Sequence[str] | None) -> str:
    return next((text for text in row or () if text), "")


def _row(
    where: str, said: Sequence[str] | None, given: Sequence[str] | None, columns: Sequence[str]
) -> Iterator[Difference]:
    if said is None or given is None:
        yield from _texts(where, " | ".join(said or ()), " | ".join(given or ()))
        return
    for column, one, other in zip_longest(columns, said, given, fillvalue=""):
        yield from _texts(f"{where}, column '{column}'", one, other)


def _of_findings(said: Ledger, given: Ledger) -> Iterator[Difference]:
    """Yield findings of the ledgers that differ though every sentence is displayed alike."""
    nothing = LedgerScope(name="", machine="", findings=[], records={})
    for one, other in zip_longest(said.scopes, given.scopes, fillvalue=nothing):
        where = f"claim ledger, scope '{one.name}'"
        yield from _texts(where, one.name, other.name)
        for finding, recomputed in zip_longest(one.findings, other.findings):
            named = recomputed or finding
            name = f"{where}, finding '{named.get('claim')}' of '{named.get('subject')}'"
            if finding != recomputed:
                yield Difference(where=name, said=_shown(str(finding)), given=_shown(str(recomputed)))


def _of_lines(said: str, given: str) -> Iterator[Difference]:
    """Yield the lines of two files that differ though all that is read from them does not."""
    lines = zip_longest(_without_plotly(said), _without_plotly(given), fillvalue="")
    for number, (one, other) in enumerate(lines, start=1):
        if one != other:
            begin = max(0, next(_places(one, other)) - _SHOWN_BEFORE)
            where = f"line {number} of the file, where sentences, cells and findings are as the store gives them"
            yield Difference(where=where, said=_shown(one[begin:]), given=_shown(other[begin:]))


def _places(one: str, other: str) -> Iterator[int]:
    return (place for place, (left, right) in enumerate(zip_longest(one, other)) if left != right)


def _without_plotly(text: str) -> list[str]:
    """Return the lines of a file but for plotly, of which another version is no other report."""
    without = _PLOTLY.sub(r"\1", text)
    return (without if without == text else _PLOTLY_ALLOWED.sub(r"\1", without, count=1)).rstrip("\n").split("\n")


def _plotly(text: str) -> bytes:
    """Return the script of plotly in a page; as it is packed where it cannot be unpacked, empty where there is none."""
    packed = found[2] if (found := _PLOTLY.search(text)) else ""
    try:
        return gzip.decompress(b64decode(packed))
    except (ValueError, OSError, EOFError, zlib.error):
        return packed.encode()


def _texts(where: str, said: str, given: str) -> Iterator[Difference]:
    if said != given:
        yield Difference(where=where, said=_shown(said), given=_shown(given))


def _shown(text: str) -> str:
    text = text or _NOTHING
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
