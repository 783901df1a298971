"""What a look inside one cell is called."""

from windtunnel.report.scope import WORKLOAD_NAMES
from windtunnel.spec.cell import Cell


def cell_label(cell: Cell) -> str:
    """Return the name of a cell, with what differs from its defaults."""
    named = {"model", "workload", "context_length", "batch_size", "precision", "attention", "device"}
    others = cell.model_dump(mode="json", exclude_defaults=True, exclude=named)
    parts = [
        cell.model.name,
        WORKLOAD_NAMES.get(cell.workload, cell.workload),
        f"context {cell.context_length}",
        f"batch {cell.batch_size}",
        cell.precision,
        cell.attention_name,
        *(f"{name} {value}" for name, value in others.items()),
    ]
    return " · ".join(parts)
