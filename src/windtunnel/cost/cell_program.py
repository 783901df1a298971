"""The program of a cell of either kind, kept for the next question about the same cell."""

from functools import lru_cache

from windtunnel.cost.attention_program import attention_program_of
from windtunnel.cost.layout import Layout, check_layout
from windtunnel.cost.program import Program, program_of
from windtunnel.spec.cell import Cell


def cell_program(cell: Cell, optimizer: str, layout: Layout) -> Program:
    """Return the program of a step of `cell`; memory and time are asked of one cell right after the other.

    Raises:
        SpecError: It cannot be laid out so.
        UnsupportedError: There is no closed form of it.
    """
    check_layout(cell, layout)
    return _program(cell, optimizer, layout)  # pyright: ignore[reportArgumentType]  # a frozen pydantic model has a hash


@lru_cache(maxsize=1)
def _program(cell: Cell, optimizer: str, layout: Layout) -> Program:
    return attention_program_of(cell) if cell.is_attention else program_of(cell, optimizer=optimizer, layout=layout)
