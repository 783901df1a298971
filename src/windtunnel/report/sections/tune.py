"""What searches for the fastest configuration have found: the answer, against the present one, and the path to it."""

from collections.abc import Iterator

from windtunnel.analysis.tuning import estimate_of, finding_of, label_of, outcome_of, searches_of
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.record import Status
from windtunnel.report.axes import workload_name
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, interval_cell, median_cell, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import failure_text
from windtunnel.spec.flag_text import compare_command
from windtunnel.statistics.pairing import Finding
from windtunnel.statistics.racing import ROUNDS, Ending, Standing
from windtunnel.sweep.tuning import Duelled, Found, Place, Trial
from windtunnel.units import Scale, change, duration, memory_scale, scientific, time_scale
from windtunnel.units import memory as memory_text

_FAR_OFF = 0.3
"""Relative: formats of 16 bits are 0.003 to 0.025 off in docs/results/h200/tune, where all compute the same."""


def tune(scope: Scope) -> Section | None:
    """Return what each search on this machine has found; None where there was none."""
    found = searches_of(scope.runs, scope.rows, scope.comparisons, scope.precision_looks)
    return tune_section(*found) if found else None


def tune_section(*searches: Found) -> Section:
    """Return the answer and the path of each search."""
    return Section(
        heading=say("Fastest configuration"), blocks=tuple(block for one in searches for block in _blocks(one))
    )


def _blocks(found: Found) -> Iterator[Block]:
    yield Paragraph(lead=say("Asked"), text=_asked(found))
    yield Paragraph(lead=say("Answer"), text=answer(found))
    if found.final and (finding := finding_of(found.final)):
        yield Paragraph(lead=say("Against the present configuration"), text=against_present(found, finding))
    if found.winners:
        yield from _last_lines(found)
    yield _path(found)
    failed = [trial for trial in found.trials if trial.place is Place.FAILED]
    for trial in failed:
        assert trial.record is not None
        name = label_of(trial.candidate.cell, found.tuning)
        why = failure_text(trial.record.status, trial.record.failure)
        yield Callout(kind=CalloutKind.FAILURE, text=say("{name}: {what}", name=name, what=why))


def _asked(found: Found) -> str:
    tuning, cell = found.tuning, found.present.candidate.cell
    fields = {
        "model": cell.model.name,
        "workload": workload_name(cell.workload),
        "context": cell.context_length,
        "batch": cell.batch_size,
        "configurations": counted(len(found.trials), "configuration"),
        "what": say("the most tokens a second") if tuning.varies_batch() else say("the shortest step"),
        "time": duration(tuning.budget),
    }
    limits = _limits(found)
    if limits:
        asked = say(
            "{model}, {workload}, context {context}, batch {batch}: which of {configurations} has {what} {limits}, in "
            "{time}.",
            limits=limits,
            **fields,
        )
    else:
        asked = say(
            "{model}, {workload}, context {context}, batch {batch}: which of {configurations} has {what}, in {time}.",
            **fields,
        )
    return passage([asked, say("At present: {name}.", name=label_of(cell, tuning))])


def _limits(found: Found) -> str:
    tuning = found.tuning
    room, error = memory_text(found.limit_bytes), scientific(tuning.error_limit)
    if tuning.memory_limit is None:
        return "" if tuning.error_limit is None else say("with an error of at most {error}", error=error)
    if tuning.error_limit is None:
        return say("within {memory}", memory=room)
    return say("within {memory} and with an error of at most {error}", memory=room, error=error)


def answer(found: Found) -> str:
    """Say what is known of the fastest, and how well."""
    if not found.winners:
        return _nothing(found)
    leader = label_of(found.winners[0].cell, found.tuning)
    time = _its_time(found)
    others = listed(label_of(one.cell, found.tuning) for one in found.winners[1:])
    if found.ending is Ending.BEST:
        return say("{name} is the fastest{time}: every other candidate is slower or out.", name=leader, time=time)
    if found.ending is Ending.SET:
        return say(
            "{configurations} cannot be told apart, and every other one is slower or out: {name}{time}, {others}.",
            configurations=counted(len(found.winners), "configuration"),
            name=leader,
            time=time,
            others=others,
        )
    return say(
        "Not settled: {name} is the fastest so far{time}; {gaps}.", name=leader, time=time, gaps=_gaps(found, others)
    )


def _gaps(found: Found, others: str) -> str:
    """Say why the answer is open: candidates that had no look, and `others` that may be as fast."""
    missing = sum(trial.place is Place.NOT_MEASURED for trial in found.trials)
    unseen = say("{candidates} had no look", candidates=counted(missing, "candidate"))
    if not others:
        return unseen
    rivals = say("{n} may be as fast: {others}", n=counted(len(found.winners) - 1, "other"), others=others)
    return say("{unseen} and {rivals}", unseen=unseen, rivals=rivals) if missing else rivals


def _its_time(found: Found) -> str:
    winner = found.winners[0]
    estimate = estimate_of(found.trial(winner.name).record)
    if estimate is None:
        return ""
    time = duration(estimate.value)
    if not found.tuning.varies_batch():
        return say(" ({time} a step in its look)", time=time)
    tokens = f"{winner.cell.batch_size * winner.cell.context_length / estimate.value:,.0f}"
    return say(" ({time} a step in its look, {tokens} tokens a second)", time=time, tokens=tokens)


def _nothing(found: Found) -> str:
    places = [trial.place for trial in found.trials]
    counts = listed(
        say("{n} {what}", n=places.count(place), what=word(place.value)) for place in Place if place in places
    )
    return say("No configuration could be raced: {counts}.", counts=counts)


def against_present(found: Found, finding: Finding) -> str:
    """Say in one sentence what the last comparison found."""
    where = say(" for each token") if found.tuning.varies_batch() else say(" in the whole step")
    winner = label_of(found.winners[0].cell, found.tuning)
    present = say("the present one ({name})", name=label_of(found.present.candidate.cell, found.tuning))
    claim = finding.sentence(present, winner, where)
    return say("In pairs of their own after the search: {claim}.", claim=claim)


def _last_lines(found: Found) -> Iterator[Block]:
    present, winner = found.present.candidate, found.winners[0]
    if winner == present:
        yield Paragraph(text=_of_present(found.ending))
        return
    if found.final is None or finding_of(found.final) is None:
        why = _why_not_compared(found)
        yield Paragraph(text=say("It was not compared with the present configuration: {why}.", why=why))
    if errors := _errors(found):
        yield Paragraph(lead=say("Errors"), text=errors)
    if (error := found.trial(winner.name).error) is not None and not error < _FAR_OFF:
        yield Callout(
            kind=CalloutKind.WARNING,
            text=say(
                "What the fastest computes is {error} off, relative to float64: it is another model, or loses its "
                "numbers. Leave such out with --error-limit.",
                error=scientific(error),
            ),
        )
    yield Paragraph(lead=say("To repeat"), text=compare_command(present.cell, winner.cell))


def _why_not_compared(found: Found) -> str:
    if found.final:
        return word(found.final.status.value)
    record = found.present.record
    if record is None:
        return word(found.present.place.value)
    if record.status is Status.OK:
        return say("there was no time left")
    return say("that ended with {status}", status=word(record.status.value))


def _errors(found: Found) -> str:
    present, fastest = found.present.error, found.trial(found.winners[0].name).error
    known = [] if present is None else [say("{error} at present", error=scientific(present))]
    known += [] if fastest is None else [say("{error} of the fastest", error=scientific(fastest))]
    if not known:
        return ""
    return say("Relative, of logits, loss or the median gradient, against float64: {errors}.", errors=listed(known))


def _path(found: Found) -> Table:
    looked = {trial.candidate.name: trial for trial in found.trials}
    estimates = {name: estimate_of(trial.record) for name, trial in looked.items()}
    time = time_scale(estimate.value if estimate else None for estimate in estimates.values())
    memory = memory_scale(_peak(trial) for trial in found.trials)
    has_errors = any(trial.error is not None for trial in found.trials)
    columns = (
        Column(name=say("round"), description=_rounds()),
        Column(name=say("candidate")),
        Column(name=say("against"), description=say("The leader of that time, side A.")),
        number_column(say("median"), time.unit, say("Of the steps of the look.")),
        number_column(say("95 % interval"), time.unit, say("Of the median of the look.")),
        number_column(
            say("change"), description=say("In pairs: +2 % takes 2 % more time than the leader, with its interval.")
        ),
        number_column(say("peak memory"), memory.unit, say("Most bytes in use at any one time.")),
        *(
            [number_column(say("error"), description=say("Largest of logits, loss, median gradient."))]
            if has_errors
            else []
        ),
        Column(name=say("verdict")),
    )
    looks = [
        (
            Cell(text=say("look")),
            Cell(text=label_of(trial.candidate.cell, found.tuning)),
            GAP,
            median_cell(estimates[name], time),
            interval_cell(estimates[name], time),
            GAP,
            _peak_cell(trial, memory),
            *([_error_cell(trial)] if has_errors else []),
            Cell(text=outcome_of(trial, found), is_failure=trial.place is Place.FAILED),
        )
        for name, trial in looked.items()
    ]
    duels = [
        (
            Cell(text=f"{one.duel.round + 1}"),
            *_sides(found, one.duel.challenger, one.duel.leader),
            GAP,
            GAP,
            _change(one),
            GAP,
            *([GAP] if has_errors else []),
            Cell(text=_verdict(one)),
        )
        for one in found.duels
    ]
    note = say(
        "A look decides alone only where all its steps are slower and the median takes twice as long; else pairs do, "
        "whose intervals allow for all duels together: the fastest is lost in at most 5 % of such searches."
    )
    if found.tuning.varies_batch():
        note = passage([note, say("Changes are for each token.")])
    return Table(caption=say("The path"), columns=columns, rows=(*looks, *duels), note=note)


def _of_present(ending: Ending) -> str:
    match ending:
        case Ending.BEST:
            return say("That is the present configuration: there is nothing to change.")
        case Ending.SET:
            return say("The present configuration is among them: no change is known to be a gain.")
        case Ending.UNFINISHED:
            return say("That is the present configuration.")


def _rounds() -> str:
    short, long = ROUNDS
    return say("A short look at each, then duels of up to {short} and {long} pairs.", short=short, long=long)


def _sides(found: Found, challenger: str, leader: str) -> tuple[Cell, Cell]:
    labels = [label_of(found.trial(name).candidate.cell, found.tuning) for name in (challenger, leader)]
    return Cell(text=labels[0]), Cell(text=labels[1])


def _peak(trial: Trial) -> int | None:
    record = trial.record
    return record.memory.peak_bytes if record and record.memory else None


def _peak_cell(trial: Trial, scale: Scale) -> Cell:
    if trial.place is Place.TOO_LARGE:
        return Cell(
            text=say("{size} predicted", size=scale.text(trial.candidate.predicted_bytes)),
            sort=trial.candidate.predicted_bytes,
        )
    return Cell(text=scale.text(_peak(trial)), sort=_peak(trial))


def _error_cell(trial: Trial) -> Cell:
    return GAP if trial.error is None else Cell(text=scientific(trial.error), sort=trial.error)


def _change(one: Duelled) -> Cell:
    finding = finding_of(one.record)
    if finding is None:
        return GAP
    effect = finding.effect
    if effect.high == float("inf"):
        return Cell(text=say("{change}, no interval", change=change(effect.value)), sort=effect.value)
    return Cell(text=f"{change(effect.value)} [{change(effect.low)}, {change(effect.high)}]", sort=effect.value)


def _verdict(one: Duelled) -> str:
    if one.leads == one.duel.challenger:
        return say("faster: leads from here on")
    if one.standing is Standing.NOT_COMPARED:
        return say("not compared: {status}", status=word(one.record.status.value))
    return say("no verdict yet") if one.standing is Standing.OPEN else word(one.standing.value)
