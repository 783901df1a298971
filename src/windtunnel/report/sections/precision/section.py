"""The looks at number formats of a machine: each in sentences, in tables, and as the loss of its first steps."""

from collections.abc import Iterator, Sequence

from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.report.anchors import keyed
from windtunnel.report.document import Block, Callout, CalloutKind, Paragraph, Section
from windtunnel.report.scope import Scope
from windtunnel.report.sections.cell_label import cell_label
from windtunnel.report.sections.failures import stage_name
from windtunnel.report.sections.precision.curves import curve_blocks
from windtunnel.report.sections.precision.sentences import answer, numbers_answer, overflow_texts
from windtunnel.report.sections.precision.speed import speed_table
from windtunnel.report.sections.precision.summary import summary_table
from windtunnel.report.sections.precision.tables import (
    components_table,
    errors_table,
    gradients_table,
    losses_table,
    operations_table,
)

MOST_DETAILED = 8
"""Looks that are shown; older ones are counted."""


def precision(scope: Scope) -> Section | None:
    """Return the formats that were seen on this machine, and how fast precisions are against fp32."""
    looks = _looks(scope)
    speed = speed_table(scope.comparisons)
    if not looks and speed is None:
        return None
    blocks: list[Block] = []
    if looks:
        blocks += looks_blocks(looks)
    if speed:
        blocks.append(speed)
    section = Section(heading=say("Number formats"), blocks=tuple(blocks))
    keys = [scope.look_key("formats", stored) for stored in scope.precision_looks]
    return keyed(section, say("Precisions beside one another"), keys)


def precision_operations(scope: Scope) -> Section | None:
    """Return the formats of each kind of operation."""
    looks = _looks(scope)[-MOST_DETAILED:]
    tables = tuple(operations_table(look, look_label(look)) for look in looks if look.formats)
    return Section(heading=say("Number formats by operation"), blocks=tables, is_detail=True) if tables else None


def _looks(scope: Scope) -> list[PrecisionLook]:
    """Return the looks at formats; those at numbers only belong to the search that asked for them."""
    return [stored.look for stored in scope.precision_looks if not stored.look.request.is_numerics_only]


def look_label(look: PrecisionLook) -> str:
    """Return the name of what was looked at."""
    label = cell_label(look.request.cell)
    return say("{cell} · loss {loss}", cell=label, loss=look.request.loss) if look.request.loss else label


def looks_blocks(looks: Sequence[PrecisionLook]) -> Iterator[Block]:
    """Yield all blocks of the latest looks."""
    yield Paragraph(
        text=say(
            "One step of each cell, watched operation by operation in a pass of its own that is not timed. A dtype is "
            "that of the tensor that was there, not what a rule says should be. TF32 is a mode of products and no "
            "dtype: the flags in force stand beside them."
        )
    )
    shown = looks[-MOST_DETAILED:]
    if len(shown) > 1:
        yield summary_table(shown, [look_label(look) for look in shown])
    for look in shown:
        yield from _detail(look)
    if left := len(looks) - len(shown):
        yield Paragraph(
            text=say("{looks} left out; asked for again, they come first.", looks=counted(left, "older look"))
        )


def _detail(look: PrecisionLook) -> Iterator[Block]:
    label = look_label(look)
    if look.formats:
        yield Paragraph(lead=label, text=answer(look))
    if look.failure:
        failure = look.failure
        text = say(
            "{cell}: {status} in {where}: {message}.",
            cell=label,
            status=word(look.status.value),
            where=listed(stage_name(name) for name in (failure.stage, failure.phase) if name),
            message=failure.message,
        )
        found = say("What was found before it stands below.") if look.formats else ""
        yield Callout(kind=CalloutKind.FAILURE, text=passage((text, found)))
    for text in overflow_texts(look):
        yield Callout(kind=CalloutKind.WARNING, text=text)
    for warning in look.warnings:
        yield Callout(kind=CalloutKind.WARNING, text=say("{what}: {text}", what=label, text=warning))
    if look.formats:
        yield components_table(look)
    if look.numerics:
        yield Paragraph(text=numbers_answer(look.numerics, look.request.cell))
        yield errors_table(look.numerics)
        yield from filter(None, (losses_table(look.numerics), gradients_table(look.numerics)))
    if look.curves:
        yield from curve_blocks(look.curves, look.request.cell.precision, label)
