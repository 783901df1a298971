"""Compiled against eager, where a table has both: a speed-up in one form of words, or none at all."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed, grouped
from windtunnel.analysis.rules.commands import compare_command
from windtunnel.analysis.rules.screening import has_outlier, sources, standard_error

_SAME = 0.02
"""Times nearer than this, or than their noise, are the same."""
_EAGER = {"off", "none", "no"}


def judge_compiled(observed: Observed) -> Iterator[Finding]:
    """Yield for each phase what compiling gained, or that nothing was gained anywhere: the mark of a fallback."""
    known = {one.config.compile for one in observed.times} - {None}
    if known and not known & _EAGER:
        first = observed.times[0].config
        yield Finding(
            kind="compile_gain",
            claim="no_eager_column",
            subject="all phases",
            evidence=sources(observed.times[:1]),
            strength=Strength.NOT_MEASURED,
            command=compare_command(first, "--compile default"),
        )
    for phase in observed.phases():
        pairs = [
            (eager, other)
            for group in grouped((one for one in observed.valid(phase) if not has_outlier(one)), "compile")
            for eager in group
            for other in group
            if eager.config.compile in _EAGER and other.config.compile not in {*_EAGER, None}
        ]
        if len(pairs) >= 2:
            yield _finding(phase, pairs)
        elif pairs and not _is_same(*pairs[0]):  # two times that are the same once may be so by chance
            yield _single(phase, *pairs[0])


def _finding(phase: str, pairs: list[tuple[Observation, Observation]]) -> Finding:
    gains = [eager.mean / other.mean for eager, other in pairs]
    same = [pair for pair in pairs if _is_same(*pair)]
    if len(same) == len(pairs):
        claim, severity = "compiled_is_eager", Severity.WARNING
    elif same:
        claim, severity = "compiled_is_eager_in_part", Severity.NOTE
    else:
        claim, severity = "compile_gain", Severity.NOTE
    return Finding(
        kind="compile_gain",
        claim=claim,
        subject=phase,
        numbers={
            "phase": phase,
            "count": len(pairs),
            "same": len(same),
            "low": min(gains),
            "high": max(gains),
        },
        evidence=sources([one for pair in pairs for one in pair]),
        strength=Strength.INFERRED if severity is Severity.WARNING else Strength.MEASURED,
        severity=severity,
        rules_out=("compile_was_measured",) if severity is Severity.WARNING else (),
        advice="reset_dynamo" if severity is Severity.WARNING else None,
        command=compare_command(pairs[0][0].config, "--compile default") if severity is Severity.WARNING else None,
    )


def _single(phase: str, eager: Observation, other: Observation) -> Finding:
    return Finding(
        kind="compile_gain",
        claim="compile_gain_once",
        subject=phase,
        numbers={"phase": phase, "ratio": eager.mean / other.mean, "saved": 1 - other.mean / eager.mean},
        evidence=sources((eager, other)),
        strength=Strength.MEASURED,
    )


def _is_same(a: Observation, b: Observation) -> bool:
    errors = sum((standard_error(one) or 0.0) ** 2 for one in (a, b)) ** 0.5
    gap = abs(a.mean - b.mean)
    return gap <= _SAME * min(a.mean, b.mean) or gap <= min(errors, 0.05 * a.mean)
