"""The program of a cell of either kind, kept for the next question about the same cell."""

from functools import lru_cache

from windtunnel.cost.attention_program import attention_program_of
from windtunnel.cost.program import Program, program_of
from windtunnel.spec.cell import Cell


@lru_cache(maxsize=1)
def cell_program(cell: Cell, optimizer: str) -> Program:
    """Return the program of a step of `cell`; memory and time are asked of one cell after another.

    Raises:
        UnsupportedError: There is no closed form of it.
    """
    return attention_program_of(cell) if cell.is_attention else program_of(cell, optimizer=optimizer)
