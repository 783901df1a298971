"""A report against its store: every sentence, table cell and finding recomputed, and every record's hash compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias, cast

from windtunnel.analysis.claims import Changed, changed_between
from windtunnel.report.displayed import Displayed, Ledger, ShownSection, ShownTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Where a report differs from what its store gives: the place in words, what stands there, what should."""

    where: str
    said: str
    given: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What came of it: what was compared, the first difference of the display or the ledger, and what changed."""

    sentences: int
    cells: int
    findings: int
    records: int
    difference: Difference | None
    changed: tuple[Changed, ...]

    @property
    def is_true(self) -> bool:
        """Whether the report says what the store gives, and rests on what the store holds."""
        return self.difference is None and not self.changed


_Pair: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
_NOTHING = "nothing"
_SHOWN_LENGTH = 400


def verify(said: Displayed, given: Displayed, said_ledger: Ledger, given_ledger: Ledger) -> Verification:
    """Compare a report with what its store gives now, in the order in which a reader meets it."""
    texts = [block for section in said.sections for block in section.blocks]
    tables = [block for block in texts if isinstance(block, ShownTable)]
    found = next(_differences(said, given), None) or next(_of_findings(said_ledger, given_ledger), None)
    return Verification(
        sentences=len(texts) - len(tables),
        cells=sum(len(row) for table in tables for row in table.rows),
        findings=sum(len(scope["findings"]) for scope in said_ledger["scopes"]),
        records=sum(len(scope["records"]) for scope in said_ledger["scopes"]),
        difference=found,
        changed=tuple(changed_between(said_ledger, given_ledger)),
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
    nothing: Mapping[str, Any] = {"name": "", "findings": []}
    for one, other in cast("Iterator[_Pair]", zip_longest(said["scopes"], given["scopes"], fillvalue=nothing)):
        where = f"claim ledger, scope '{one['name']}'"
        yield from _texts(where, one["name"], other["name"])
        for finding, recomputed in zip_longest(one["findings"], other["findings"]):
            name = f"{where}, finding '{(finding or recomputed)['claim']}' of '{(finding or recomputed)['subject']}'"
            if finding != recomputed:
                yield Difference(where=name, said=_shown(str(finding)), given=_shown(str(recomputed)))


def _texts(where: str, said: str, given: str) -> Iterator[Difference]:
    if said != given:
        yield Difference(where=where, said=_shown(said), given=_shown(given))


def _shown(text: str) -> str:
    text = text or _NOTHING
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
