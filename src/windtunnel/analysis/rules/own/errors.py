"""Attention alone: the largest distance of a result from the same one in float64, in each precision."""

import math
from collections.abc import Iterator

from windtunnel.analysis.attention import is_wrong, variant_of, worst_errors
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row


def judge_errors(measured: Measured) -> Iterator[Finding]:
    """Yield the worst result of each precision, and as a warning that of each backend that computes something else."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in measured.rows:
        if row.record.errors:
            wrong = variant_of(row).name if is_wrong(row) else ""
            groups.setdefault((row.cell.precision, wrong), []).append(row)
    for (precision, wrong), rows in groups.items():
        error, row = max(worst_errors(rows).values(), key=lambda pair: _size(pair[0].relative_error))
        is_finite = math.isfinite(error.relative_error)
        backend, name = variant_of(row).name, measured.name(row)
        yield Finding(
            kind="errors",
            claim="largest_error" if not wrong else "computes_something_else" if is_finite else "error_not_finite",
            subject=" ".join(filter(None, (precision, wrong))),
            numbers={
                "precision": precision,
                "error": error.relative_error if is_finite else str(error.relative_error),
                "tensor": error.tensor,
                "backend": backend,
                "name": name if backend in name else f"{backend} · {name}",
            },
            evidence=evidence_of(row),
            strength=Strength.MEASURED,
            severity=Severity.WARNING if wrong else Severity.NOTE,
            rules_out=() if is_finite else ("numbers_are_finite",),
        )
    yield from _unchecked(measured)


def _unchecked(measured: Measured) -> Iterator[Finding]:
    """Yield that attention of one's own ran in a model, where its results are compared with nothing."""
    rows = [row for row in measured.rows if not row.cell.is_attention and ":" in row.cell.attention]
    for backend in dict.fromkeys(row.cell.attention for row in rows):
        members = [row for row in rows if row.cell.attention == backend]
        yield Finding(
            kind="errors",
            claim="own_attention_not_compared",
            subject=backend,
            numbers={"backend": backend, "count": len(members)},
            evidence=evidence_of(*members),
            strength=Strength.NOT_MEASURED,
            command=f"windtunnel attention --backend {backend},eager --precision {members[0].cell.precision}",
        )


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else value
