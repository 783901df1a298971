"""The memory ledgers of a machine: one row for each, then each in sentences, tables and a chart."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from windtunnel.analysis.memory_ledger import CATEGORIES, Closing, Kept, LedgerView, Moment
from windtunnel.language import alternatives, counted, listed, passage, say, word
from windtunnel.records.memory_ledger import DeviceLevels, MemoryLedger
from windtunnel.report.anchors import keyed
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.cell_label import cell_label
from windtunnel.report.sections.failures import stage_name
from windtunnel.report.sections.memory.chart import chart
from windtunnel.report.sections.memory.residuals import residual_blocks
from windtunnel.report.sections.memory.tables import (
    blocks_table,
    moments_table,
    operations_table,
    shown_moments,
    sites_table,
)
from windtunnel.units import PERCENT, mebibytes_scale, memory, percent

MOST_DETAILED = 8
"""Ledgers that have tables and a chart of their own; the others have their row."""

_MOMENTS = ("forward peak", "loss peak", "before backward", "backward peak", "optimizer peak")

_CLOSES = 0.005
"""A ledger that leaves out more than this share of what was counted says so in a warning."""


def memory_ledger(scope: Scope) -> Section | None:
    """Return the ledgers of a scope; None where it has none."""
    if not scope.ledgers:
        return None
    keys = [scope.look_key("memory", stored) for stored in scope.ledgers if stored.look.cell]
    return keyed(ledgers_section([stored.look for stored in scope.ledgers]), say("Memory by phase"), keys)


def ledgers_section(ledgers: Sequence[MemoryLedger]) -> Section:
    """Return a row for each ledger, and the latest ones in full."""
    views = [LedgerView(ledger) for ledger in ledgers]
    explained = say(
        "One step of each cell, watched in a pass of its own that is not timed: every allocation and free, in the "
        "order in which they happened. Peaks are the most held at once in a phase; before backward is a level. An "
        "allocation counts once, under what it became: a result that ends as a gradient is one from the beginning."
    )
    blocks: list[Block] = [Paragraph(text=explained)]
    if measured := [view for view in views if view.ledger.cell]:
        blocks.append(_summary(measured))
    detailed = views[-MOST_DETAILED:]
    for view in detailed:
        blocks += _detail(view)
    if left := len(views) - len(detailed):
        blocks.append(Paragraph(text=say("{ledgers} in the table above only.", ledgers=counted(left, "older ledger"))))
    return Section(heading=say("Memory ledger"), blocks=tuple(blocks))


def ledger_label(ledger: MemoryLedger) -> str:
    """Return the name of the cell, with what differs from its defaults."""
    return cell_label(ledger.cell) if ledger.cell else say("snapshot")


def _summary(views: Sequence[LedgerView]) -> Table:
    """Return a row for each ledger; nothing in it is called a peak that is not one."""
    shown = [name for name in _MOMENTS if any(view.moment(name) for view in views)]
    device = [view.ledger.device for view in views if view.ledger.device]
    has_reserve = any(one.peak_reserved_bytes is not None for one in device)
    size = mebibytes_scale(
        [moment.total for view in views for name in shown if (moment := view.moment(name))]
        + [one.peak_allocated_bytes for one in device]
    )
    size = replace(size, decimals=max(2, size.decimals)) if size.unit == "GiB" else size
    columns: list[Column] = [
        Column(name=say("cell")),
        *(number_column(word(name), size.unit) for name in shown),
        number_column(
            say("allocator's peak"), size.unit, say("The most given out during the step, by the allocator's count.")
        ),
        number_column(say("attributed"), "%", say("Share of the allocator's peak that the ledger has a use for.")),
    ]
    if has_reserve:
        columns += [
            number_column(say("reserved"), size.unit, say("The most that the allocator held of the device.")),
            number_column(
                say("cached"), size.unit, say("Of it, at the step's peak: free, in pieces of which nothing is in use.")
            ),
            number_column(
                say("fragmented"), size.unit, say("Of it, at the step's peak: free, in pieces that are in use.")
            ),
        ]
    columns += [
        number_column(say("capacity"), size.unit, say("Memory of the device, or of the host.")),
        number_column(say("external"), size.unit, say("In use by others: context, libraries, other processes.")),
    ]

    def cells(view: LedgerView) -> Iterator[Cell]:
        yield Cell(text=ledger_label(view.ledger))
        for name in shown:
            moment = view.moment(name)
            yield Cell(text=size.text(moment.total)) if moment else _missing(view)
        levels, closing = view.ledger.device, view.closing
        yield Cell(text=size.text(levels.peak_allocated_bytes)) if levels else GAP
        share = closing.attributed / closing.measured if closing and closing.measured else None
        yield Cell(text=PERCENT.text(share))
        if has_reserve:
            cached, fragmented = _free_pieces(levels)
            yield Cell(text=size.text(levels.peak_reserved_bytes if levels else None))
            yield Cell(text=size.text(cached))
            yield Cell(text=size.text(fragmented))
        yield Cell(text=size.text(levels.capacity_bytes if levels else None))
        yield Cell(text=size.text(levels.external_bytes if levels else None))

    sources = alternatives(dict.fromkeys(word(one.source) for one in device))
    return Table(
        caption=say("Memory by phase"),
        columns=tuple(columns),
        rows=tuple(tuple(cells(view)) for view in views),
        note=say("The allocator: {sources}.", sources=sources) if sources else "",
    )


def _missing(view: LedgerView) -> Cell:
    return Cell(text=word(view.ledger.status.value), is_failure=True) if view.ledger.failure else GAP


def _free_pieces(levels: DeviceLevels | None) -> tuple[int | None, int | None]:
    """Return what was cached and what was fragmented at the peak; all of it is cached where fragments are not known."""
    if levels is None or levels.reserved_at_peak_bytes is None:
        return None, None
    free = levels.reserved_at_peak_bytes - levels.peak_allocated_bytes - levels.before_bytes
    fragmented = levels.fragmented_at_peak_bytes
    return max(0, free - (fragmented or 0)), fragmented


def _detail(view: LedgerView) -> Iterator[Block]:
    ledger = view.ledger
    if view.peak:
        yield Paragraph(lead=ledger_label(ledger), text=_answer(view, view.peak))
    if ledger.failure:
        text = say("{what}: {text}", what=ledger_label(ledger), text=_failed(view))
        yield Callout(kind=CalloutKind.FAILURE, text=text)
    for kept in view.kept:
        yield Callout(kind=CalloutKind.WARNING, text=_outlives(kept))
    closing = view.closing
    if ledger.cell and closing and abs(closing.gap_share) > _CLOSES:
        yield Callout(kind=CalloutKind.WARNING, text=_open(closing))
    for warning in ledger.warnings:
        yield Callout(kind=CalloutKind.WARNING, text=warning)
    if view.peak:
        yield moments_table(view)
        if ledger.cell is None:
            yield sites_table(view)
        for moment in shown_moments(view):
            yield from filter(None, (blocks_table(view, moment), operations_table(view, moment)))
        yield from filter(None, (chart(view, ledger_label(ledger)),))
        yield from residual_blocks(view)


def _outlives(kept: Kept) -> str:
    times = (counted(kept.count, "allocation"),) if kept.count > 1 else ()
    what = listed((kept.tensor, *times)) if kept.tensor or times else ""
    made = say("made in {site}", site=kept.site) if kept.site else say("where it was made was not seen")
    return say(
        "{memory} outlive the step and belong to none of the model, its optimizer and its inputs: {made}.",
        memory=memory(kept.size),
        made=say("{what} ({more})", what=made, more=what) if what else made,
    )


def _answer(view: LedgerView, peak: Moment) -> str:
    """Say in sentences what is held at the peak."""
    ledger, capacity = view.ledger, view.ledger.device.capacity_bytes if view.ledger.device else None
    shares = sorted(peak.by_category.items(), key=lambda item: (-item[1], CATEGORIES.index(item[0])))
    parts = [_share(word(category.value), size / peak.total) for category, size in shares[:4]]
    if rest := sum(size for _, size in shares[4:]):
        parts.append(_share(say("everything else"), rest / peak.total))
    size = memory(peak.total)
    held = say("{size} of {capacity}", size=size, capacity=memory(capacity)) if capacity else size
    said = [_at_peak(view, held, listed(parts))]
    if view.closing and ledger.cell:
        said.append(_closed(view.closing))
    if not ledger.is_watched and ledger.cell:
        said.append(
            say(
                "Compiled code is not watched operation by operation: its memory is named by its owner, or by whether "
                "it lives until backward, and scores are not told apart."
            )
        )
    return passage(said)


def _share(name: str, fraction: float) -> str:
    return say("{name} {share}", name=name, share=percent(fraction))


def _at_peak(view: LedgerView, held: str, shares: str) -> str:
    phase = word(view.peak_phase)
    match bool(view.ledger.failure), bool(view.ledger.cell):
        case True, True:
            return say(
                "When it held the most until it failed, in {phase}, the step has {held}: {shares}.",
                phase=phase,
                held=held,
                shares=shares,
            )
        case True, False:
            return say(
                "When it held the most until it failed, the step has {held}: {shares}.", held=held, shares=shares
            )
        case False, True:
            return say("At its peak, in {phase}, the step has {held}: {shares}.", phase=phase, held=held, shares=shares)
        case _:
            return say("At its peak, the step has {held}: {shares}.", held=held, shares=shares)


def _closed(closing: Closing) -> str:
    if closing.gap == 0:
        return say(
            "The ledger closes: it has all {memory} that the allocator counted at its own peak.",
            memory=memory(closing.measured),
        )
    if closing.gap < 0:
        return say(
            "The allocator counted {memory} at its own peak; the ledger has {gap} more, {share}.",
            memory=memory(closing.measured),
            gap=memory(-closing.gap),
            share=percent(-closing.gap_share, 3),
        )
    return say(
        "The allocator counted {memory} at its own peak; all but {gap} ({share}) is attributed.",
        memory=memory(closing.measured),
        gap=memory(closing.gap),
        share=percent(closing.gap_share, 3),
    )


def _open(closing: Closing) -> str:
    return say(
        "The ledger does not close: it has {attributed} of the {measured} that the allocator counted; {gap} are not "
        "attributed.",
        attributed=memory(closing.attributed),
        measured=memory(closing.measured),
        gap=memory(closing.gap),
    )


def _failed(view: LedgerView) -> str:
    """Say where it failed, what was asked for and free, and what was held then."""
    ledger, failure = view.ledger, view.ledger.failure
    assert failure is not None
    where = listed(stage_name(name) for name in (failure.stage, failure.phase) if name)
    asked = (
        say(
            "{asked} asked for, {free} free.",
            asked=memory(failure.requested_bytes),
            free=memory(failure.free_bytes),
        )
        if failure.requested_bytes is not None
        else say("{message}.", message=failure.message)
    )
    moment = view.moment("at the failure")
    held = say("Then it held {memory}; the tables end there.", memory=memory(moment.total)) if moment else ""
    return passage((say("{status} in {where}.", status=word(ledger.status.value), where=where), asked, held))
