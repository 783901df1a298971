"""What a precision is in torch: its formats, the devices that have it, and the switches that a step sets for it."""

import torch

from windtunnel.errors import UnsupportedError
from windtunnel.spec.cell import Cell


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype that the table of precisions names."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype), name
    return dtype


def check_precision(cell: Cell, device: torch.device) -> None:
    """Refuse what the device would emulate or ignore: that would be another precision than the one asked for.

    Raises:
        UnsupportedError: The device does not have the precision of `cell`.
    """
    if cell.precision == "tf32" and device.type != "cuda":
        raise UnsupportedError(f"precision 'tf32' is a mode of NVIDIA tensor cores; {device.type} has none: use fp32")
    if device.type != "cuda":
        return
    major, minor = torch.cuda.get_device_capability(device)
    if cell.precision in {"tf32", "bf16", "bf16-pure"} and major < 8:
        raise UnsupportedError(
            f"precision {cell.precision!r} needs compute capability 8.0; {cell.device} has {major}.{minor}"
        )


def begin_step(*, uses_tf32: bool, is_compiled: bool) -> None:
    """Set what is global to the process as this cell wants it; cells of two precisions may take turns."""
    # "high" is the documented switch for TF32 products.
    torch.set_float32_matmul_precision("high" if uses_tf32 else "highest")
    if is_compiled:  # else it would import Inductor and its CUDA graphs for nothing
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the step before are no longer needed
