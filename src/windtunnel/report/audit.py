"""An audit of a published table as a document: what was understood, then what the numbers say and refute."""

from collections.abc import Iterable

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.published.read import Published, Understood
from windtunnel.language import apart, counted, current_texts, fill, listed, passage, say, word
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
from windtunnel.report.wording import advice, ruled_out, sentence, written

_MOST_PLACES = 4


def build_audit(published: Published, findings: tuple[Finding, ...], *, file: str) -> Document:
    """Return the document of an audit; each finding stands once, in the section of its kind of answer."""
    heads = current_texts()["headings"]
    faults = [one for one in findings if one.severity is not Severity.NOTE]
    said = [one for one in findings if one.severity is Severity.NOTE and one.strength is not Strength.NOT_MEASURED]
    unknown = [one for one in findings if one.severity is Severity.NOTE and one.strength is Strength.NOT_MEASURED]
    sections = [
        _understood(published),
        Section(
            heading=heads["faults"],
            blocks=tuple(map(_fault, faults)) or (Callout(kind=CalloutKind.NOTE, text=heads["nothing_wrong"]),),
        ),
        Section(heading=heads["supported"], blocks=tuple(map(_paragraph, said))),
        _contradicted(findings),
        Section(heading=heads["open"], blocks=tuple(map(_paragraph, unknown))),
    ]
    if published.unread:
        rows = tuple((Cell(text=str(one.line)), Cell(text=one.reason)) for one in published.unread)
        columns = (Column(name=heads["line"]), Column(name=heads["reason"]))
        table = Table(caption=heads["unread"], columns=columns, rows=rows)
        sections.insert(1, Section(heading=heads["unread"], blocks=(table,)))
    title = fill(heads["title"], {"file": file})
    return Document(title=title, sections=tuple(section for section in sections if section.blocks))


def _understood(published: Published) -> Section:
    texts = current_texts()
    heads = texts["headings"]
    blocks: list[Block] = [_table(table) for table in published.tables]
    if published.facts:
        text = listed(
            say("{name} {value} ({where})", name=word(name), value=value, where=_lines([str(line)]))
            for line, name, value in published.facts
        )
        blocks.append(Paragraph(lead=heads["facts"], text=text))
    assumptions = dict.fromkeys(one for table in published.tables for one in table.assumptions)
    if assumptions:
        said = (written("assumptions", name, dict(fields)) for name, fields in assumptions)
        blocks.append(Paragraph(lead=heads["assumed"], text=apart(said)))
    return Section(heading=heads["understood"], blocks=tuple(blocks))


def _table(table: Understood) -> Paragraph:
    heads = current_texts()["headings"]
    lead = fill(heads["table"], {"line": table.line})
    if table.caption:
        lead = say("{table}, {caption}", table=lead, caption=table.caption)
    columns = listed(
        say("{column}: {meaning}", column=name, meaning=passage(map(word, meaning))) for name, meaning in table.columns
    )
    counts = fill(
        heads["counts"],
        {"observations": counted(table.observations, "number"), "failures": counted(table.failures, "cell")},
    )
    text = say("{counts}. {heading}: {columns}.", counts=counts, heading=heads["columns"], columns=columns)
    return Paragraph(lead=lead, text=text)


def _contradicted(findings: Iterable[Finding]) -> Section:
    heads = current_texts()["headings"]
    rows = [(reading, finding) for finding in findings for reading in ruled_out(finding)]
    unique = dict.fromkeys((reading, _places(finding)) for reading, finding in rows)
    if not unique:
        blocks: tuple[Block, ...] = (Callout(kind=CalloutKind.NOTE, text=heads["nothing_contradicted"]),)
    else:
        blocks = tuple(
            Paragraph(text=say("– {reading} ({places})", reading=reading, places=places)) for reading, places in unique
        )
    return Section(heading=heads["contradicted"], blocks=blocks)


def _fault(finding: Finding) -> Callout:
    kind = CalloutKind.FAILURE if finding.severity is Severity.ERROR else CalloutKind.WARNING
    return Callout(kind=kind, text=_text(finding))


def _paragraph(finding: Finding) -> Paragraph:
    return Paragraph(text=_text(finding))


def _text(finding: Finding) -> str:
    """Return the sentence, what rests it, and what would test it."""
    texts = current_texts()
    heads = texts["headings"]
    parts = [sentence(finding)]
    if finding.strength is not Strength.NOT_MEASURED:
        strength = texts["strengths"][finding.strength.value]
        parts.append(say("[{strength}; {places}]", strength=strength, places=_places(finding)))
    if says := advice(finding):
        parts.append(say("{heading}: {advice}.", heading=heads["advice"], advice=says))
    if finding.command:
        heading = heads["to_test"]
        parts.append(say("{heading}: {command}", heading=heading[:1].upper() + heading[1:], command=finding.command))
    return passage(parts)


def _places(finding: Finding) -> str:
    """Return where the numbers stand: of each column the first lines and the last."""
    columns: dict[str, list[str]] = {}
    for place in finding.evidence:
        line, _, column = place.removeprefix("line ").partition(", ")
        columns.setdefault(column, []).append(line)
    return apart(passage((column, _lines(lines))) for column, lines in columns.items())


def _lines(lines: list[str]) -> str:
    lines = sorted(dict.fromkeys(lines), key=lambda line: (len(line), line))
    if len(lines) > _MOST_PLACES:
        lines = [*lines[: _MOST_PLACES - 1], "…", lines[-1]]
    template = current_texts()["headings"]["lines" if len(lines) > 1 else "one_line"]
    return fill(template, {"lines": listed(lines)})
