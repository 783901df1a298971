"""What is out of order, as in a published table, but where intervals say so too."""

from collections.abc import Iterator
from dataclasses import replace

from windtunnel.analysis.finding import Finding
from windtunnel.analysis.measured import Measured
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.order import judge_times
from windtunnel.analysis.rules.own.commands import compare_of, step_of


def judge_ordered(measured: Measured) -> Iterator[Finding]:
    """Yield parts that take longer than their whole, and less work that takes longer than more, intervals apart."""
    for finding in judge_times(measured.observed):
        one, *others = measured.rows_behind(finding)
        other = others[-1]
        if finding.claim != "more_work_less_time":
            yield replace(finding, advice=None, command=step_of(one.cell))  # of one step: only its clocks can be wrong
        elif _is_longer(one, other, str(finding.numbers["phase"])):
            yield replace(finding, command=compare_of(one.cell, other.cell) or step_of(one.cell, "--processes", "5"))


def _is_longer(one: Row, other: Row, phase: str) -> bool:
    a, b = one.estimate(phase), other.estimate(phase)
    return a is not None and b is not None and a.low is not None and b.high is not None and a.low > b.high
