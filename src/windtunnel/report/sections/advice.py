"""Advice that was measured: what was advised, and what changed when it was done."""

from windtunnel.analysis.advice import Outcome, outcome_of
from windtunnel.analysis.pairs import Compared
from windtunnel.language import counted, texts_of
from windtunnel.report.document import Cell, Column, Section, Table
from windtunnel.report.judged import advised_of
from windtunnel.report.scope import Scope
from windtunnel.report.wording import advice as advice_text
from windtunnel.report.wording import sentence
from windtunnel.statistics.paired import Effect, Verdict
from windtunnel.units import change

_LANGUAGE = "en"


def advice(scope: Scope) -> Section | None:
    """Return the advice of the findings that was measured in pairs on this machine; None where none was."""
    if not scope.comparisons:
        return None
    outcomes = [outcome for one in advised_of(scope) if (outcome := outcome_of(one, scope.comparisons))]
    if not outcomes:
        return None
    texts = texts_of(_LANGUAGE)
    table = Table(
        caption="What was advised, and what came of it",
        columns=(Column(name="finding"), Column(name="advice"), Column(name="command"), Column(name="outcome")),
        rows=tuple(
            (
                Cell(text=sentence(one.advice.finding, texts)),
                Cell(text=advice_text(one.advice.finding, texts) or "measure it"),
                Cell(text=one.advice.command),
                Cell(text=outcome_text(one), is_failure=any(not pair.effects for pair in one.compared)),
            )
            for one in outcomes
        ),
        note="Changes are in time, with the interval of a look at the pairs, 99 % or more.",
    )
    return Section(heading="Advice, measured", blocks=(table,))


def outcome_text(outcome: Outcome) -> str:
    """Say beside an advice what pairs have found: the change with its interval, no gain, or why there is none."""
    missing = len(outcome.advice.pairs) - len(outcome.compared)
    left = [f"{counted(missing, 'more comparison')} not made"] if missing else []
    return "; ".join([*dict.fromkeys(map(_text, outcome.compared)), *left])


def _text(one: Compared) -> str:
    if one.whole is None:
        failure = one.record.failure
        return f"failed: {one.record.status.value}" + (f" in {failure.stage}: {failure.message}" if failure else "")
    said = _effect_text(one.whole.effect)
    match one.whole.verdict:
        case Verdict.FASTER:
            return f"measured in pairs here: {said}"
        case Verdict.SLOWER:
            return f"measured in pairs here, slower: {said}"
        case Verdict.EQUIVALENT:
            return f"no gain: {said}"
        case Verdict.INCONCLUSIVE:
            return f"not settled: {said}, {one.whole.reason}"


def _effect_text(effect: Effect) -> str:
    if effect.high == float("inf"):
        return f"{change(effect.value)}, no interval"
    return f"{change(effect.value)} [{change(effect.low)}, {change(effect.high)}]"
