"""Advice that was measured: what was advised, and what changed when it was done."""

from windtunnel.analysis.advice import Outcome, outcome_of
from windtunnel.analysis.pairs import Compared
from windtunnel.language import apart, counted, say, word
from windtunnel.report.document import Cell, Column, Section, Table
from windtunnel.report.judged import advised_of
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import stage_name
from windtunnel.report.wording import advice as advice_text
from windtunnel.report.wording import sentence
from windtunnel.statistics.paired import Effect, Verdict
from windtunnel.units import change


def advice(scope: Scope) -> Section | None:
    """Return the advice of the findings that was measured in pairs on this machine; None where none was."""
    if not scope.comparisons:
        return None
    outcomes = [outcome for one in advised_of(scope) if (outcome := outcome_of(one, scope.comparisons))]
    if not outcomes:
        return None
    table = Table(
        caption=say("What was advised, and what came of it"),
        columns=(
            Column(name=say("finding")),
            Column(name=say("advice")),
            Column(name=say("command")),
            Column(name=say("outcome")),
        ),
        rows=tuple(
            (
                Cell(text=sentence(one.advice.finding)),
                Cell(text=advice_text(one.advice.finding) or say("measure it")),
                Cell(text=one.advice.command),
                Cell(text=outcome_text(one), is_failure=any(not pair.effects for pair in one.compared)),
            )
            for one in outcomes
        ),
        note=say("Changes are in time, with the interval of a look at the pairs, 99 % or more."),
    )
    return Section(heading=say("Advice, measured"), blocks=(table,))


def outcome_text(outcome: Outcome) -> str:
    """Say beside an advice what pairs have found: the change with its interval, no gain, or why there is none."""
    missing = len(outcome.advice.pairs) - len(outcome.compared)
    left = [say("{comparisons} not made", comparisons=counted(missing, "more comparison"))] if missing else []
    return apart([*dict.fromkeys(map(_text, outcome.compared)), *left])


def _text(one: Compared) -> str:
    if one.whole is None:
        failure = one.record.failure
        status = word(one.record.status.value)
        if failure is None:
            return say("failed: {status}", status=status)
        return say(
            "failed: {status} in {stage}: {message}",
            status=status,
            stage=stage_name(failure.stage),
            message=failure.message,
        )
    said = _effect_text(one.whole.effect)
    match one.whole.verdict:
        case Verdict.FASTER:
            return say("measured in pairs here: {change}", change=said)
        case Verdict.SLOWER:
            return say("measured in pairs here, slower: {change}", change=said)
        case Verdict.EQUIVALENT:
            return say("no gain: {change}", change=said)
        case Verdict.INCONCLUSIVE:
            return say("not settled: {change}, {reason}", change=said, reason=one.whole.reason)


def _effect_text(effect: Effect) -> str:
    if effect.high == float("inf"):
        return say("{change}, no interval", change=change(effect.value))
    return f"{change(effect.value)} [{change(effect.low)}, {change(effect.high)}]"
