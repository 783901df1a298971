"""Backward that nobody timed is a difference, with the deviations of both; a total may be a sum."""

import math
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.observed import Observation, Observed
from windtunnel.analysis.rules.screening import pairs_of, sources, usable

_ROUNDING = 2e-4


def judge_derived(observed: Observed) -> Iterator[Finding]:
    """Yield what backward alone must be where only forward and both together were timed, and what a total is."""
    if "backward" in observed.phases():
        yield from _total(observed)
        return
    kept = set(usable(observed))
    pairs = [
        (both, forward)
        for both, forward in pairs_of(observed, "forward_backward", "forward")
        if kept.issuperset((both, forward)) and both.mean > forward.mean
    ]
    if not pairs:
        return
    ratios = {both: (both.mean - forward.mean) / forward.mean for both, forward in pairs}
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    both, forward = max(pairs, key=lambda pair: _deviation(*pair) or 0.0)
    yield Finding(
        kind="backward_alone",
        claim="backward_is_difference" if _deviation(both, forward) else "backward_is_difference_without_deviation",
        subject="backward",
        numbers={
            "low": ratios[least],
            "low_name": least.config.name,
            "high": ratios[most],
            "high_name": most.config.name,
            "count": len(pairs),
            "difference_seconds": both.mean - forward.mean,
            "deviation_seconds": _deviation(both, forward) or 0.0,
            "deviation_name": both.config.name,
        },
        evidence=sources([one for pair in pairs for one in pair]),
        strength=Strength.INFERRED,
        rules_out=("total_called_backward",),
    )


def _deviation(both: Observation, forward: Observation) -> float | None:
    """Return √(σ₁² + σ₂²): the two were timed in different steps, so their errors are independent."""
    if both.std_seconds is None or forward.std_seconds is None:
        return None
    return math.hypot(both.std_seconds, forward.std_seconds)


def _total(observed: Observed) -> Iterator[Finding]:
    forward = {(one.series, one.config): one for one in observed.valid("forward")}
    backward = {(one.series, one.config): one for one in observed.valid("backward")}
    parts = [
        (total, forward[key], backward[key])
        for total in observed.valid("total", "forward_backward")
        if (key := (total.series, total.config)) in forward and key in backward
    ]
    if parts and all(abs((f.mean + b.mean) / total.mean - 1) < _ROUNDING for total, f, b in parts):
        yield Finding(
            kind="total",
            claim="total_is_sum",
            subject="total",
            numbers={"count": len(parts)},
            evidence=sources([one for triple in parts for one in triple]),
            strength=Strength.MEASURED,
        )
