"""Attention alone: the largest distance of a result from the same one in float64, in each precision."""

import math
from collections.abc import Iterator

from windtunnel.analysis.attention import variant_of, worst_errors
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row


def judge_errors(measured: Measured) -> Iterator[Finding]:
    """Yield the worst result of each precision; one that is not finite is a warning."""
    rows_of: dict[str, list[Row]] = {}
    for row in measured.rows:
        if row.record.errors:
            rows_of.setdefault(row.cell.precision, []).append(row)
    for precision, rows in rows_of.items():
        error, row = max(worst_errors(rows).values(), key=lambda pair: _size(pair[0].relative_error))
        is_finite = math.isfinite(error.relative_error)
        yield Finding(
            kind="errors",
            claim="largest_error" if is_finite else "error_not_finite",
            subject=precision,
            numbers={
                "precision": precision,
                "error": error.relative_error if is_finite else str(error.relative_error),
                "tensor": error.tensor,
                "backend": variant_of(row).name,
                "name": measured.name(row),
            },
            evidence=evidence_of(row),
            strength=Strength.MEASURED,
            severity=Severity.NOTE if is_finite else Severity.WARNING,
            rules_out=() if is_finite else ("numbers_are_finite",),
        )


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else value
