"""What searches for the fastest configuration have found: the answer, against the present one, and the path to it."""

from collections.abc import Iterator

from windtunnel.analysis.tuning import estimate_of, finding_of, label_of, outcome_of, searches_of
from windtunnel.language import counted
from windtunnel.records.record import Status
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, interval_cell, median_cell, number_column
from windtunnel.report.scope import Scope, workload_name
from windtunnel.spec.flag_text import compare_command
from windtunnel.statistics.pairing import Finding
from windtunnel.statistics.racing import ROUNDS, Ending, Standing
from windtunnel.sweep.tuning import Duelled, Found, Place, Trial
from windtunnel.units import Scale, change, duration, memory_scale, scientific, time_scale
from windtunnel.units import memory as memory_text


def tune(scope: Scope) -> Section | None:
    """Return what each search on this machine has found; None where there was none."""
    found = searches_of(scope.runs, scope.rows, scope.comparisons, scope.precision_looks)
    return tune_section(*found) if found else None


def tune_section(*searches: Found) -> Section:
    """Return the answer and the path of each search."""
    return Section(heading="Fastest configuration", blocks=tuple(block for one in searches for block in _blocks(one)))


def _blocks(found: Found) -> Iterator[Block]:
    yield Paragraph(lead="Asked", text=_asked(found))
    yield Paragraph(lead="Answer", text=answer(found))
    if found.final and (finding := finding_of(found.final)):
        yield Paragraph(lead="Against the present configuration", text=against_present(found, finding))
    if found.winners:
        yield from _last_lines(found)
    yield _path(found)
    failed = [trial for trial in found.trials if trial.place is Place.FAILED]
    for trial in failed:
        assert trial.record is not None
        failure = trial.record.failure
        why = f" in {failure.stage}: {failure.message}" if failure else ""
        text = f"{label_of(trial.candidate.cell, found.tuning)}: {trial.record.status.value}{why}"
        yield Callout(kind=CalloutKind.FAILURE, text=text)


def _asked(found: Found) -> str:
    tuning, cell = found.tuning, found.present.candidate.cell
    limits = [] if tuning.memory_limit is None else [f"within {memory_text(found.limit_bytes)}"]
    if tuning.error_limit is not None:
        limits.append(f"with an error of at most {scientific(tuning.error_limit)}")
    what = "the most tokens a second" if tuning.varies_batch() else "the shortest step"
    return (
        f"{cell.model.name}, {workload_name(cell.workload)}, context {cell.context_length}, batch {cell.batch_size}: "
        f"which of {counted(len(found.trials), 'configuration')} has {what}"
        f"{' ' if limits else ''}{' and '.join(limits)}, in {duration(tuning.budget)}. "
        f"At present: {label_of(cell, tuning)}."
    )


def answer(found: Found) -> str:
    """Say what is known of the fastest, and how well."""
    if not found.winners:
        return _nothing(found)
    leader = label_of(found.winners[0].cell, found.tuning)
    others = [label_of(one.cell, found.tuning) for one in found.winners[1:]]
    if found.ending is Ending.BEST:
        return f"{leader} is the fastest{_its_time(found)}: every other candidate is slower or out."
    if found.ending is Ending.SET:
        return (
            f"{counted(len(found.winners), 'configuration')} cannot be told apart, and every other one is slower or "
            f"out: {leader}{_its_time(found)}, {', '.join(others)}."
        )
    missing = sum(trial.place is Place.NOT_MEASURED for trial in found.trials)
    gaps = [f"{counted(missing, 'candidate')} had no look"] if missing else []
    gaps += [f"{counted(len(others), 'other')} may be as fast: {', '.join(others)}"] if others else []
    return f"Not settled: {leader} is the fastest so far{_its_time(found)}; {' and '.join(gaps)}."


def _its_time(found: Found) -> str:
    winner = found.winners[0]
    estimate = estimate_of(found.trial(winner.name).record)
    if estimate is None:
        return ""
    tokens = winner.cell.batch_size * winner.cell.context_length
    rate = f", {tokens / estimate.value:,.0f} tokens a second" if found.tuning.varies_batch() else ""
    return f" ({duration(estimate.value)} a step in its look{rate})"


def _nothing(found: Found) -> str:
    places = [trial.place for trial in found.trials]
    counts = ", ".join(f"{places.count(place)} {place.value}" for place in Place if place in places)
    return f"No configuration could be raced: {counts}."


def against_present(found: Found, finding: Finding) -> str:
    """Say in one sentence what the last comparison found."""
    where = " for each token" if found.tuning.varies_batch() else " in the whole step"
    winner = label_of(found.winners[0].cell, found.tuning)
    present = f"the present one ({label_of(found.present.candidate.cell, found.tuning)})"
    return f"In pairs of their own after the search: {finding.sentence(present, winner, where)}."


def _last_lines(found: Found) -> Iterator[Block]:
    present, winner = found.present.candidate, found.winners[0]
    if winner == present:
        yield Paragraph(text=_PRESENT[found.ending])
        return
    if found.final is None or finding_of(found.final) is None:
        yield Paragraph(text=f"It was not compared with the present configuration: {_why_not_compared(found)}.")
    if errors := _errors(found):
        yield Paragraph(lead="Errors", text=errors)
    yield Paragraph(lead="To repeat", text=compare_command(present.cell, winner.cell))


def _why_not_compared(found: Found) -> str:
    if found.final:
        return found.final.status.value
    record = found.present.record
    if record is None:
        return found.present.place.value
    return "there was no time left" if record.status is Status.OK else f"that ended with {record.status.value}"


def _errors(found: Found) -> str:
    trials = {"at present": found.present, "of the fastest": found.trial(found.winners[0].name)}
    known = [f"{scientific(trial.error)} {name}" for name, trial in trials.items() if trial.error is not None]
    return f"Relative, of logits, loss or the median gradient, against float64: {', '.join(known)}." if known else ""


def _path(found: Found) -> Table:
    looked = {trial.candidate.name: trial for trial in found.trials}
    estimates = {name: estimate_of(trial.record) for name, trial in looked.items()}
    time = time_scale(estimate.value if estimate else None for estimate in estimates.values())
    memory = memory_scale(_peak(trial) for trial in found.trials)
    has_errors = any(trial.error is not None for trial in found.trials)
    columns = (
        Column(name="round", description=_ROUNDS),
        Column(name="candidate"),
        Column(name="against", description="The leader of that time, side A."),
        number_column("median", time.unit, "Of the steps of the look."),
        number_column("95 % interval", time.unit, "Of the median of the look."),
        number_column("change", description="In pairs: +2 % takes 2 % more time than the leader, with its interval."),
        number_column("peak memory", memory.unit, "Most bytes in use at any one time."),
        *([number_column("error", description="Largest of logits, loss, median gradient.")] if has_errors else []),
        Column(name="verdict"),
    )
    looks = [
        (
            Cell(text="look"),
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
    per_token = " Changes are for each token." if found.tuning.varies_batch() else ""
    return Table(caption="The path", columns=columns, rows=(*looks, *duels), note=f"{_NOTE}{per_token}")


_PRESENT = {
    Ending.BEST: "That is the present configuration: there is nothing to change.",
    Ending.SET: "The present configuration is among them: no change is known to be a gain.",
    Ending.UNFINISHED: "That is the present configuration.",
}
_ROUNDS = f"A short look at each, then duels of up to {' and '.join(map(str, ROUNDS))} pairs."
_NOTE = (
    "A look decides alone only where all its steps are slower and the median takes twice as long; else pairs do, whose "
    "intervals allow for all duels together: the fastest is lost in at most 5 % of such searches."
)


def _sides(found: Found, challenger: str, leader: str) -> tuple[Cell, Cell]:
    labels = [label_of(found.trial(name).candidate.cell, found.tuning) for name in (challenger, leader)]
    return Cell(text=labels[0]), Cell(text=labels[1])


def _peak(trial: Trial) -> int | None:
    record = trial.record
    return record.memory.peak_bytes if record and record.memory else None


def _peak_cell(trial: Trial, scale: Scale) -> Cell:
    if trial.place is Place.TOO_LARGE:
        return Cell(
            text=f"{scale.text(trial.candidate.predicted_bytes)} predicted", sort=trial.candidate.predicted_bytes
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
        return Cell(text=f"{change(effect.value)}, no interval", sort=effect.value)
    return Cell(text=f"{change(effect.value)} [{change(effect.low)}, {change(effect.high)}]", sort=effect.value)


def _verdict(one: Duelled) -> str:
    if one.leads == one.duel.challenger:
        return "faster: leads from here on"
    if one.standing is Standing.NOT_COMPARED:
        return f"not compared: {one.record.status.value}"
    return "no verdict yet" if one.standing is Standing.OPEN else one.standing.value
