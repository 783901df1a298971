"""Why a cell failed: an error becomes the status and the failure of its row."""

import re
import traceback

import psutil
import torch

from windtunnel import units
from windtunnel.bench.memory_limit import left_of_limit
from windtunnel.errors import SpecError, UnsupportedError, WindtunnelError
from windtunnel.records.record import Failure, Status


def explain_error(error: BaseException, *, stage: str, phase: str | None, device: str) -> tuple[Status, Failure]:
    """Return what the row of a cell on `device` says of an error that ended it in `stage` and `phase`."""
    text = printable(str(error))
    if is_out_of_memory(error):
        free = _free_on_cuda(text) if device.startswith("cuda") else _free_on_host()
        requested = _size_in(text, rf"[Tt]ried to allocate {_SIZE}")
        failure = Failure(
            stage=stage,
            phase=phase,
            message=f"{units.memory(requested)} asked for, {units.memory(free)} free" if requested else text,
            requested_bytes=requested,
            free_bytes=free,
            details=text,
        )
        return Status.OUT_OF_MEMORY, failure
    if isinstance(error, UnsupportedError | SpecError):
        return Status.UNSUPPORTED, Failure(stage=stage, phase=phase, message=text)
    return Status.FAILED, Failure(
        stage=stage,
        phase=phase,
        message=text if isinstance(error, WindtunnelError) else f"{type(error).__name__}: {text}",
        details=printable("".join(traceback.format_exception(error))),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory could not be had; only torch's CUDA allocator has a type of its own."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
)
"""What is said where memory was asked for beside torch's CUDA allocator: by libraries, on their first use mostly."""


def printable(text: str) -> str:
    """Return the text with lone surrogates written out: JSON and SQLite cannot hold them."""
    return text.encode(errors="backslashreplace").decode()


def _free_on_cuda(text: str) -> int | None:
    """Return what was free for the request: of the device, or of what a limit allows where that is less."""
    free = _size_in(text, rf"of which {_SIZE} is free")
    allowed = _size_in(text, rf"{_SIZE} allowed")
    taken = [
        _size_in(text, pattern)
        for pattern in (rf"Of the allocated memory {_SIZE} is", rf"{_SIZE} is reserved by PyTorch")
    ]
    known = [size for size in taken if size is not None]
    if free is None or allowed is None or len(known) < len(taken):
        return free
    return min(free, max(0, allowed - sum(known)))


def _free_on_host() -> int:
    """Return what was free for the request: of the host, or of what a limit allows where that is less."""
    left, available = left_of_limit(), psutil.virtual_memory().available
    return available if left is None else min(left, available)


_SIZE = r"([\d.]+ \w+)"
_SIZE_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _size_in(text: str, pattern: str) -> int | None:
    """Read a size out of an allocator's message, its only source; None where the wording is another."""
    found = re.search(pattern, text)
    if not found:
        return None
    number, unit = found.group(1).split()
    return round(float(number) * _SIZE_UNITS[unit]) if unit in _SIZE_UNITS else None
