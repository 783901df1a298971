"""How far samples scatter: labels by deviation over mean, trends with size, and what nobody can say about the cause."""

import math
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.observed import SIZE_FIELDS, Observation, Observed, by_size
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.screening import has_outlier, scope, series_name, sources, trend

_WIDE = 0.10
"""From this deviation over mean on, a spread is called wide."""
_UNLIKE = 3.0
"""Spreads that differ by more than this are described by no average of them."""
_LEAST = 4


def judge_noise(observed: Observed) -> Iterator[Finding]:
    """Yield the range of the spread of each phase, its trend, and the open cause where it is wide."""
    for phase in observed.phases():
        members = [one for one in observed.valid(phase) if one.cv is not None]
        if members:
            yield from _spread(phase, members)
    for series in by_size(one for one in observed.valid() if one.cv is not None and not has_outlier(one)):
        if len(series) >= _LEAST and all(one.config.parameters() for one in series):
            yield _trend(series)


def _spread(phase: str, members: list[Observation]) -> Iterator[Finding]:
    spread = {one: one.cv or 0.0 for one in members}
    least, most = min(members, key=spread.__getitem__), max(members, key=spread.__getitem__)
    is_wide = spread[most] >= _WIDE
    numbers: dict[str, Number] = {
        "phase": phase,
        "count": len(members),
        "low": spread[least],
        "low_name": least.config.name,
        "high": spread[most],
        "high_name": most.config.name,
        "high_seconds": most.std_seconds or 0.0,
        "wide": sum(value >= _WIDE for value in spread.values()),
    }
    steady = [one for one in members if not has_outlier(one)]
    intervals = {one: interval for one in steady if (interval := _interval(one)) is not None}
    if intervals:
        loosest = max(intervals, key=spread.__getitem__)
        numbers |= {"interval": intervals[loosest], "interval_name": loosest.config.name, "n": loosest.n or 0}
    unlike = is_wide and len(members) >= 3 and spread[most] >= _UNLIKE * spread[least]
    claim = "spread_wide" if is_wide else "spread_narrow"
    if not steady:
        claim = "spread_of_outliers"
    elif not intervals:
        claim = f"{claim}_with_n_of_1" if any(one.n for one in steady) else f"{claim}_without_n"
    yield Finding(
        kind="spread",
        claim=claim,
        subject=phase,
        numbers=numbers,
        evidence=sources(members),
        strength=Strength.MEASURED,
        rules_out=("average_spread",) * unlike,
    )
    if is_wide:
        yield Finding(
            kind="cause",
            claim="cause_of_spread",
            subject=f"spread of {phase}",
            numbers={"phase": phase, "name": most.config.name},
            evidence=sources([most]),
            strength=Strength.NOT_MEASURED,
            command=step_command(most.config, phase),
        )


def _interval(one: Observation) -> float | None:
    """Return half of the 95 % interval of a mean as a share of it: t · CV / √n, for independent samples."""
    if one.n is None or one.n < 2 or one.cv is None:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, one.n - 1)) * one.cv / math.sqrt(one.n)


def _trend(series: tuple[Observation, ...]) -> Finding:
    deviations = [one.std_seconds or 0.0 for one in series]
    spreads = [one.cv or 0.0 for one in series]
    peak = max(series, key=lambda one: one.cv or 0.0)
    if trend(deviations) == 1 and trend(spreads) == 1:
        claim = "spread_rises"
    elif trend(deviations) == 1:
        claim = "deviation_rises_spread_does_not"
    else:
        claim = "spread_follows_no_order"
    return Finding(
        kind="spread_trend",
        claim=claim,
        subject=scope(series[0], *SIZE_FIELDS),
        numbers={
            "phase": series[0].phase,
            "what": series_name(series[0], *SIZE_FIELDS),
            "count": len(series),
            "deviations": tuple(deviations),
            "spreads": tuple(spreads),
            "least": min(spreads),
            "peak": peak.cv or 0.0,
            "peak_name": peak.config.size or peak.config.name,
            "last": spreads[-1],
            "last_name": series[-1].config.size or series[-1].config.name,
            "sizes": tuple(one.config.size or one.config.name for one in series),
        },
        evidence=sources(series),
        strength=Strength.MEASURED,
        rules_out=() if claim == "spread_rises" else ("spread_rises_with_size",),
    )
