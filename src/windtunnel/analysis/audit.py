"""All rules over what was observed: the findings of an audit, checked against each other."""

from windtunnel.analysis.finding import Finding, collect_findings
from windtunnel.analysis.observed import Observed
from windtunnel.analysis.rules import RULES


def audit(observed: Observed) -> tuple[Finding, ...]:
    """Return every finding of every rule, the weightiest first.

    Raises:
        ContradictionError: Two rules say different things about the same; nothing may be shown.
    """
    return collect_findings(finding for rule in RULES.values() for finding in rule(observed))
