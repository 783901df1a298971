"""How the numbers were made: what is inside each timed region, on which clock, and where the time went."""

from collections.abc import Iterator, Mapping
from typing import cast

from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.record import ClockName
from windtunnel.report.axes import workload_name
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import between, duration


def method(scope: Scope) -> Section:
    """Return how the rows of this machine were measured."""
    blocks: list[Block] = [Paragraph(text=_plan(scope))]
    if scope.is_attention:
        blocks.append(Paragraph(lead=say("Attention alone"), text=passage(_attention(scope))))
    blocks.append(_regions(scope))
    if where := _where_the_time_went(scope):
        blocks.append(where)
    return Section(heading=say("Method"), blocks=tuple(blocks), is_detail=True)


def _plan(scope: Scope) -> str:
    by_rank = {row.plan.warmup_rank: row.plan.warmup for row in scope.rows}
    warmups = [by_rank[rank] for rank in sorted(by_rank)]
    asked = dict.fromkeys(row.plan.samples_asked for row in scope.rows)
    sentences = [
        say(
            "Each cell was given {warmups} and then {asked}; every timed step is one sample, and none was dropped.",
            warmups=_or([*map(str, warmups[:-1]), _untimed(warmups[-1])]),
            asked=_or(list(asked)),
        ),
        *_automatic(scope),
        say("Cells were measured one after another.")
        if scope.is_attention
        else say("Cells were measured one after another, in the order of the rows of the complete results."),
        *_processes(scope),
    ]
    cold = [row for row in scope.rows if row.plan.is_cold]
    if cold:
        fresh = sum(row.record.is_first_in_process for row in cold)
        sentences.append(
            say(
                "{fresh:,} of {cells} without warm-up ran as the first of a fresh process; warm cells may share one.",
                fresh=fresh,
                cells=counted(len(cold), "cell"),
            )
        )
    sentences.append(
        say(
            "The standard deviation has n - 1 below the sum; the median of an even number of samples is halfway "
            "between the middle two."
        )
    )
    return passage(sentences)


def _attention(scope: Scope) -> Iterator[str]:
    """Say what the times of attention alone depend on besides the cell: clock, queue, cache, calls in a row."""
    clocks = {row.clock(row.record.total) for row in scope.measured}
    if ClockName.DEVICE in clocks:
        yield say(
            "Times are between two events of the device while the host is ahead of it, so that no time of launching is "
            "in them; the time to launch is stored too, on the enqueue clock."
        )
    if ClockName.HOST in clocks:
        yield say("Without a device's clock, times are on the host's, with the time of the calls in them.")
    caches = {row.plan.cache for row in scope.rows}
    if "cold" in caches:
        yield say("A cold cache is flushed before each timed call: Q, K and V come from the device's memory.")
    if "warm" in caches:
        yield say("A warm cache is as the call before left it: small Q, K and V may still lie in it.")
    calls = sorted({row.record.calls_per_sample for row in scope.measured})
    if calls and calls[-1] > 1:
        number = between(f"{calls[0]:,}", f"{calls[-1]:,}") if len(calls) > 1 else f"{calls[0]:,}"
        many = sum(row.record.calls_per_sample > 1 for row in scope.measured)
        yield say(
            "A sample of a short call is the mean of several in a row: {calls} calls, in {cells} more than one, so "
            "that single calls may vary more than the samples do.",
            calls=number,
            cells=counted(many, "cell"),
        )


def _processes(scope: Scope) -> Iterator[str]:
    """Say which cells had several processes, and what is not known of those that had one."""
    single = sum(row.plan.processes == 1 for row in scope.rows)
    if single < len(scope.rows):
        yield say(
            "A cell in several processes had a fresh one each time, and the whole grid was measured in the first "
            "before any cell had its second, so that slow drift of the machine falls on all cells alike."
        )
    if single == len(scope.rows):
        yield say("Between-process variation was not measured.")
    elif single:
        yield say(
            "Between-process variation of the {cells} in one process was not measured.",
            cells=counted(single, "cell"),
        )


def _automatic(scope: Scope) -> Iterator[str]:
    """Say how the counts were found that were not asked for exactly."""
    records = [stored.record for row in scope.measured for stored in row.processes]
    is_one_each = len(records) == len(scope.measured)
    warmed = [record for record in records if record.warmed_by]
    if warmed:
        counts = [len(record.samples[0].warmup_nanoseconds) for record in warmed]
        capped = sum(record.warmed_by != "steady" for record in warmed)
        yield say(
            "Automatic warm-up ends when the last two windows of five steps agree by a rank test and memory and "
            "compiled graphs no longer change: {steps} here; {capped:,} of {all} reached the cap before.",
            steps=_range(counts, counted(max(counts), "step")),
            capped=capped,
            all=counted(len(warmed), "cell") if is_one_each else counted(len(warmed), "measurement"),
        )
    stopped = [record for record in records if record.stopped_by]
    if stopped:
        counts = [len(record.samples[0].nanoseconds) for record in stopped]
        short = sum(record.stopped_by != "target" for record in stopped)
        yield say(
            "Sampling to a target looks at the interval of the median after 32 samples and then each time after half "
            "as many more: {samples} here; {short:,} of {all} reached a cap before the target.",
            samples=_range(counts, counted(max(counts), "sample")),
            short=short,
            all=counted(len(stopped), "cell") if is_one_each else counted(len(stopped), "measurement"),
        )


def _untimed(warmup: int | str) -> str:
    if isinstance(warmup, str):
        return say("{warmup} untimed warm-up steps", warmup=warmup)
    return counted(warmup, "untimed warm-up step")


def _range(counts: list[int], most: str) -> str:
    """Write a range of counts, of which `most` is the largest with its noun; that alone where all are the same."""
    return most if min(counts) == max(counts) else between(f"{min(counts):,}", most)


def _or(values: list[str]) -> str:
    *most, last = values
    return say("{others} or {last}", others=listed(most), last=last) if most else last


def _clock(clock: ClockName) -> str:
    match clock:
        case ClockName.HOST:
            return say("host: the wall clock, which on an accelerator waits for the device before and after the step")
        case ClockName.DEVICE:
            return say("device: events in the device's own stream at the boundaries of the phase")
        case ClockName.ENQUEUE:
            return say("enqueue: the wall clock of the host without waiting, the time to launch the work")


def _regions(scope: Scope) -> Table:
    regions = {
        (row.cell.workload, phase, inside, row.clock(phase), phase == row.record.total): None
        for row in scope.measured or scope.rows  # without samples it cannot be said which clock there was
        for phase, inside in row.record.timed.items()
    }
    return Table(
        caption=say("What lies inside each timed region"),
        columns=(
            Column(name=say("workload")),
            Column(name=say("phase")),
            Column(name=say("inside")),
            Column(name=say("clock")),
        ),
        rows=tuple(
            (
                Cell(text=workload_name(workload)),
                Cell(text=say("whole step") if is_total else word(phase)),
                Cell(text=word(inside)),
                Cell(text=_clock(clock)),
            )
            for workload, phase, inside, clock, is_total in regions
        ),
    )


def _caption(scope: Scope, summary: Mapping[str, object]) -> str:
    measured = summary.get("measured")
    if measured == len(scope.rows) or not isinstance(measured, int):
        return say("Where the time of the last run went")
    return say(
        "Where the time of the last run went, which measured {measured} of {cells}",
        measured=f"{measured:,}",
        cells=counted(len(scope.rows), "cell"),
    )


def _where_the_time_went(scope: Scope) -> Table | None:
    """Return the table of the last run that ended, or None where it left none."""
    summary = scope.runs[-1].summary if scope.runs else None
    seconds = summary.get("seconds") if summary else None
    if summary is None or not isinstance(seconds, Mapping):
        return None
    entries = cast("Mapping[str, float]", seconds)
    return Table(
        caption=_caption(scope, summary),
        columns=(Column(name=say("part")), number_column(say("time"))),
        rows=tuple((Cell(text=word(name)), Cell(text=duration(value), sort=value)) for name, value in entries.items()),
    )
