"""From a cell to what is measured."""

from windtunnel.bench.attention import build_attention
from windtunnel.bench.model_step import build_model_step
from windtunnel.bench.workload import Workload
from windtunnel.spec.cell import Cell


def build_workload(cell: Cell) -> Workload:
    """Build `cell` on its device: a model with its batch and optimizer, or attention alone with its inputs.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
        SpecError: The attention backend cannot be loaded.
    """
    return build_attention(cell) if cell.is_attention else build_model_step(cell)
