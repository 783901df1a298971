"""Samples that are not alike: a slow start, a drift, a change of level, two states; and whether the clock did it."""

from collections.abc import Callable, Iterator, Mapping

from windtunnel.analysis.finding import Finding, Number, Severity, Strength
from windtunnel.analysis.labels import SMALLEST_EFFECT, slow_start_of
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row


def judge_series(measured: Measured) -> Iterator[Finding]:
    """Yield a finding for each way of being unlike, with the cell in which it is largest, and its open cause."""
    for claim, size_of in _SIZES.items():
        sizes = {row: size for row in measured.warm if (size := size_of(row))}
        if sizes:
            yield _finding(claim, measured, sizes)
            yield from _cause(claim, measured, sizes)


def _drift(row: Row) -> float | None:
    trend = row.irregularities.trend
    return trend.change if trend else None


def _step(row: Row) -> float | None:
    step = row.irregularities.step
    return step.change if step else None


def _states(row: Row) -> float | None:
    states = row.irregularities.two_states
    return states.high / states.low - 1 if states and states.low else None


def _slow_start(row: Row) -> float | None:
    start = slow_start_of(row)
    return start.ratio - 1 if start else None


_SIZES: Mapping[str, Callable[[Row], float | None]] = {
    "samples_drift": _drift,
    "level_changes": _step,
    "two_states": _states,
    "first_samples_slow": _slow_start,
}
"""A claim to how far the samples of a row are apart so, as a fraction; None where they are not."""


def _finding(claim: str, measured: Measured, sizes: Mapping[Row, float]) -> Finding:
    worst = _worst(sizes)
    numbers: dict[str, Number] = {
        "count": len(sizes),
        "of": len(measured.warm),
        "name": measured.name(worst),
        "change": sizes[worst],
        "n": len(worst.samples()),
    }
    return Finding(
        kind="samples",
        claim=claim,
        subject=claim,
        numbers=numbers | _details(claim, worst),
        evidence=evidence_of(worst, *sizes),
        strength=Strength.MEASURED,
        severity=Severity.WARNING if _moves_median(claim, worst, sizes[worst]) else Severity.NOTE,
        rules_out=("samples_are_alike",),
    )


def _moves_median(claim: str, row: Row, size: float) -> bool:
    """Whether a median may be off by this: of a slow start only where many of the samples belong to it."""
    start = row.irregularities.slow_start
    is_short = claim == "first_samples_slow" and start is not None and start.count < len(row.samples()) / 4
    return abs(size) > SMALLEST_EFFECT and not is_short


def _details(claim: str, row: Row) -> dict[str, Number]:
    found = row.irregularities
    if claim == "two_states" and found.two_states:
        states = found.two_states
        return {"share": states.share_high, "low_seconds": states.low * 1e-9, "high_seconds": states.high * 1e-9}
    if claim == "samples_drift" and found.trend:
        return {"tau": found.trend.kendall_tau}
    if claim == "level_changes" and found.step:
        return {"index": found.step.index + 1}
    return {"slow": found.slow_start.count if found.slow_start else 0}


def _cause(claim: str, measured: Measured, sizes: Mapping[Row, float]) -> Iterator[Finding]:
    """Yield whether the clock went along; where nothing was read of it, how to have it read."""
    if claim == "first_samples_slow":
        return
    worst = _worst(sizes)
    numbers: dict[str, Number] = {"name": measured.name(worst), "what": claim}
    seen = [one for one in worst.conditions if one.clock_correlation is not None]
    if seen:
        follows = [one for one in seen if one.is_following_clock]
        yield Finding(
            kind="cause",
            claim="follows_clock" if follows else "does_not_follow_clock",
            subject=claim,
            numbers=numbers | {"correlation": (follows or seen)[0].clock_correlation or 0.0},
            evidence=evidence_of(worst),
            strength=Strength.MEASURED,
        )
    else:
        yield Finding(
            kind="cause",
            claim="cause_of_samples",
            subject=claim,
            numbers=numbers,
            evidence=evidence_of(worst),
            strength=Strength.NOT_MEASURED,
            command="windtunnel doctor",
        )


def _worst(sizes: Mapping[Row, float]) -> Row:
    return max(sizes, key=lambda row: abs(sizes[row]))
