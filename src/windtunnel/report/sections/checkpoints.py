"""What a search of checkpointings found: the groups that hold the least, and the fastest that fits a budget."""

from windtunnel.analysis.checkpoints import checkpoint_searches
from windtunnel.language import listed, say, word
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.sweep.checkpoint_search import CheckpointSearch, Measured
from windtunnel.units import change, duration, memory, ratio


def checkpoints(scope: Scope) -> Section | None:
    """Return what each search that the store has the records of has found; None where there was none."""
    found = checkpoint_searches(scope.runs, scope.rows, scope.ledgers)
    return checkpoints_section(*found) if found else None


def checkpoints_section(*found: CheckpointSearch) -> Section:
    """Return for each search what was asked, the answers, and the table of what was measured."""
    return Section(heading=say("Checkpointing"), blocks=tuple(block for one in found for block in _blocks(one)))


def _blocks(found: CheckpointSearch) -> tuple[Block, ...]:
    return (
        Paragraph(lead=say("Searched"), text=_searched(found)),
        Paragraph(lead=say("Lowest peak"), text=_lowest(found)),
        Paragraph(lead=say("Fastest"), text=_fastest(found)),
        *((Paragraph(lead=say("Law of groups"), text=_law(found)),) if found.law is not None else ()),
        _table(found),
    )


def _searched(found: CheckpointSearch) -> str:
    cell = found.cell
    return say(
        "{model}, {workload}, {precision}, attention {attention}, batch {batch}, context {context}: which groups of "
        "blocks hold the least, and what is fastest.",
        model=cell.model.name,
        workload=cell.workload,
        precision=cell.precision,
        attention=cell.attention,
        batch=cell.batch_size,
        context=cell.context_length,
    )


def _lowest(found: CheckpointSearch) -> str:
    if found.lowest is None:
        return say("No groups ran to their end.")
    names = [name for name in found.measured if name.startswith("every:")]
    place = names.index(found.lowest)
    near = [name for name in names[max(0, place - 1) : place + 2] if name != found.lowest]
    beside = listed(say("{name} {peak}", name=name, peak=_peak(found, name)) for name in near)
    predicted = f"every:{found.predicted_best}"
    expected = say("as predicted") if predicted == found.lowest else say("predicted was {name}", name=predicted)
    fields = {"lowest": found.lowest, "peak": _peak(found, found.lowest), "expected": expected}
    if not near:
        return say("{lowest} with {peak}, the only grouping ({expected}).", **fields)
    return say("{lowest} with {peak}; beside it {beside} ({expected}).", beside=beside, **fields)


def _fastest(found: CheckpointSearch) -> str:
    budget = None if found.budget_bytes is None else memory(found.budget_bytes)
    if found.fastest is None:
        if budget is None:
            return say("Nothing of what was measured runs.")
        return say("Nothing of what was measured runs within {budget}.", budget=budget)
    one = found.measured[found.fastest]
    time, peak = duration(one.seconds), memory(one.peak_bytes)
    if budget is None:
        return say("{name}: {time} with a peak of {peak}.", name=found.fastest, time=time, peak=peak)
    return say(
        "{name} within {budget}: {time} with a peak of {peak}.", name=found.fastest, budget=budget, time=time, peak=peak
    )


def _law(found: CheckpointSearch) -> str:
    return say(
        "There is no closed form of this cell, so two groups were measured first: by their peaks blocks in groups of "
        "{n} would hold the least, if they could be cut like that.",
        n=f"{found.law:.3g}",
    )


def _peak(found: CheckpointSearch, name: str) -> str:
    one = found.measured[name]
    return word(one.outcome) if one.peak_bytes is None else memory(one.peak_bytes)


def _table(found: CheckpointSearch) -> Table:
    whole = found.measured.get("none")
    return Table(
        caption=say("What was measured"),
        columns=(
            Column(name=word("checkpoint"), description=say("Which activations backward computes again.")),
            number_column(
                say("predicted peak"),
                description=say("By closed form, or by the law of groups where there is none."),
            ),
            number_column(say("peak"), description=say("Most bytes allocated in a step.")),
            number_column(say("error"), description=say("The prediction against what was measured.")),
            number_column(word("step"), description=say("Median time of a step.")),
            number_column(say("against none"), description=say("Time of the step over that without checkpointing.")),
            Column(name=say("fits"), description=say("Within the budget, or what the cell ended with.")),
        ),
        rows=tuple(
            (
                Cell(text=name),
                *_peaks(found.predicted.get(name), one),
                *_times(one, whole),
                Cell(text=_fits(found, one), is_failure=one.peak_bytes is None),
            )
            for name, one in found.measured.items()
        ),
        note=say("Groups that make as many of them as a smaller one hold more, and were not considered."),
    )


def _peaks(predicted: int | None, one: Measured) -> tuple[Cell, Cell, Cell]:
    error = predicted / one.peak_bytes - 1 if predicted is not None and one.peak_bytes else None
    return _bytes(predicted), _bytes(one.peak_bytes), GAP if error is None else Cell(text=change(error), sort=error)


def _times(one: Measured, whole: Measured | None) -> tuple[Cell, Cell]:
    if one.seconds is None:
        return GAP, GAP
    step = Cell(text=duration(one.seconds), sort=one.seconds)
    if whole is None or whole.seconds is None:
        return step, GAP
    return step, Cell(text=ratio(one.seconds / whole.seconds), sort=one.seconds / whole.seconds)


def _fits(found: CheckpointSearch, one: Measured) -> str:
    if one.peak_bytes is None:
        return word(one.outcome)
    return say("yes") if found.fits(one) else say("no")


def _bytes(number: int | None) -> Cell:
    return GAP if number is None else Cell(text=memory(number), sort=number)
