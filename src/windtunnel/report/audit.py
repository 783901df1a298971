"""An audit of a published table as a document: what was understood, then what the numbers say and refute."""

from collections.abc import Iterable

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.published.read import Published, Understood
from windtunnel.language import Texts, texts_of
from windtunnel.report.document import (
    Block,
    Callout,
    CalloutKind,
    Cell,
    Column,
    Document,
    Paragraph,
    Section,
    Table,
)
from windtunnel.report.wording import advice, ruled_out, sentence

_MOST_PLACES = 4


def build_audit(published: Published, findings: tuple[Finding, ...], *, file: str, language: str = "en") -> Document:
    """Return the document of an audit; each finding stands once, in the section of its kind of answer."""
    texts = texts_of(language)
    heads = texts["headings"]
    faults = [one for one in findings if one.severity is not Severity.NOTE]
    said = [one for one in findings if one.severity is Severity.NOTE and one.strength is not Strength.NOT_MEASURED]
    unknown = [one for one in findings if one.severity is Severity.NOTE and one.strength is Strength.NOT_MEASURED]
    sections = [
        _understood(published, texts),
        Section(
            heading=heads["faults"],
            blocks=tuple(_fault(one, texts) for one in faults)
            or (Callout(kind=CalloutKind.NOTE, text=heads["nothing_wrong"]),),
        ),
        Section(heading=heads["supported"], blocks=tuple(_paragraph(one, texts) for one in said)),
        _contradicted(findings, texts),
        Section(heading=heads["open"], blocks=tuple(_paragraph(one, texts) for one in unknown)),
    ]
    if published.unread:
        rows = tuple((Cell(text=str(one.line)), Cell(text=one.reason)) for one in published.unread)
        columns = (Column(name=heads["line"]), Column(name=heads["reason"]))
        table = Table(caption=heads["unread"], columns=columns, rows=rows)
        sections.insert(1, Section(heading=heads["unread"], blocks=(table,)))
    return Document(title=heads["title"].format(file=file), sections=tuple(s for s in sections if s.blocks))


def _understood(published: Published, texts: Texts) -> Section:
    heads = texts["headings"]
    blocks: list[Block] = [_table(table, texts) for table in published.tables]
    if published.facts:
        words = texts["words"]
        text = ", ".join(
            f"{words.get(name, name)} {value} ({_lines([str(line)], texts)})" for line, name, value in published.facts
        )
        blocks.append(Paragraph(lead=heads["facts"], text=text))
    assumptions = dict.fromkeys(one for table in published.tables for one in table.assumptions)
    if assumptions:
        said = (texts["assumptions"][name].format(**dict(fields)) for name, fields in assumptions)
        blocks.append(Paragraph(lead=heads["assumed"], text="; ".join(said)))
    return Section(heading=heads["understood"], blocks=tuple(blocks))


def _table(table: Understood, texts: Texts) -> Paragraph:
    heads = texts["headings"]
    lead = heads["table"].format(line=table.line) + (f", {table.caption}" if table.caption else "")
    words = texts["words"]
    columns = ", ".join(
        f"{name}: {' '.join(words.get(word, word) for word in meaning)}" for name, meaning in table.columns
    )
    counts = heads["counts"].format(observations=table.observations, failures=table.failures)
    return Paragraph(lead=lead, text=f"{counts}. {heads['columns']}: {columns}.")


def _contradicted(findings: Iterable[Finding], texts: Texts) -> Section:
    heads = texts["headings"]
    rows = [(reading, finding) for finding in findings for reading in ruled_out(finding, texts)]
    unique = dict.fromkeys((reading, _places(finding, texts)) for reading, finding in rows)
    if not unique:
        blocks: tuple[Block, ...] = (Callout(kind=CalloutKind.NOTE, text=heads["nothing_contradicted"]),)
    else:
        blocks = tuple(Paragraph(text=f"– {reading} ({places})") for reading, places in unique)
    return Section(heading=heads["contradicted"], blocks=blocks)


def _fault(finding: Finding, texts: Texts) -> Callout:
    kind = CalloutKind.FAILURE if finding.severity is Severity.ERROR else CalloutKind.WARNING
    return Callout(kind=kind, text=_text(finding, texts))


def _paragraph(finding: Finding, texts: Texts) -> Paragraph:
    return Paragraph(text=_text(finding, texts))


def _text(finding: Finding, texts: Texts) -> str:
    """Return the sentence, what rests it, and what would test it."""
    heads = texts["headings"]
    parts = [sentence(finding, texts)]
    if finding.strength is not Strength.NOT_MEASURED:
        parts.append(f"[{texts['strengths'][finding.strength.value]}; {_places(finding, texts)}]")
    if says := advice(finding, texts):
        parts.append(f"{heads['advice']}: {says}.")
    if finding.command:
        parts.append(f"{heads['to_test'].capitalize()}: {finding.command}")
    return " ".join(parts)


def _places(finding: Finding, texts: Texts) -> str:
    """Return where the numbers stand: of each column the first lines and the last."""
    columns: dict[str, list[str]] = {}
    for place in finding.evidence:
        line, _, column = place.removeprefix("line ").partition(", ")
        columns.setdefault(column, []).append(line)
    return "; ".join(f"{column} {_lines(lines, texts)}".strip() for column, lines in columns.items())


def _lines(lines: list[str], texts: Texts) -> str:
    lines = sorted(dict.fromkeys(lines), key=lambda line: (len(line), line))
    if len(lines) > _MOST_PLACES:
        lines = [*lines[: _MOST_PLACES - 1], "…", lines[-1]]
    return texts["headings"]["lines" if len(lines) > 1 else "one_line"].format(lines=", ".join(lines))
