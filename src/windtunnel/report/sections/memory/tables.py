"""The tables of one memory ledger: categories by moment, and what is held at the peak by block and by operation."""

from collections.abc import Sequence

from windtunnel.analysis.memory_ledger import CATEGORIES, LedgerView, Moment
from windtunnel.language import counted, say, word
from windtunnel.records.memory_ledger import Category, Label
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.units import PERCENT, mebibytes_scale

_OWNED = frozenset({Category.PARAMETERS, Category.OPTIMIZER, Category.INPUTS, Category.BUFFERS})
"""What is there before the step: it says nothing about where the step's own memory goes."""

_MOST_OPERATIONS = 12
_MOST_SITES = 12


def moments_table(view: LedgerView) -> Table:
    """Return a row for each category and one for all, a column for each moment."""
    moments = view.moments
    there = [category for category in CATEGORIES if any(category in moment.by_category for moment in moments)]
    size = mebibytes_scale(moment.total for moment in moments)
    peak = view.peak
    assert peak is not None
    columns = (
        Column(name=say("held for")),
        *(number_column(word(moment.name), size.unit) for moment in moments),
        number_column(say("at the peak"), PERCENT.unit, say("Share of all that is held when the step holds the most.")),
    )

    def row(category: Category) -> tuple[Cell, ...]:
        return (
            Cell(text=word(category.value)),
            *(
                Cell(text=size.text(moment.by_category[category])) if category in moment.by_category else GAP
                for moment in moments
            ),
            Cell(text=PERCENT.text(peak.by_category.get(category, 0) / peak.total)),
        )

    total = (
        Cell(text=say("all")),
        *(Cell(text=size.text(moment.total)) for moment in moments),
        Cell(text=PERCENT.text(1.0)),
    )
    return Table(caption=say("What is held, and when"), columns=columns, rows=(*map(row, there), total))


def shown_moments(view: LedgerView) -> tuple[Moment, ...]:
    """Return the moments that have tables by block and by operation.

    That is the peak, and the beginning of backward where the peak comes when most of what it had is gone again.
    """
    peak, before = view.peak, view.moment("before backward")
    assert peak is not None
    if before and 2 * _for_backward(peak) < _for_backward(before):
        return peak, before
    return (peak,)


def _for_backward(moment: Moment) -> int:
    return sum(moment.by_category.get(category, 0) for category in (Category.ACTIVATIONS, Category.SCORES))


def blocks_table(view: LedgerView, moment: Moment) -> Table | None:
    """Return what the step itself holds by block; equal neighbours share a row. None where no block is known."""
    held = view.held_by(moment.event, lambda label: (label.block, label.category))
    own = {(block, category): size for (block, category), size in held.items() if category not in _OWNED}
    order = {label.block: None for label in view.ledger.labels if label.block}
    blocks = sorted((block for block in order if any(key[0] == block for key in own)), key=_natural)
    if not blocks:
        return None
    there = [category for category in CATEGORIES if any((block, category) in own for block in ("", *blocks))]
    size = mebibytes_scale(own.values())
    rows = [(name, tuple(own.get((block, category), 0) for category in there)) for name, block in _named(blocks)]
    return Table(
        caption=say("Held at the peak, by block") if moment.is_peak else say("Held when backward begins, by block"),
        columns=(
            Column(name=say("block")),
            *(number_column(word(category.value), size.unit) for category in there),
            number_column(say("all"), size.unit),
        ),
        rows=tuple(
            (
                Cell(text=name),
                *(Cell(text=size.text(value)) if value else GAP for value in values),
                Cell(text=size.text(sum(values))),
            )
            for name, values in _joined(rows)
        ),
        note=say("Of each block where several hold the same. Without what was there before the step."),
    )


def operations_table(view: LedgerView, moment: Moment) -> Table | None:
    """Return the operations whose results take most, or None where none was seen."""

    def operation(label: Label) -> tuple[str, str, Category]:
        return (label.operation, label.kind.value, label.category)

    held = view.held_by(moment.event, operation)
    own = {key: size for key, size in held.items() if key[0] and key[2] not in _OWNED}
    if not own:
        return None
    size = mebibytes_scale(own.values())
    shown = list(own.items())[:_MOST_OPERATIONS]
    left = len(own) - len(shown)
    return Table(
        caption=say("Held at the peak, by the operation that made it")
        if moment.is_peak
        else say("Held when backward begins, by the operation that made it"),
        columns=(
            Column(name=say("operation")),
            Column(
                name=say("kind"),
                description=say("Whether it is a matrix product, attention, or works element by element."),
            ),
            Column(name=say("held for")),
            number_column(say("bytes"), size.unit),
            number_column(say("of all"), PERCENT.unit, say("Share of all that is held then, parameters included.")),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=word(kind)),
                Cell(text=word(category.value)),
                Cell(text=size.text(value)),
                Cell(text=PERCENT.text(value / moment.total)),
            )
            for (name, kind, category), value in shown
        ),
        note=say("{rows} left out.", rows=counted(left, "smaller row")) if left else "",
    )


def sites_table(view: LedgerView) -> Table:
    """Return the lines of code that take most at the peak: all that a snapshot of another program knows."""
    assert view.peak is not None
    held = view.held_by(view.peak.event, lambda label: (label.site, label.category))
    size = mebibytes_scale(held.values())
    shown = list(held.items())[:_MOST_SITES]
    left = len(held) - len(shown)
    return Table(
        caption=say("Held at the peak, by the line that made it"),
        columns=(Column(name=say("line")), Column(name=say("held for")), number_column(say("bytes"), size.unit)),
        rows=tuple(
            (Cell(text=site or say("not known")), Cell(text=word(category.value)), Cell(text=size.text(value)))
            for (site, category), value in shown
        ),
        note=say("{rows} left out.", rows=counted(left, "smaller row")) if left else "",
    )


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return what orders blocks.2 before blocks.10."""
    return tuple(("", int(part)) if part.isdecimal() else (part, 0) for part in name.split("."))


def _named(blocks: Sequence[str]) -> list[tuple[str, str]]:
    return [*((block, block) for block in blocks), (say("in no block"), "")]


def _joined(rows: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str, tuple[int, ...]]]:
    """Give neighbours with the same numbers one row, named by the first and the last of them."""
    runs: list[tuple[list[str], tuple[int, ...]]] = []
    for name, values in rows:
        if not any(values):
            continue
        if runs and runs[-1][1] == values:
            runs[-1][0].append(name)
        else:
            runs.append(([name], values))
    return [(_run_name(names), values) for names, values in runs]


def _run_name(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return say("{first} to {last} ({blocks})", first=names[0], last=names[-1], blocks=counted(len(names), "block"))
