"""What pairs say: of each question that was put to pairs one answer, over all points at which it was put."""

from collections import Counter
from collections.abc import Iterator, Sequence

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.measured import Measured, comparison_evidence
from windtunnel.analysis.pairs import Compared, describe_sides
from windtunnel.records.pair import PairSide
from windtunnel.statistics.paired import Verdict


def judge_pairs(measured: Measured) -> Iterator[Finding]:
    """Yield a finding for each question; of a comparison that was made again the latest counts."""
    latest = {(_side(one.record.a), _side(one.record.b)): one for one in measured.compared if not one.record.is_same}
    questions: dict[tuple[str, str], list[Compared]] = {}
    for one in latest.values():
        sides = describe_sides(one.stored)
        questions.setdefault((sides.a, sides.b), []).append(one)
    for (a, b), answers in questions.items():
        if len(answers) == 1:
            yield _one(measured, a, b, answers[0])
        else:
            yield _many(a, b, answers)


def _side(side: PairSide) -> tuple[str | None, ...]:
    return (side.task.key(), side.project, side.commit, side.python)


def settled_by_pairs(measured: Measured) -> frozenset[tuple[str, str, str]]:
    """Return the changes of one field that pairs were taken of: its name, its value before and after."""
    found: set[tuple[str, str, str]] = set()
    for one in measured.compared:
        a, b = one.record.a.task.cell, one.record.b.task.cell
        differing = [name for name in type(a).model_fields if getattr(a, name) != getattr(b, name)]
        if len(differing) == 1:
            name = differing[0]
            found.add((name, str(getattr(a, name)), str(getattr(b, name))))
    return frozenset(found)


_CLAIMS = {
    Verdict.FASTER: "pair_is_faster",
    Verdict.SLOWER: "pair_is_slower",
    Verdict.EQUIVALENT: "pair_is_equivalent",
    Verdict.INCONCLUSIVE: "pair_is_open",
}


def _one(measured: Measured, a: str, b: str, one: Compared) -> Finding:
    whole = one.whole
    assert whole is not None  # `Measured.compared` has no others
    effect = whole.effect
    numbers: dict[str, Number] = {
        "a": a,
        "b": b,
        "name": measured.cell_name(one.record.a.task.cell),
        "effect": effect.value,
        "low": effect.low,
        "high": effect.high,
        "ratio": 1 / (1 + effect.value),
        "pairs": whole.pairs,
        "delta": whole.delta,
    }
    return _finding(_CLAIMS[whole.verdict], f"{b} for {a}", numbers, [one])


def _many(a: str, b: str, answers: Sequence[Compared]) -> Finding:
    effects = [(one.whole.effect.value, one) for one in answers if one.whole]
    counts = Counter(one.whole.verdict for one in answers if one.whole)
    numbers: dict[str, Number] = {
        "a": a,
        "b": b,
        "count": len(answers),
        "low": min(value for value, _ in effects),
        "high": max(value for value, _ in effects),
        **{verdict.name.lower(): counts[verdict] for verdict in Verdict},
    }
    return _finding("pairs_answer", f"{b} for {a}", numbers, answers)


def _finding(claim: str, subject: str, numbers: dict[str, Number], answers: Sequence[Compared]) -> Finding:
    return Finding(
        kind="pairs",
        claim=claim,
        subject=subject,
        numbers=numbers,
        evidence=tuple(comparison_evidence(one.record) for one in answers),
        strength=Strength.MEASURED,
    )
