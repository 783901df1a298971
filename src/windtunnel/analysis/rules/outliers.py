"""Means that one sample made: a deviation as large as one outlier among n gives, or larger than n samples allow."""

import math
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.screening import cell, has_outlier, sources
from windtunnel.language import say, word


def find_outliers(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each phase with such means, and one for each deviation that cannot be."""
    impossible = [one for one in observed.valid() if _is_impossible(one)]
    for one in impossible:
        yield Finding(
            kind="possible_deviation",
            claim="deviation_impossible",
            subject=cell(one),
            numbers={
                "what": say("{phase}, {name}", phase=word(one.phase), name=one.config.name),
                "mean_seconds": one.mean,
                "deviation_seconds": one.std_seconds or 0.0,
                "n": one.n or 0,
                "least_n": _least_n(one),
            },
            evidence=sources([one]),
            strength=Strength.MEASURED,
            severity=Severity.ERROR,
        )
    for phase in observed.phases():
        members = [one for one in observed.valid(phase) if has_outlier(one) and one not in impossible]
        if members:
            yield _finding(phase, members, len(observed.valid(phase)))


def outlier_of(one: Observation) -> tuple[float, float] | None:
    """Return the level of the others and the one sample far away, if one of n made all of the deviation.

    With n - 1 samples at b and one at x, mean = b + (x - b)/n and s = |x - b|/√n. So b = mean - s/√n and
    x = b + s·√n. None where n or s is not known, or where the others would have taken no time.
    """
    if not one.n or one.n < 2 or one.std_seconds is None:
        return None
    base = one.mean - one.std_seconds / math.sqrt(one.n)
    return (base, base + one.std_seconds * math.sqrt(one.n)) if base > 0 else None


def _finding(phase: str, members: list[Observation], of: int) -> Finding:
    worst = max(members, key=lambda one: one.cv or 0.0)
    numbers: dict[str, Number] = {
        "phase": phase,
        "count": len(members),
        "of": of,
        "name": worst.config.name,
        "mean_seconds": worst.mean,
        "deviation_seconds": worst.std_seconds or 0.0,
        "least_n": _least_n(worst),
    }
    explained = outlier_of(worst)
    if explained:
        numbers |= {"n": worst.n or 0, "base_seconds": explained[0], "outlier_seconds": explained[1]}
    return Finding(
        kind="outlier",
        claim="outlier_among_n" if explained else "outlier_suspected",
        subject=phase,
        numbers=numbers,
        evidence=sources(members),
        strength=Strength.INFERRED,
        severity=Severity.WARNING,
        rules_out=("mean_describes_samples",),
        advice="use_medians",
        command=step_command(worst.config, phase, warmup="0"),
    )


def _is_impossible(one: Observation) -> bool:
    """Whether no n positive samples have this mean and deviation: the most is √n · mean, with all but one at zero."""
    return bool(one.n) and one.cv is not None and one.cv > math.sqrt(one.n or 1) * 1.001


def _least_n(one: Observation) -> int:
    return max(2, math.ceil((one.cv or 0.0) ** 2))
