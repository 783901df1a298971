"""Cells that fall off: backward tens of times forward, or a rate five times below its neighbours."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed, by_size
from windtunnel.analysis.rules.commands import memory_command
from windtunnel.analysis.rules.screening import CLIFF_DROP, cell, cliffs, has_outlier, sources

_FP32_BYTES = 4


def find_cliffs(observed: Observed) -> Iterator[Finding]:
    """Yield each cell that must enter no fit, no ratio and no range; why it fell, only a memory ledger says."""
    fallen = cliffs(observed)
    for one, ratio in fallen.items():
        numbers: dict[str, Number] = {"ratio": ratio} | _numbers(one)
        others = [value for other, value in _ratios(observed, one.phase).items() if other not in fallen]
        if others:
            numbers |= {"low": min(others), "high": max(others)}
        yield _finding(one, "cliff_ratio_among_others" if others else "cliff_ratio", numbers)
    dropped = {one: drop for series in by_size(observed.valid()) for one, drop in _drops(series) if one not in fallen}
    for one, drop in dropped.items():
        yield _finding(one, "cliff_rate", {"drop": drop} | _numbers(one))
    yield from _resident([*fallen, *dropped])


def _resident(cells: list[Observation]) -> Iterator[Finding]:
    """Yield what the weights and gradients of each size that fell hold at least, to be held against a capacity."""
    for one in {one.config.parameters(): one for one in reversed(cells)}.values():
        if parameters := one.config.parameters():
            yield Finding(
                kind="resident",
                claim="weights_and_gradients",
                subject=f"{one.config.name}, {one.source}",
                numbers={"name": one.config.name, "resident_bytes": 2 * _FP32_BYTES * parameters},
                evidence=sources([one]),
                strength=Strength.INFERRED,
            )


def _ratios(observed: Observed, phase: str) -> dict[Observation, float]:
    below = {(one.series, one.config): one.mean for one in observed.valid("forward") if not has_outlier(one)}
    return {
        one: one.mean / below[one.series, one.config]
        for one in observed.valid(phase)
        if (one.series, one.config) in below
    }


def _drops(series: tuple[Observation, ...]) -> Iterator[tuple[Observation, float]]:
    """Yield the cells whose parameters per second are far below those of both neighbours, or of the only one."""
    rates = [(one, (one.config.parameters() or 0) / one.mean) for one in series if not has_outlier(one)]
    if len(rates) < 3 or not all(rate for _, rate in rates):
        return
    for place, (one, rate) in enumerate(rates[1:], start=1):
        neighbours = [rates[place - 1][1], *(rate for _, rate in rates[place + 1 : place + 2])]
        if rate * CLIFF_DROP < min(neighbours):
            yield one, min(neighbours) / rate


def _numbers(one: Observation) -> dict[str, Number]:
    return {
        "phase": one.phase,
        "name": one.config.name,
        "seconds": one.mean,
        "spread": one.cv or 0.0,
    }


def _finding(one: Observation, claim: str, numbers: dict[str, Number]) -> Finding:
    return Finding(
        kind="cliff",
        claim=claim,
        subject=cell(one),
        numbers=numbers,
        evidence=sources([one]),
        strength=Strength.MEASURED,
        severity=Severity.WARNING,
        rules_out=("scaling_point",),
        advice="cause_of_cliff",
        command=memory_command(one.config),
    )
