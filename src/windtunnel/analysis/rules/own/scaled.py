"""How time grows with the size of a model, as in a published table, with what cells of the series wait for the host."""

from collections.abc import Iterator
from dataclasses import replace

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, waits_of
from windtunnel.analysis.profile_gaps import LAUNCH_BOUND_SHARE
from windtunnel.analysis.rules.scaling import judge_scaling


def judge_scaled(measured: Measured) -> Iterator[Finding]:
    """Yield an exponent for each series over sizes, and where one of its cells is launch-bound, how much."""
    for finding in judge_scaling(measured.observed):
        if finding.strength is not Strength.NOT_MEASURED:
            yield _with_wait(measured, finding)


def _with_wait(measured: Measured, finding: Finding) -> Finding:
    waits = waits_of(measured.rows_behind(finding))
    most = max(waits, key=waits.__getitem__, default=None)
    if most is None or waits[most] < LAUNCH_BOUND_SHARE:
        return finding
    numbers = {**finding.numbers, "wait": waits[most], "wait_name": measured.name(most)}
    return replace(finding, claim=f"{finding.claim}_with_waits", numbers=numbers)
