"""Whether more warm-up than some changes a step: the same cell after more of it."""

import itertools
import math
from collections.abc import Hashable, Iterator

from windtunnel.analysis.comparisons import grid_point
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.own.changes import Change
from windtunnel.analysis.rules.own.commands import step_of


def judge_warmups(measured: Measured) -> Iterator[Finding]:
    """Yield in how many cells a median moves with more warm-up, and in how many of them the wrong way."""
    pairs = [one for one in _pairs(measured) if one.has_intervals]
    if not pairs:
        return
    moved = [one for one in pairs if one.direction]
    widest = max(moved or pairs, key=lambda one: abs(math.log(one.ratio)))
    slower = sum(one.direction < 0 for one in moved)
    yield Finding(
        kind="more_warmup",
        claim="more_warmup_moves_medians" if moved else "more_warmup_moves_no_median",
        subject="more warm-up",
        numbers={
            "count": len(pairs),
            "moved": len(moved),
            "slower": slower,
            "name": measured.name(widest.b),
            "before": measured.name(widest.a),
            "ratio": 1 / widest.ratio,
        },
        evidence=evidence_of(*(row for one in moved or pairs for row in (one.a, one.b))),
        strength=Strength.MEASURED,
        severity=Severity.WARNING if slower else Severity.NOTE,
        advice="mind_the_order" if slower else None,
        command=step_of(widest.b.cell, "--processes", "5") if slower else None,
    )


def _pairs(measured: Measured) -> Iterator[Change]:
    """Yield each warm cell with the same one after the next longer warm-up."""
    groups: dict[Hashable, list[Row]] = {}
    for row in measured.warm:
        groups.setdefault(grid_point(row, without=("warmup",)), []).append(row)
    for rows in groups.values():
        for a, b in itertools.pairwise(sorted(rows, key=lambda row: row.plan.warmup_rank)):
            yield Change(axis="warmup", a=a, b=b)
