"""How long a sequence each backend can take before memory runs out."""

from collections.abc import Sequence

from windtunnel.analysis.attention import Frontier, frontiers
from windtunnel.language import counted, passage, say
from windtunnel.report.axes import SEQ
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import stage_name
from windtunnel.units import NOT_KNOWN, memory


def frontier(scope: Scope) -> Section | None:
    """Return the longest that ran and the shortest that did not; None where one length was asked for."""
    found = frontiers(scope.rows)
    if SEQ not in scope.axes and not any(one.out for one in found):
        return None
    if not any(one.out for one in found):
        return Section(heading=say("Out of memory"), blocks=(Paragraph(text=_all_fit(scope)),))
    capacity = scope.environment.device_memory_bytes
    blocks: list[Block] = [
        Paragraph(
            text=say(
                "The longest sequence that was measured, and the shortest that ran out of memory, of each series of "
                "cells that differ in the length only. No length between them was tried."
            )
        ),
        _table(scope, found, capacity),
    ]
    blocks += [
        Callout(kind=CalloutKind.WARNING, text=_not_monotone(scope, one)) for one in found if not one.is_monotone
    ]
    return Section(heading=say("Out of memory"), blocks=tuple(blocks))


def _all_fit(scope: Scope) -> str:
    longest = max((row.cell.context_length for row in scope.measured), default=None)
    if longest is None:
        return say("No cell was measured, and none ran out of memory.")
    fit = say("All fit: no cell ran out of memory, up to sequences of {length}.", length=longest)
    others = say("{cells} failed otherwise.", cells=counted(len(scope.failed), "cell")) if scope.failed else ""
    return passage((fit, others))


def _table(scope: Scope, found: Sequence[Frontier], capacity: int | None) -> Table:
    has_others = any(one.others for one in found)
    columns: list[Column] = [
        *scope.columns(without=(SEQ,)),
        number_column(say("longest that ran")),
        number_column(say("shortest that ran out")),
        Column(name=say("in"), description=say("The phase, or the stage, in which memory ran out.")),
        number_column(say("asked for"), description=say("Bytes of the request that failed.")),
        number_column(say("free"), description=say("Bytes that were free then.")),
    ]
    columns += [number_column(say("other failures"))] if has_others else []
    return Table(
        caption=say("Longest sequences in {memory}", memory=memory(capacity)) if capacity else say("Longest sequences"),
        columns=tuple(columns),
        rows=tuple(
            (
                *scope.cells(one.rows[0], without=(SEQ,)),
                _length(one.longest.cell.context_length if one.longest else None, say("none")),
                _length(one.out.cell.context_length if one.out else None, say("all fit") if one.longest else NOT_KNOWN),
                *_failure(one),
                *([Cell(text=str(one.others))] if has_others else []),
            )
            for one in found
        ),
    )


def _length(length: int | None, otherwise: str) -> Cell:
    return Cell(text=otherwise) if length is None else Cell(text=str(length))


def _failure(one: Frontier) -> tuple[Cell, Cell, Cell]:
    failure = one.out.record.failure if one.out else None
    if failure is None:
        return Cell(text=NOT_KNOWN), GAP, GAP
    return (
        Cell(text=stage_name(failure.phase or failure.stage)),
        Cell(text=memory(failure.requested_bytes), sort=failure.requested_bytes),
        Cell(text=memory(failure.free_bytes), sort=failure.free_bytes),
    )


def _not_monotone(scope: Scope, one: Frontier) -> str:
    assert one.out is not None
    assert one.longest is not None
    return say(
        "{cell} ran out of memory, and {longest} of the same series did not: the memory was not this cell's alone. "
        "What else held it was not measured; measure it again on an idle device.",
        cell=scope.label(one.out),
        longest=scope.phrase(SEQ, one.longest),
    )
