"""What a look inside one cell is called."""

from windtunnel.language import say, word
from windtunnel.report.axes import workload_name
from windtunnel.spec.cell import Cell


def cell_label(cell: Cell) -> str:
    """Return the name of a cell, with what differs from its defaults."""
    named = {"model", "workload", "context_length", "batch_size", "precision", "attention", "device"}
    others = cell.model_dump(mode="json", exclude_defaults=True, exclude=named)
    parts = [
        cell.model.name,
        workload_name(cell.workload),
        say("context {value}", value=cell.context_length),
        say("batch {value}", value=cell.batch_size),
        cell.precision,
        word(cell.attention_name),
        *(say("{name} {value}", name=word(name), value=value) for name, value in others.items()),
    ]
    return " · ".join(parts)
