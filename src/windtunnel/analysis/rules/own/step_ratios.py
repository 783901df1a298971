"""Whole steps of forward + backward over those of forward alone: cells of their own, never backward by itself."""

from collections.abc import Iterator

from windtunnel.analysis.comparisons import StepRatio, grid_point, step_ratios
from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.rules.screening import all_near, trend

_ONE_NUMBER = 0.10
_LEAST_FOR_TREND = 3


def judge_step_ratios(measured: Measured) -> Iterator[Finding]:
    """Yield the range of the ratio, one number only where all agree on it, and its direction over sizes."""
    pairs = step_ratios(measured.warm)
    if not pairs:
        return
    least, most = min(pairs, key=lambda pair: pair.ratio), max(pairs, key=lambda pair: pair.ratio)
    ratios = [pair.ratio for pair in pairs]
    trends = _trends(pairs)
    if len(pairs) == 1:
        claim = "step_ratio"
    elif all_near(ratios, _ONE_NUMBER):
        claim = "step_ratios_agree"
    else:
        claim = {1: "step_ratios_rise", -1: "step_ratios_fall"}.get(trends, "step_ratios_range")
    yield Finding(
        kind="ratio",
        claim=claim,
        subject="forward_backward cells / forward cells",
        numbers={
            "low": least.ratio,
            "low_name": measured.name(least.forward_backward),
            "high": most.ratio,
            "high_name": measured.name(most.forward_backward),
            "count": len(pairs),
        },
        evidence=evidence_of(least.forward, least.forward_backward, most.forward, most.forward_backward),
        strength=Strength.MEASURED,
        rules_out=("one_step_ratio",) if claim not in {"step_ratio", "step_ratios_agree"} else (),
    )


def _trends(pairs: tuple[StepRatio, ...]) -> int:
    """Return 1 or -1 where the ratio rises, or falls, with the parameters in every series over sizes; else 0."""
    series: dict[object, list[tuple[int, float]]] = {}
    for pair in pairs:
        point = grid_point(pair.forward, without=("model",))
        series.setdefault(point, []).append((pair.forward.size_rank, pair.ratio))
    long = [[ratio for _, ratio in sorted(entries)] for entries in series.values() if len(entries) >= _LEAST_FOR_TREND]
    directions = {trend(values) for values in long}
    return directions.pop() if len(directions) == 1 else 0
