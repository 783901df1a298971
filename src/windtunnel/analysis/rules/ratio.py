"""Backward over forward: one number only where all cells agree on it, else a range, and a trend before both."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.observed import Observation, Observed, by_size
from windtunnel.analysis.rules.screening import all_near, pairs_of, sources, trend, usable

_ONE_NUMBER = 0.10
"""All cells within this of the middle may be called `about k`."""
_LEAST_FOR_TREND = 4


def judge_ratio(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each phase that can be held against forward."""
    kept = set(usable(observed))
    for over in ("backward", "forward_backward", "step", "total"):
        if over == "total" and "backward" in observed.phases():
            continue  # the sum of the two, by name and mostly by arithmetic
        pairs = [pair for pair in pairs_of(observed, over, "forward") if kept.issuperset(pair)]
        if len(pairs) >= 2:
            yield _finding(over, pairs)


def _finding(over: str, pairs: list[tuple[Observation, Observation]]) -> Finding:
    ratios = {upper: upper.mean / lower.mean for upper, lower in pairs}
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    values = list(ratios.values())
    series = [members for members in by_size(ratios) if len(members) >= _LEAST_FOR_TREND]
    trends = {trend([ratios[one] for one in members]) for members in series}
    if all_near(values, _ONE_NUMBER):
        claim = "ratio_one_number"
    elif trends == {1}:
        claim = "ratio_rises"
    elif trends == {-1}:
        claim = "ratio_falls"
    else:
        claim = "ratio_ranges"
    return Finding(
        kind="ratio",
        claim=claim,
        subject=f"{over} / forward",
        numbers={
            "over": over,
            "low": min(values),
            "low_name": least.config.name,
            "high": max(values),
            "high_name": most.config.name,
            "count": len(values),
            "values": tuple(values),
            "sizes": max(map(len, series), default=0),
        },
        evidence=sources([one for pair in pairs for one in pair]),
        strength=Strength.MEASURED,
        rules_out=() if claim == "ratio_one_number" else ("one_ratio",),
    )
