"""What one block keeps for backward, and what fusing, flash attention and checkpointing would each remove."""

from collections.abc import Iterator

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.residuals import Residuals, residuals
from windtunnel.language import counted
from windtunnel.report.document import Block, Cell, Column, Paragraph, Table
from windtunnel.report.measures import number_column
from windtunnel.units import PERCENT, mebibytes_scale, memory, percent

_REMEDIES = {
    "flash attention": "flash attention, which computes scores again",
    "fusing": "fusing at most, which computes element-wise results and norms again",
    "checkpointing": "checkpointing every block, which keeps only what it hands on",
}


def residual_blocks(view: LedgerView) -> Iterator[Block]:
    """Yield a sentence and the five largest tensors of the block that keeps most; nothing where none is known."""
    found = residuals(view)
    if found is None:
        return
    yield Paragraph(text=_said(found))
    size = mebibytes_scale(tensor.size for tensor in found.largest)
    yield Table(
        caption=f"The largest tensors that {found.block} keeps for backward",
        columns=(
            Column(name="made by"),
            Column(name="in"),
            Column(name="tensor"),
            number_column("bytes", size.unit),
            number_column("of the block", PERCENT.unit),
            Column(name="kept for", description="Operations whose backward reads it."),
            Column(name="removed by"),
        ),
        rows=tuple(
            (
                Cell(text=tensor.label.operation),
                Cell(text=tensor.label.module.removeprefix(found.block).removeprefix(".") or "the block itself"),
                Cell(text=tensor.label.tensor),
                Cell(text=size.text(tensor.size)),
                Cell(text=PERCENT.text(tensor.size / found.total)),
                Cell(text=", ".join(filter(None, tensor.label.saved_for))),
                Cell(text=", ".join(tensor.remedies)),
            )
            for tensor in found.largest
        ),
    )


def _said(found: Residuals) -> str:
    removed = "; ".join(
        f"{name}: {memory(size)} ({percent(size / found.total, 0)})"
        for remedy, name in _REMEDIES.items()
        if (size := found.removed_by(remedy))
    )
    most = "the most of" if found.num_blocks > 1 else "of"
    return (
        f"{found.block} keeps {memory(found.total)} for backward in {counted(len(found.tensors), 'tensor')}, {most} "
        f"{counted(found.num_blocks, 'block')}. What would remove how much of it: {removed or 'nothing'}."
    )
