"""Cells that were compared in pairs: one table for each run, and its whole steps in sentences."""

from collections import Counter
from collections.abc import Iterator, Sequence

from windtunnel.analysis.measured import comparison_evidence
from windtunnel.analysis.pairs import Compared, PhaseEffect, Sides, describe_sides, judge_runs
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.pair import Pairing, PairRecord
from windtunnel.records.record import Failure
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import failure_text, stage_name
from windtunnel.statistics.paired import Verdict
from windtunnel.units import NOT_KNOWN, Scale, between, change, duration, percent, time_scale

_MOST_SENTENCES = 12
"""A larger grid is read in its table."""


def compare(scope: Scope) -> Section | None:
    """Return the comparisons whose side A ran on this machine, by the run that made them."""
    runs = judge_runs(scope.comparisons)
    if not runs:
        return None
    blocks = tuple(block for started_at, run in runs.items() for block in _run(scope, started_at, run))
    return Section(heading=say("Comparisons"), blocks=blocks)


def _run(scope: Scope, started_at: str, run: tuple[Compared, ...]) -> Iterator[Block]:
    sides = [describe_sides(one.stored) for one in run]
    always = set(sides[0].shared).intersection(*(each.shared for each in sides))
    has_one_question = len({(each.a, each.b) for each in sides}) == 1
    asked = [_asked(run[0].record, sides[0] if has_one_question else None)]
    if always:
        shared = listed(phrase for phrase in sides[0].shared if phrase in always)
        asked.append(say("The same everywhere: {phrases}.", phrases=shared))
    if any(one.record.plan.work_ratio != 1 for one in run):
        asked.append(say("Where batches differ, changes are in the time of a token; other times are of a step."))
    yield Paragraph(lead=say("Run of {time} UTC", time=started_at[:19].replace("T", " ")), text=passage(asked))
    names = [_name(each, always, has_one_question=has_one_question) for each in sides]
    measured = [(name, one) for name, one in zip(names, run, strict=True) if one.effects]
    if measured:
        yield from _tables(scope, measured)
        if len(measured) > 1:
            counts = Counter(one.effects[0].finding.verdict for _, one in measured)
            said = listed(
                say("{n} {verdict}", n=counts[verdict], verdict=word(verdict.value))
                for verdict in Verdict
                if counts[verdict]
            )
            comparisons = counted(len(measured), "comparison")
            yield Paragraph(text=say("Whole steps of {comparisons}: {said}.", comparisons=comparisons, said=said))
        if len(measured) <= (1 if _is_attention(measured[0][1]) else _MOST_SENTENCES):
            for name, one in measured:
                claim = one.effects[0].finding.sentence("A", "B", _what(one.record))
                text = say("{claim}.", claim=f"{claim[0].upper()}{claim[1:]}")
                yield Paragraph(lead=name if len(measured) > 1 else "", text=text)
    for name, one in zip(names, run, strict=True):
        yield from _remarks(name, one)


def _name(sides: Sides, always: set[str], *, has_one_question: bool) -> str:
    """Return what tells a comparison apart in its run; empty where there is but one."""
    parts = [phrase for phrase in sides.shared if phrase not in always]
    if not has_one_question:
        same = say("the same")
        parts += [say("A: {side}", side=sides.a or same), say("B: {side}", side=sides.b or same)]
    return " · ".join(parts)


def _asked(record: PairRecord, sides: Sides | None) -> str:
    how = (
        say("Both cells in one process, steps in pairs whose order was drawn.")
        if record.pairing is Pairing.TOGETHER
        else say(
            "Each turn is a process of its own, sampled for at least {time}; its number is the median of its steps.",
            time=duration(record.block_seconds),
        )
    )
    if sides is None:
        return how
    if not sides.a and not sides.b:
        return passage([say("A and B are the same, so a difference would be a false alarm."), how])
    return passage([say("A: {a}. B: {b}.", a=sides.a, b=sides.b), how])


def _what(record: PairRecord) -> str:
    return say(" in the whole step") if record.plan.work_ratio == 1 else say(" for each token, in the whole step")


def _is_attention(one: Compared) -> bool:
    return one.record.a.task.cell.is_attention


def _tables(scope: Scope, measured: list[tuple[str, Compared]]) -> Iterator[Table]:
    """Yield one table of all phases, or for several points of attention alone, where these are many, one a phase."""
    if len(measured) == 1 or not _is_attention(measured[0][1]):
        keys = tuple(_key(scope, one) for _, one in measured for _ in one.effects)
        yield _table(say("B against A"), [(name, effect) for name, one in measured for effect in one.effects], keys)
        return
    phases = dict.fromkeys(effect.phase for _, one in measured for effect in one.effects)
    for phase in phases:
        entries = [(name, effect) for name, one in measured for effect in one.effects if effect.phase == phase]
        keys = tuple(_key(scope, one) for _, one in measured for effect in one.effects if effect.phase == phase)
        yield _table(say("B against A, {phase}", phase=word(phase)), entries, keys, has_phases=False)


def _key(scope: Scope, one: Compared) -> str:
    return scope.row_key(comparison_evidence(one.record))


def _table(
    caption: str, entries: list[tuple[str, PhaseEffect]], keys: tuple[str, ...], *, has_phases: bool = True
) -> Table:
    effects = [effect for _, effect in entries]
    time = time_scale(seconds for effect in effects for seconds in (effect.a_seconds, effect.b_seconds))
    has_names = len({name for name, _ in entries}) > 1
    return Table(
        caption=caption,
        columns=(
            *([Column(name=say("cell"), description=say("What tells it apart from the others."))] if has_names else []),
            *([Column(name=say("phase"))] if has_phases else []),
            number_column("A", time.unit, say("Median of all timed steps of A.")),
            number_column("B", time.unit, say("Median of all timed steps of B.")),
            number_column(
                say("change"),
                description=say("Hodges-Lehmann estimate over the pairs: +2 % is 2 % more time for B."),
            ),
            number_column(
                say("interval"), description=say("Signed-rank interval of the change, of at least 99 % at one look.")
            ),
            Column(name=say("verdict")),
            number_column(
                say("visible"),
                description=say("The smallest change that this run could have seen, from a side against itself."),
                is_detail=True,
            ),
            number_column(say("pairs"), is_detail=True),
        ),
        rows=tuple(
            (
                *([Cell(text=name)] if has_names else []),
                *([Cell(text=say("whole step") if effect.is_total else word(effect.phase))] if has_phases else []),
                *_row(effect, time),
            )
            for name, effect in entries
        ),
        note=_clocks(effects),
        keys=keys,
    )


def _clocks(effects: list[PhaseEffect]) -> str:
    """Say on which clock the times are, and what verdicts of phases are not corrected for."""
    whole, inside = (
        _joined(sorted({effect.clock.value for effect in effects if effect.is_total is is_total}))
        for is_total in (True, False)
    )
    if not inside:
        return say("Times of the whole step are on the {clock} clock.", clock=whole)
    if whole:
        said = say(
            "Times of the whole step are on the {whole} clock, of phases inside it on the {inside} clock.",
            whole=whole,
            inside=inside,
        )
    else:
        said = say("Times are on the {clock} clock.", clock=inside)
    return passage([said, say("Verdicts of phases inside the step are not corrected for their number.")])


def _joined(clocks: Sequence[str]) -> str:
    """Return the names of no clock, of one, or of the host's and the device's."""
    names = [word(name) for name in clocks]
    return say("{one} and {other}", one=names[0], other=names[1]) if len(names) > 1 else "".join(names)


def _row(effect: PhaseEffect, time: Scale) -> tuple[Cell, ...]:
    finding = effect.finding
    value, low, high = finding.effect.value, finding.effect.low, finding.effect.high
    return (
        Cell(text=time.text(effect.a_seconds)),
        Cell(text=time.text(effect.b_seconds)),
        Cell(text=change(value, 2), sort=value),
        Cell(text=between(change(low, 2), change(high, 2)) if high < float("inf") else NOT_KNOWN, sort=low),
        Cell(text=word(finding.verdict.value)),
        Cell(text=percent(finding.resolution, 2), sort=finding.resolution),
        Cell(text=str(finding.pairs), sort=finding.pairs),
    )


def _remarks(name: str, one: Compared) -> Iterator[Block]:
    record = one.record
    if record.failure:
        yield Callout(kind=CalloutKind.FAILURE, text=_of(name, _failure_text(record, record.failure)))
    for warning in record.warnings:
        yield Callout(kind=CalloutKind.WARNING, text=_of(name, warning))


def _failure_text(record: PairRecord, failure: Failure) -> str:
    if not record.failed_side:
        return failure_text(record.status, failure)
    return say(
        "{status} in {stage} of {side}: {message}",
        status=word(record.status.value),
        stage=stage_name(failure.stage),
        side=record.failed_side.upper(),
        message=failure.message,
    )


def _of(name: str, what: str) -> str:
    return say("{name}: {what}", name=name, what=what) if name else what
