"""What one block keeps for backward, and what fusing, flash attention and checkpointing would each remove."""

from collections.abc import Iterator

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.residuals import Residuals, residuals
from windtunnel.language import apart, counted, listed, passage, say, word
from windtunnel.report.document import Block, Cell, Column, Paragraph, Table
from windtunnel.report.measures import number_column
from windtunnel.units import PERCENT, mebibytes_scale, memory, percent


def residual_blocks(view: LedgerView) -> Iterator[Block]:
    """Yield a sentence and the five largest tensors of the block that keeps most; nothing where none is known."""
    found = residuals(view)
    if found is None:
        return
    yield Paragraph(text=_said(found))
    size = mebibytes_scale(tensor.size for tensor in found.largest)
    yield Table(
        caption=say("The largest tensors that {block} keeps for backward", block=found.block),
        columns=(
            Column(name=say("made by")),
            Column(name=say("in")),
            Column(name=say("tensor")),
            number_column(say("bytes"), size.unit),
            number_column(say("of the block"), PERCENT.unit),
            Column(name=say("kept for"), description=say("Operations whose backward reads it.")),
            Column(name=say("removed by")),
        ),
        rows=tuple(
            (
                Cell(text=tensor.label.operation),
                Cell(text=tensor.label.module.removeprefix(found.block).removeprefix(".") or say("the block itself")),
                Cell(text=tensor.label.tensor),
                Cell(text=size.text(tensor.size)),
                Cell(text=PERCENT.text(tensor.size / found.total)),
                Cell(text=listed(filter(None, tensor.label.saved_for))),
                Cell(text=listed(map(word, tensor.remedies))),
            )
            for tensor in found.largest
        ),
    )


def _said(found: Residuals) -> str:
    remedies = {
        "flash attention": say("flash attention, which computes scores again"),
        "fusing": say("fusing at most, which computes element-wise results and norms again"),
        "checkpointing": say("checkpointing every block, which keeps only what it hands on"),
    }
    removed = apart(
        say("{what}: {size} ({share})", what=name, size=memory(size), share=percent(size / found.total, 0))
        for remedy, name in remedies.items()
        if (size := found.removed_by(remedy))
    )
    fields = {
        "block": found.block,
        "memory": memory(found.total),
        "tensors": counted(len(found.tensors), "tensor"),
        "blocks": counted(found.num_blocks, "block"),
    }
    kept = (
        say("{block} keeps {memory} for backward in {tensors}, the most of {blocks}.", **fields)
        if found.num_blocks > 1
        else say("{block} keeps {memory} for backward in {tensors}, of {blocks}.", **fields)
    )
    would = say("What would remove how much of it: {remedies}.", remedies=removed or say("nothing"))
    return passage((kept, would))
