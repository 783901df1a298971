"""The rules of our own records, one a file, listed below: each a function of all that was measured of one scope."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured
from windtunnel.analysis.observed import Observed
from windtunnel.analysis.rules.cliff import find_cliffs
from windtunnel.analysis.rules.context import judge_context
from windtunnel.analysis.rules.own.backends import judge_backends
from windtunnel.analysis.rules.own.ceiling import judge_ceiling
from windtunnel.analysis.rules.own.changes import judge_changes
from windtunnel.analysis.rules.own.clock import judge_clock
from windtunnel.analysis.rules.own.cold import judge_cold
from windtunnel.analysis.rules.own.commands import memory_of, step_of
from windtunnel.analysis.rules.own.compile_truth import judge_compile
from windtunnel.analysis.rules.own.durations import judge_durations
from windtunnel.analysis.rules.own.ends import judge_memory_ends
from windtunnel.analysis.rules.own.errors import judge_errors
from windtunnel.analysis.rules.own.first_change import judge_first_change
from windtunnel.analysis.rules.own.formats import judge_formats
from windtunnel.analysis.rules.own.launches import judge_launches
from windtunnel.analysis.rules.own.matrices import judge_matrices
from windtunnel.analysis.rules.own.memory_use import judge_memory_use
from windtunnel.analysis.rules.own.ordered import judge_ordered
from windtunnel.analysis.rules.own.paired import judge_pairs
from windtunnel.analysis.rules.own.plausible import judge_plausible
from windtunnel.analysis.rules.own.scaled import judge_scaled
from windtunnel.analysis.rules.own.series import judge_series
from windtunnel.analysis.rules.own.spread import judge_spread
from windtunnel.analysis.rules.own.step_ratios import judge_step_ratios
from windtunnel.analysis.rules.own.waiting import judge_waiting
from windtunnel.analysis.rules.own.warmups import judge_warmups
from windtunnel.analysis.rules.peaks import judge_rates
from windtunnel.analysis.rules.ratio import judge_ratio

OwnRule: TypeAlias = Callable[[Measured], Iterable[Finding]]


def _of_tables(
    rule: Callable[[Observed], Iterable[Finding]], keep: Callable[[Finding], bool] = lambda _: True
) -> OwnRule:
    """Return a rule of published tables as one of our own records, whose cells its commands then name in full.

    What it calls not measured is dropped: of a table, not of records. `keep` says what else is.
    """

    def judge(measured: Measured) -> Iterator[Finding]:
        for finding in rule(measured.observed):
            if finding.strength is not Strength.NOT_MEASURED and keep(finding):
                yield _with_cell(measured, finding)

    return judge


def _with_cell(measured: Measured, finding: Finding) -> Finding:
    if finding.command is None:
        return finding
    cell = measured.rows_behind(finding)[0].cell
    return replace(finding, command=memory_of(cell) if "memory" in finding.command.split() else step_of(cell))


OWN_RULES: Mapping[str, OwnRule] = {
    "durations": judge_durations,
    "ceiling": judge_ceiling,
    "waiting": judge_waiting,
    "first change": judge_first_change,
    "plausible": judge_plausible,
    "order": judge_ordered,
    "peaks": _of_tables(judge_rates, lambda finding: finding.severity is Severity.ERROR),
    "compile": judge_compile,
    "clock": judge_clock,
    "series": judge_series,
    "pairs": judge_pairs,
    "changes": judge_changes,
    "backends": judge_backends,
    "matrices": judge_matrices,
    "memory use": judge_memory_use,
    "memory ends": judge_memory_ends,
    "cliff": _of_tables(find_cliffs),
    "ratio": _of_tables(judge_ratio, lambda finding: finding.numbers["over"] == "backward"),
    "step ratios": judge_step_ratios,
    "scaling": judge_scaled,
    "context": _of_tables(judge_context),
    "launches": judge_launches,
    "formats": judge_formats,
    "errors": judge_errors,
    "cold": judge_cold,
    "more warm-up": judge_warmups,
    "spread": judge_spread,
}
"""Name of a rule to the rule, in the order of the worth of what it finds."""
