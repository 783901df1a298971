"""The first thing to change: what made a step fastest, in pairs or in cells apart; else what nobody tried yet."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, comparison_evidence, evidence_of, seconds_of
from windtunnel.analysis.pairs import Compared
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.own.changes import Change, changes_of
from windtunnel.analysis.rules.own.commands import changed_flags, compare_of
from windtunnel.cost.time import Bound
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel
from windtunnel.statistics.paired import Verdict

_LONG = 512
"""From this context on the scores of eager attention are worth a fused kernel."""


def judge_first_change(measured: Measured) -> Iterator[Finding]:
    """Yield one advice with the command that tests it: the best known, or one to try on the heaviest cell."""
    paired = [(one, flags) for one in measured.compared if (flags := _pays(one))]
    if paired:
        one, flags = min(paired, key=lambda pair: _effect(pair[0]))
        yield _paired(measured, one, flags)
        return
    apart = [change for changes in changes_of(measured).values() for change in changes if _command(change.a, change.b)]
    best = max((change for change in apart if change.direction > 0), key=lambda change: change.ratio, default=None)
    row = measured.heaviest
    if best:
        yield _apart(measured, best)
    elif row and (changed := _untried(measured, row)):
        yield Finding(
            kind="first_change",
            claim="change_not_tried",
            subject="steps",
            numbers={"flags": changed_flags(row.cell, changed) or "", "name": measured.name(row)},
            evidence=evidence_of(row),
            strength=Strength.NOT_MEASURED,
            command=compare_of(row.cell, changed),
        )


def _pays(one: Compared) -> str | None:
    """Return the flags that made B faster than A; None where it is not, or more than flags tells them apart."""
    a, b = one.record.a, one.record.b
    same_place = (a.project, a.commit, a.python) == (b.project, b.commit, b.python)
    is_faster = one.whole is not None and one.whole.verdict is Verdict.FASTER
    if not (same_place and is_faster and compare_of(a.task.cell, b.task.cell)):
        return None
    return changed_flags(a.task.cell, b.task.cell)


def _effect(one: Compared) -> float:
    assert one.whole is not None  # `_pays` lets no others through
    return one.whole.effect.value


def _paired(measured: Measured, one: Compared, flags: str) -> Finding:
    assert one.whole is not None  # `_pays` lets no others through
    effect, cell = one.whole.effect, one.record.a.task.cell
    return Finding(
        kind="first_change",
        claim="change_pays",
        subject="steps",
        numbers={
            "flags": flags,
            "name": measured.cell_name(cell),
            "effect": effect.value,
            "low": effect.low,
            "high": effect.high,
            "ratio": 1 / (1 + effect.value),
            "pairs": one.whole.pairs,
        },
        evidence=(comparison_evidence(one.record),),
        strength=Strength.MEASURED,
        advice="change_this",
        command=compare_of(cell, one.record.b.task.cell),
    )


def _apart(measured: Measured, change: Change) -> Finding:
    return Finding(
        kind="first_change",
        claim="change_may_pay",
        subject="steps",
        numbers={
            "flags": changed_flags(change.a.cell, change.b.cell) or "",
            "name": measured.name(change.a),
            "ratio": change.ratio,
            "before_seconds": seconds_of(change.a),
            "after_seconds": seconds_of(change.b),
        },
        evidence=evidence_of(change.a, change.b),
        strength=Strength.INFERRED,
        advice="change_this",
        command=_command(change.a, change.b),
    )


def _command(a: Row, b: Row) -> str | None:
    return compare_of(a.cell, b.cell) if changed_flags(a.cell, b.cell) else None


def _untried(measured: Measured, row: Row) -> Cell | None:
    """Return a cell that differs in one setting which no row of the store has another value of."""
    tried = {
        name
        for name in ("compile", "precision", "attention")
        if len({getattr(other.cell, name) for other in measured.rows}) > 1
    }
    tried |= {
        name
        for one in measured.comparisons
        for name in ("compile", "precision", "attention")
        if getattr(one.record.a.task.cell, name) != getattr(one.record.b.task.cell, name)
    }
    for name, value in _candidates(measured, row):
        if name not in tried and getattr(row.cell, name) != value:
            return row.cell.model_copy(update={name: value})
    return None


def _candidates(measured: Measured, row: Row) -> Iterator[tuple[str, str]]:
    """Yield what to try, the likeliest first: by what the cell is measured, or else predicted, to wait for."""
    if row.cell.is_attention:
        yield "attention", "sdpa"
        return
    profiled = [view for _, cell, view in measured.profile_views if cell == row.cell]
    bound = next((one.bound for one in measured.predictions.beside if one.row is row), None)
    if profiled[-1].gaps.is_launch_bound if profiled else bound is Bound.LAUNCH:
        yield "compile", "default"
    if row.cell.device != "cpu" and row.cell.precision == "fp32":
        yield "precision", "bf16"
    if row.cell.attention == "eager" and row.cell.context_length >= _LONG and not isinstance(row.cell.model, OwnModel):
        yield "attention", "sdpa"
    if row.cell.checkpoint == "none":
        yield "compile", "default"
