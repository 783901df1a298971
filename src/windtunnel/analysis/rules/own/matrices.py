"""Attention alone: how many matrices of queries x keys each backend holds for backward."""

from collections.abc import Iterator

from windtunnel.analysis.attention import memory_use, variant_of
from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row

_NONE = 0.5
"""Below half a matrix at every length, what is held is smaller tensors."""


def judge_matrices(measured: Measured) -> Iterator[Finding]:
    """Yield for each backend the matrices that it holds, at the longest length of each series that was measured."""
    if not measured.is_attention:
        return
    found: dict[str, dict[Row, float]] = {}
    for row in measured.timed:
        use = memory_use(row)
        if use and use.matrices is not None:
            found.setdefault(variant_of(row).name, {})[row] = use.matrices
    for name, of_rows in found.items():
        longest = max(row.cell.context_length for row in of_rows)
        held = {row: value for row, value in of_rows.items() if row.cell.context_length == longest}
        low, high = min(held.values()), max(held.values())
        claim = "holds_matrices" if len(held) > 1 else "holds_matrices_here"
        yield Finding(
            kind="matrices",
            claim="holds_no_matrix" if high < _NONE else claim,
            subject=name,
            numbers={"name": name, "low": low, "high": high, "length": longest, "count": len(held)},
            evidence=evidence_of(*held),
            strength=Strength.INFERRED,
            rules_out=("holds_one_matrix",) if low > 1.5 else (),
        )
