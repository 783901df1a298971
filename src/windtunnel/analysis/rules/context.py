"""How time grows with the context, and whether forward and backward grow alike."""

import itertools
import math
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed, grouped
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.fitting import fit_power_law
from windtunnel.analysis.rules.screening import scope, series_name, sources, usable

_SHORTEST = 1e-3
"""Below a millisecond a phase is mostly what it costs to launch it, and does not grow."""
_LEAST_GROWTH = 1.6
"""Per doubling: both phases must grow for their growth to be held against each other."""
_DISAGREEMENT = 1.35


def judge_context(observed: Observed) -> Iterator[Finding]:
    """Yield exponents of the context, and the series in which forward and backward disagree."""
    series = {
        (group[0].series, group[0].config.without("context_length"), group[0].phase): tuple(
            sorted(group, key=lambda one: one.config.context_length or 0)
        )
        for group in grouped(
            (one for one in usable(observed) if one.mean >= _SHORTEST or not one.config.is_attention), "context_length"
        )
        if all(one.config.context_length for one in group)
    }
    for (number, config, phase), members in series.items():
        yield from _exponent(members)
        if phase == "forward":
            other = series.get((number, config, "backward"), ())
            yield from _disagreement(members, other)


def _exponent(series: tuple[Observation, ...]) -> Iterator[Finding]:
    law = fit_power_law([float(one.config.context_length or 1) for one in series], [one.mean for one in series])
    if law:
        yield Finding(
            kind="context_exponent",
            claim="scales_with_context",
            subject=scope(series[0], "context_length"),
            numbers={
                "phase": series[0].phase,
                "what": series_name(series[0], "context_length"),
                "count": len(series),
                "first": series[0].config.context_length or 0,
                "last": series[-1].config.context_length or 0,
                "slope": law.slope,
                "low": law.low,
                "high": law.high,
            },
            evidence=sources(series),
            strength=Strength.INFERRED,
        )


def _disagreement(forward: tuple[Observation, ...], backward: tuple[Observation, ...]) -> Iterator[Finding]:
    lengths = {one.config.context_length for one in backward if one.mean >= _SHORTEST}
    forward = tuple(one for one in forward if one.mean >= _SHORTEST and one.config.context_length in lengths)
    common = {one.config.context_length for one in forward}
    backward = tuple(one for one in backward if one.config.context_length in common)
    if len(forward) < 3:
        return
    grown, other = _per_doubling(forward), _per_doubling(backward)
    shares = [a / b for a, b in zip(grown, other, strict=True)]
    grows = min(grown + other) >= _LEAST_GROWTH
    if grows and (min(shares) >= _DISAGREEMENT or max(shares) <= 1 / _DISAGREEMENT):
        yield Finding(
            kind="growth",
            claim="growth_disagrees",
            subject=scope(forward[0], "context_length"),
            numbers={
                "what": forward[0].config.without("context_length").name,
                "forward_low": min(grown),
                "forward_high": max(grown),
                "backward_low": min(other),
                "backward_high": max(other),
                "first": forward[0].config.context_length or 0,
                "last": forward[-1].config.context_length or 0,
            },
            evidence=sources((*forward, *backward)),
            strength=Strength.INFERRED,
            severity=Severity.WARNING,
            advice="time_both_phases_again",
            command=step_command(forward[-1].config),
        )


def _per_doubling(series: tuple[Observation, ...]) -> list[float]:
    """Return by what factor the time grows for each doubling of the context, from each cell to the next."""
    return [
        (after.mean / before.mean)
        ** (1 / math.log2((after.config.context_length or 1) / (before.config.context_length or 1)))
        for before, after in itertools.pairwise(series)
    ]
