"""How long a step takes: one cell with its interval, or the fastest and the slowest of each workload."""

from collections.abc import Iterator, Mapping, Sequence

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.measured import Measured, evidence_of, seconds_of
from windtunnel.analysis.results import Row


def judge_durations(measured: Measured) -> Iterator[Finding]:
    """Yield a finding for each workload, the one that does the most first."""
    for workload in reversed(measured.workloads):
        rows = [row for row in measured.warm if row.cell.workload == workload]
        yield _one(measured, rows[0]) if len(rows) == 1 else _range(measured, workload, rows)


def _one(measured: Measured, row: Row) -> Finding:
    numbers = {"name": measured.name(row)} | _numbers(row, "")
    claim = "step_takes" if "low_seconds" in numbers else "step_takes_without_interval"
    return _finding(row.cell.workload, claim, numbers, [row])


def _range(measured: Measured, workload: str, rows: Sequence[Row]) -> Finding:
    fastest, slowest = min(rows, key=seconds_of), max(rows, key=seconds_of)
    numbers: dict[str, Number] = {"workload": workload, "count": len(rows)}
    for row, prefix in ((fastest, "least_"), (slowest, "most_")):
        numbers |= {f"{prefix}name": measured.name(row)} | _numbers(row, prefix)
    known = tuple(prefix for prefix in ("least", "most") if f"{prefix}_low_seconds" in numbers)
    claim = _RANGES[known]
    return _finding(workload, claim, numbers, [fastest, slowest])


_RANGES: Mapping[tuple[str, ...], str] = {
    ("least", "most"): "steps_take",
    ("least",): "steps_take_with_least_interval",
    ("most",): "steps_take_with_most_interval",
    (): "steps_take_without_interval",
}
"""Which ends of a range have an interval, to the claim that prints these."""


def _numbers(row: Row, prefix: str) -> dict[str, Number]:
    estimate = row.estimate()
    assert estimate is not None  # `Measured.warm` has no others
    numbers: dict[str, Number] = {
        f"{prefix}seconds": estimate.value,
        f"{prefix}n": len(row.samples()),
        f"{prefix}clock": row.clock(row.record.total).value,
    }
    if estimate.low is not None and estimate.high is not None:
        numbers |= {f"{prefix}low_seconds": estimate.low, f"{prefix}high_seconds": estimate.high}
    return numbers


def _finding(workload: str, claim: str, numbers: dict[str, Number], rows: Sequence[Row]) -> Finding:
    return Finding(
        kind="time",
        claim=claim,
        subject=workload,
        numbers=numbers,
        evidence=evidence_of(*rows),
        strength=Strength.MEASURED,
    )
