"""All rules over our own records of one scope: its findings, checked against each other."""

from windtunnel.analysis.finding import Finding, collect_findings
from windtunnel.analysis.measured import Measured
from windtunnel.analysis.rules.own import OWN_RULES


def judge(measured: Measured) -> tuple[Finding, ...]:
    """Return every finding of every rule, the weightiest first.

    Raises:
        ContradictionError: Two rules say different things about the same; nothing may be shown.
    """
    return collect_findings(finding for rule in OWN_RULES.values() for finding in rule(measured))
