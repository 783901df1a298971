"""The findings of a scope: the answer, the first thing to change, all others by worth, and what was not measured."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.language import current_texts, passage, say
from windtunnel.report.document import Block, Callout, CalloutKind, Paragraph, Section
from windtunnel.report.scope import Scope
from windtunnel.report.wording import advice, sentence

_QUESTIONS = (("time",), ("fastest", "ceiling"), ("waiting", "memory_filled", "peak_memory"))
"""What the answer says: how long, how far from the ceiling, what is waited for or where memory goes. Of each question
the kinds of finding that answer it, the first that was found."""

_CALLOUTS = {Severity.ERROR: CalloutKind.FAILURE, Severity.WARNING: CalloutKind.WARNING}


def answer(scope: Scope) -> Section | None:
    """Return the answer: at most three sentences, the weightiest finding for each question."""
    return _section("answer", scope, _answers(scope.findings))


def first_change(scope: Scope) -> Section | None:
    """Return the one advice that is worth most, with the command that tests it."""
    return _section("first_change", scope, [one for one in scope.findings if one.kind == "first_change"])


def findings(scope: Scope) -> Section | None:
    """Return what was found besides, faults first, then by worth."""
    said = {id(one) for one in _answers(scope.findings)}
    others = [
        one
        for one in scope.findings
        if id(one) not in said and one.kind != "first_change" and one.strength is not Strength.NOT_MEASURED
    ]
    return _section("findings", scope, others)


def not_measured(scope: Scope) -> Section | None:
    """Return what the numbers cannot tell, with the command that would."""
    return _section(
        "not_measured",
        scope,
        [one for one in scope.findings if one.strength is Strength.NOT_MEASURED and one.kind != "first_change"],
    )


def _answers(found: Sequence[Finding]) -> list[Finding]:
    return [one for kinds in _QUESTIONS if (one := _first_of(found, kinds))]


def _first_of(found: Sequence[Finding], kinds: Sequence[str]) -> Finding | None:
    for kind in kinds:
        for one in found:
            if one.kind == kind and one.strength is not Strength.NOT_MEASURED:
                return one
    return None


def _section(heading: str, scope: Scope, found: Sequence[Finding]) -> Section | None:
    if not found:
        return None
    return Section(heading=current_texts()["headings"][heading], blocks=tuple(_blocks(scope, found)))


def _blocks(scope: Scope, found: Sequence[Finding]) -> Iterator[Block]:
    for one in found:
        text, evidence = _text(one), tuple(scope.row_key(place) for place in one.evidence)
        if kind := _CALLOUTS.get(one.severity):
            yield Callout(kind=kind, text=text, command=one.command or "", evidence=evidence)
        else:
            yield Paragraph(text=text, command=one.command or "", evidence=evidence)


def _text(one: Finding) -> str:
    """Return the sentence with its strength and its advice; the command follows it."""
    texts = current_texts()
    heads = texts["headings"]
    parts = [sentence(one)]
    if one.strength is not Strength.NOT_MEASURED:
        parts.append(f"[{texts['marks'][one.strength.value]}]")
    if says := advice(one):
        parts.append(say("{heading}: {advice}.", heading=heads["advice"], advice=says))
    if one.command:
        parts.append(say("{heading}:", heading=heads["test_it"]))
    return passage(parts)
