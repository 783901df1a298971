"""What a precision is in torch: its formats, and the switches that a step sets for it."""

import torch


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype that the table of precisions names."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype), name
    return dtype


def begin_step(*, uses_tf32: bool, is_compiled: bool) -> None:
    """Set what is global to the process as this cell wants it; cells of two precisions may take turns."""
    # "high" is the documented switch for TF32 products.
    torch.set_float32_matmul_precision("high" if uses_tf32 else "highest")
    if is_compiled:  # else it would import Inductor and its CUDA graphs for nothing
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the step before are no longer needed
