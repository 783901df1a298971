"""What changing one setting did, where the store has cells that differ in nothing else: medians of separate runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from windtunnel.analysis.attention import is_wrong
from windtunnel.analysis.comparisons import grid_point, ratio_span
from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.labels import SMALLEST_EFFECT
from windtunnel.analysis.measured import Measured, evidence_of, seconds_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.own.commands import compare_of
from windtunnel.analysis.rules.own.paired import settled_by_pairs

AXES = {"precision": "fp32", "compile": "off", "attention": "eager", "checkpoint": "none"}
"""What may be changed of a cell to make it faster, and the value from which the change is made where it is there."""

SHORTEST_SECONDS = 0.3e-3
"""Two medians below this make no speed-up (R4 of the method)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Two cells that differ in one setting; `ratio` is the time of `a` over that of `b`."""

    axis: str
    a: Row
    b: Row

    @property
    def ratio(self) -> float:
        """More than 1 where `b` is faster."""
        return seconds_of(self.a) / seconds_of(self.b)

    @property
    def has_intervals(self) -> bool:
        """Whether both medians have an interval, so that `direction` can be anything but 0."""
        return ratio_span(self.a.estimate(), self.b.estimate()) is not None

    @property
    def direction(self) -> int:
        """Return 1 where `b` is faster whatever the intervals allow, -1 where it is slower, else 0."""
        span = ratio_span(self.a.estimate(), self.b.estimate())
        if span is None or abs(self.ratio - 1) <= SMALLEST_EFFECT:
            return 0
        return 1 if span[0] > 1 else -1 if span[1] < 1 else 0


def judge_changes(measured: Measured) -> Iterator[Finding]:
    """Yield a finding for each value of a setting that was tried beside another; pairs say it better."""
    paired = settled_by_pairs(measured)
    for (axis, a, b, workload), changes in changes_of(measured).items():
        if (axis, a, b) not in paired:
            yield _finding(measured, f"{axis}: {b} for {a}, {workload}", (a, b), changes)


def changes_of(measured: Measured) -> Mapping[tuple[str, str, str, str], list[Change]]:
    """Return the changes by axis, values before and after, and workload."""
    found: dict[tuple[str, str, str, str], list[Change]] = {}
    for axis, first in AXES.items():
        groups: dict[object, dict[str, Row]] = {}
        for row in measured.warm:
            if is_wrong(row):
                continue
            groups.setdefault(grid_point(row, without=(axis,)), {})[str(getattr(row.cell, axis))] = row
        for group in groups.values():
            base = first if first in group else next(iter(group))
            for value, row in group.items():
                if value != base and max(seconds_of(group[base]), seconds_of(row)) >= SHORTEST_SECONDS:
                    change = Change(axis=axis, a=group[base], b=row)
                    found.setdefault((axis, base, value, row.cell.workload), []).append(change)
    return found


def _finding(measured: Measured, subject: str, values: tuple[str, str], changes: list[Change]) -> Finding:
    directions = [change.direction for change in changes]
    judged = sum(change.has_intervals for change in changes)
    least, most = (choose(changes, key=lambda change: change.ratio) for choose in (min, max))
    if not judged:
        claim = "change_is_open"
    elif all(direction > 0 for direction in directions):
        claim = "change_is_faster"
    elif all(direction < 0 for direction in directions):
        claim = "change_is_slower"
    else:
        claim = "change_is_mixed"
    numbers: dict[str, Number] = {
        "axis": changes[0].axis,
        "before": values[0],
        "after": values[1],
        "workload": changes[0].b.cell.workload,
        "count": len(changes),
        "judged": judged,
        "low": least.ratio,
        "low_name": measured.name(least.b),
        "high": most.ratio,
        "high_name": measured.name(most.b),
        "slow_low": 1 / most.ratio,
        "slow_high": 1 / least.ratio,
        "faster": sum(direction > 0 for direction in directions),
        "slower": sum(direction < 0 for direction in directions),
    }
    return Finding(
        kind="change",
        claim=f"{claim}_here" if len(changes) == 1 else claim,
        subject=subject,
        numbers=numbers,
        evidence=evidence_of(least.a, least.b, most.a, most.b),
        strength=Strength.MEASURED,
        advice="measure_in_pairs",
        command=compare_of(most.a.cell, most.b.cell),
    )
