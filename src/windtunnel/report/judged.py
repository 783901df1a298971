"""What rules look at of a scope, and what its findings advise to compare."""

from dataclasses import replace

from windtunnel.analysis.advice import Advice, advised_by
from windtunnel.analysis.judge import judge
from windtunnel.analysis.measured import Measured
from windtunnel.report.scope import Scope
from windtunnel.report.sections.cell_label import cell_label


def measured_of(scope: Scope) -> Measured:
    """Return what rules look at of a scope."""
    return Measured(
        rows=scope.rows,
        name=scope.label,
        cell_name=cell_label,
        is_attention=scope.is_attention,
        predictions=scope.predictions,
        comparisons=scope.comparisons,
        ledgers=scope.ledgers,
        precision_looks=scope.precision_looks,
        profiles=scope.profiles,
    )


def advised_of(scope: Scope) -> tuple[Advice, ...]:
    """Return what the findings of steps of models advise to compare, the weightiest first.

    Comparisons that were made are left aside: they settle an advice, which must not vanish with that.

    Raises:
        ContradictionError: Two findings say different things about the same.
    """
    if scope.is_fit or scope.is_attention or not scope.rows:
        return ()
    return advised_by(judge(replace(measured_of(scope), comparisons=())), scope.rows[0].cell.device)
