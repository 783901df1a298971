"""All rules over our own records of one scope: its findings, checked against each other."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.finding import Finding, collect_findings
from windtunnel.analysis.measured import Measured
from windtunnel.analysis.rules.own import OWN_RULES

MOST_ALIKE = 5
"""So many findings with one claim are said one by one; a large grid has thousands, which nobody reads."""


def judge(measured: Measured) -> tuple[Finding, ...]:
    """Return every finding of every rule, the weightiest first; of many with one claim the first, and a count.

    Raises:
        ContradictionError: Two rules say different things about the same; nothing may be shown.
    """
    return tuple(_counted(collect_findings(finding for rule in OWN_RULES.values() for finding in rule(measured))))


def _counted(found: Sequence[Finding]) -> Iterator[Finding]:
    left: dict[str, list[Finding]] = {}
    for finding in found:
        left.setdefault(finding.claim, []).append(finding)
    seen: dict[str, int] = {}
    for finding in found:
        place = seen[finding.claim] = seen.get(finding.claim, -1) + 1
        if place < MOST_ALIKE:
            yield finding
        elif place == MOST_ALIKE:
            yield _the_others(left[finding.claim][MOST_ALIKE:])


def _the_others(left: Sequence[Finding]) -> Finding:
    first = left[0]
    return Finding(
        kind=first.kind,
        claim="more_of_the_same",
        subject=f"{first.claim}, {len(left)} more",
        numbers={"count": len(left), "of": first.claim},
        evidence=tuple(dict.fromkeys(place for finding in left for place in finding.evidence)),
        strength=first.strength,
        severity=first.severity,
        command=first.command,
    )
