"""What a search of checkpointings found: the groups that hold the least, and the fastest that fits a budget."""

from windtunnel.analysis.checkpoints import checkpoint_searches
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
    return Section(heading="Checkpointing", blocks=tuple(block for one in found for block in _blocks(one)))


def _blocks(found: CheckpointSearch) -> tuple[Block, ...]:
    return (
        Paragraph(lead="Searched", text=_searched(found)),
        Paragraph(lead="Lowest peak", text=_lowest(found)),
        Paragraph(lead="Fastest", text=_fastest(found)),
        *((Paragraph(lead="Law of groups", text=_law(found)),) if found.law is not None else ()),
        _table(found),
    )


def _searched(found: CheckpointSearch) -> str:
    cell = found.cell
    return (
        f"{cell.model.name}, {cell.workload}, {cell.precision}, attention {cell.attention}, batch {cell.batch_size}, "
        f"context {cell.context_length}: which groups of blocks hold the least, and what is fastest."
    )


def _lowest(found: CheckpointSearch) -> str:
    if found.lowest is None:
        return "No groups ran to their end."
    names = [name for name in found.measured if name.startswith("every:")]
    place = names.index(found.lowest)
    beside = [f"{name} {_peak(found, name)}" for name in names[max(0, place - 1) : place + 2] if name != found.lowest]
    neighbours = f"; beside it {', '.join(beside)}" if beside else ", the only grouping"
    predicted = f"every:{found.predicted_best}"
    expected = "as predicted" if predicted == found.lowest else f"predicted was {predicted}"
    return f"{found.lowest} with {_peak(found, found.lowest)}{neighbours} ({expected})."


def _fastest(found: CheckpointSearch) -> str:
    budget = f" within {memory(found.budget_bytes)}" if found.budget_bytes is not None else ""
    if found.fastest is None:
        return f"Nothing of what was measured runs{budget}."
    one = found.measured[found.fastest]
    return f"{found.fastest}{budget}: {duration(one.seconds)} with a peak of {memory(one.peak_bytes)}."


def _law(found: CheckpointSearch) -> str:
    return (
        f"There is no closed form of this cell, so two groups were measured first: by their peaks a group of "
        f"{found.law:.3g} blocks would hold the least, if it could be cut like that."
    )


def _peak(found: CheckpointSearch, name: str) -> str:
    one = found.measured[name]
    return one.outcome if one.peak_bytes is None else memory(one.peak_bytes)


def _table(found: CheckpointSearch) -> Table:
    whole = found.measured.get("none")
    return Table(
        caption="What was measured",
        columns=(
            Column(name="checkpoint", description="Which activations backward computes again."),
            number_column("predicted peak", description="By closed form, or by the law of groups where there is none."),
            number_column("peak", description="Most bytes allocated in a step."),
            number_column("error", description="The prediction against what was measured."),
            number_column("step", description="Median time of a step."),
            number_column("against none", description="Time of the step over that without checkpointing."),
            Column(name="fits", description="Within the budget, or what the cell ended with."),
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
        note="Groups that make as many of them as a smaller one hold more, and were not considered.",
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
        return one.outcome
    return "yes" if found.fits(one) else "no"


def _bytes(number: int | None) -> Cell:
    return GAP if number is None else Cell(text=memory(number), sort=number)
