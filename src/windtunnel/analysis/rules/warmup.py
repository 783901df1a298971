"""What warm-up changes, where a table varies it: the first step, and nothing after it, or more than that."""

import itertools
import math
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed, grouped
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.outliers import outlier_of
from windtunnel.analysis.rules.screening import cell, differ, has_outlier, sources
from windtunnel.language import say, word

_AGREES = 0.10
"""How near the level without the outlier must be to the warm mean."""
_MOSTLY = 0.8
_SLOWER, _UNCHANGED = 1.2, 1.05
"""Cold over warm: from the first on a cell is called slower, below the second it is not."""


def judge_warmup(observed: Observed) -> Iterator[Finding]:
    """Yield what no warm-up costs, whether more of it than one changes anything, and warm cells that are slower."""
    groups = [group for group in grouped(observed.valid(), "warmup") if len({one.config.warmup for one in group}) > 1]
    cold: list[tuple[Observation, Observation]] = []
    warm: list[tuple[Observation, Observation]] = []
    for group in groups:
        ordered = sorted(
            (one for one in group if one.config.warmup is not None), key=lambda one: one.config.warmup or 0
        )
        for before, after in itertools.pairwise(ordered):
            (cold if before.config.warmup == 0 else warm).append((before, after))
    if cold:
        yield _first_step(cold)
    if warm:
        yield _more(warm)
    for before, after in cold:
        if after.mean > before.mean and differ(before, after, 0.05):
            yield _slower(before, after)


def _first_step(pairs: list[tuple[Observation, Observation]]) -> Finding:
    explained = [(cold, warm, found) for cold, warm in pairs if (found := outlier_of(cold))]
    agreeing = [(cold, warm, found) for cold, warm, found in explained if abs(found[0] / warm.mean - 1) <= _AGREES]
    costs = [found[1] - found[0] for _, _, found in agreeing]
    slower = [cold.mean / warm.mean for cold, warm in pairs]
    is_explained = bool(agreeing) and len(agreeing) >= _MOSTLY * len(pairs)
    is_first_alone = len(pairs) >= 3 and slower[0] > _SLOWER and max(slower[1:]) < _UNCHANGED
    if is_first_alone:
        claim = "only_first_cell_is_cold"
    else:
        claim = "only_first_step_is_cold" if is_explained else "no_warmup_changes_means"
    return Finding(
        kind="cold_start",
        claim=claim,
        subject="no warm-up against some",
        numbers={
            "count": len(pairs),
            "explained": len(agreeing),
            "first": pairs[0][0].config.name,
            "first_ratio": slower[0],
            "low": min(slower),
            "high": max(slower),
            "cost_low_seconds": min(costs, default=0.0),
            "cost_high_seconds": max(costs, default=0.0),
        },
        evidence=sources([one for pair in pairs for one in pair]),
        strength=Strength.INFERRED if is_explained else Strength.MEASURED,
        rules_out=("every_cell_needs_warmup",) if is_first_alone else ("cold_means_are_step_times",),
        advice="warm_up_once",
        command=step_command(pairs[0][0].config, pairs[0][0].phase, warmup="0"),
    )


def _more(pairs: list[tuple[Observation, Observation]]) -> Finding:
    changed = [pair for pair in pairs if differ(*pair, 0.02) and not any(map(has_outlier, pair))]
    ratios = {pair: pair[1].mean / pair[0].mean for pair in pairs}
    widest = max(pairs, key=lambda pair: abs(math.log(ratios[pair])))
    return Finding(
        kind="more_warmup",
        claim="more_warmup_changes_some" if changed else "more_warmup_changes_nothing",
        subject="one warm-up against more",
        numbers={
            "count": len(pairs),
            "changed": len(changed),
            "low": min(ratios.values()),
            "high": max(ratios.values()),
            "name": widest[1].config.name,
            "phase": widest[1].phase,
            "spread": widest[1].cv or 0.0,
        },
        evidence=sources([one for pair in pairs for one in pair]),
        strength=Strength.MEASURED,
        rules_out=() if changed else ("more_warmup_helps",),
    )


def _slower(cold: Observation, warm: Observation) -> Finding:
    return Finding(
        kind="warm_is_slower",
        claim="slower_after_warmup",
        subject=cell(warm),
        numbers={
            "what": say("{phase}, {name}", phase=word(warm.phase), name=warm.config.name),
            "cold_seconds": cold.mean,
            "warm_seconds": warm.mean,
            "ratio": warm.mean / cold.mean,
        },
        evidence=sources([cold, warm]),
        strength=Strength.MEASURED,
        severity=Severity.WARNING,
        advice="mind_the_order",
        command=step_command(warm.config, warm.phase, warmup="0"),
    )
