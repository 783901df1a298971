"""Why a cell failed: an error becomes the status and the failure of its row."""

import re
import traceback

import psutil
import torch

from windtunnel import units
from windtunnel.errors import SpecError, UnsupportedError, WindtunnelError
from windtunnel.records.record import Failure, Status


def explain_error(error: BaseException, *, stage: str, phase: str | None, device: str) -> tuple[Status, Failure]:
    """Return what the row of a cell on `device` says of an error that ended it in `stage` and `phase`."""
    text = printable(str(error))
    if is_out_of_memory(error):
        on_cuda = device.startswith("cuda")
        free = _size_in(text, r"of which ([\d.]+ \w+) is free") if on_cuda else psutil.virtual_memory().available
        requested = _size_in(text, r"[Tt]ried to allocate ([\d.]+ \w+)")
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
    """Tell whether an error says that memory could not be had; torch's CPU allocator has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def printable(text: str) -> str:
    """Return the text with lone surrogates written out: JSON and SQLite cannot hold them."""
    return text.encode(errors="backslashreplace").decode()


_SIZE_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _size_in(text: str, pattern: str) -> int | None:
    """Read a size out of an allocator's message, its only source; None where the wording is another."""
    found = re.search(pattern, text)
    if not found:
        return None
    number, unit = found.group(1).split()
    return round(float(number) * _SIZE_UNITS[unit]) if unit in _SIZE_UNITS else None
