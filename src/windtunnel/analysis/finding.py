"""What a finding is: a claim with its numbers, what it rests on, and how strongly; text is made from it elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from windtunnel.errors import ContradictionError

Number: TypeAlias = float | int | str | tuple[str, ...] | tuple[float, ...]
"""What a field of a claim may hold; seconds, bytes, FLOPs and fractions, never text with a unit in it."""


class Strength(StrEnum):
    """What a claim rests on."""

    MEASURED = "measured"
    """The numbers in the evidence say it themselves, by arithmetic that the claim names."""
    INFERRED = "inferred"
    """It needs a model besides (of FLOPs, of one outlier among n): consistent with the numbers, not proven by them."""
    NOT_MEASURED = "not measured"
    """The numbers cannot tell; `command` would."""


class Severity(StrEnum):
    """How much a finding weighs for who wants to use the numbers."""

    NOTE = "note"
    WARNING = "warning"
    """The number or the label must not be used as it stands."""
    ERROR = "error"
    """It cannot be true: something that was declared, or how it was timed, is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One claim, as data.

    Attributes:
        kind: The question that it answers, as `ratio`.
        claim: The answer: the name of a template in the table of texts.
        subject: What the question is about, as a phase or a series; two findings with the same kind and subject must
            not differ.
        numbers: The fields of the template.
        evidence: Where the numbers stand: keys of records, or lines and columns of a published table.
        rules_out: Names of common readings that the numbers contradict.
        advice: Name of a template that says what to do; None where nothing follows.
        command: What would test or settle it; None where nothing is open.
    """

    kind: str
    claim: str
    subject: str
    evidence: tuple[str, ...]
    strength: Strength
    numbers: Mapping[str, Number] = field(default_factory=dict[str, Number])
    severity: Severity = Severity.NOTE
    rules_out: tuple[str, ...] = ()
    advice: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        """Check that what was not measured says how to measure it, and that the rest has evidence."""
        if self.strength is Strength.NOT_MEASURED:
            assert self.command is not None, self.claim
        else:
            assert self.evidence, self.claim


_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def collect_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return `findings`, the weightiest first, each once.

    Raises:
        ContradictionError: Two answer the same question about the same subject differently, or one claims what
            another, about the same subject, rules out.
    """
    answers: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        before = answers.setdefault((finding.kind, finding.subject), finding)
        if before != finding:
            raise ContradictionError(
                f"two findings about {finding.kind} of {finding.subject!r} contradict: {before.claim} with "
                f"{dict(before.numbers)}, {finding.claim} with {dict(finding.numbers)}. Neither is shown; one rule of "
                "windtunnel.analysis.rules must change"
            )
    ruled_out = {(name, finding.subject): finding for finding in answers.values() for name in finding.rules_out}
    for finding in answers.values():
        if other := ruled_out.get((finding.claim, finding.subject)):
            raise ContradictionError(
                f"{finding.claim} of {finding.subject!r} is claimed, and ruled out by {other.claim}"
            )
    return tuple(sorted(answers.values(), key=lambda finding: _ORDER[finding.severity]))
