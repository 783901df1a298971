"""How much memory of the device a cell holds, and what is left of it afterwards."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from windtunnel.language import counted
from windtunnel.records.record import Memory

_MIB = 2**20
LEFTOVER_LIMIT_BYTES = {"cuda": 16 * _MIB, "cpu": 512 * _MIB}
"""More than this left over after a cell means a leak, and a new worker.

On a CPU the thread pools and the heap of the C library stay.
"""


def free_bytes(device: str) -> int:
    """Return what is free for a cell: on CUDA what the driver has left, once this process has its context."""
    if not device.startswith("cuda"):
        return psutil.virtual_memory().available
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return free


class MemoryMeter:
    """Memory of one device from here on: construct it before a cell is built."""

    def __init__(self, device: torch.device) -> None:
        """Note the starting level."""
        self._device = device
        self._start = self._level()
        self._built: int | None = None
        self._retries = 0
        self._has_peak = True
        self._apart = 0

    def set_apart(self, num_bytes: int) -> None:
        """Leave so many bytes, allocated since, out of what is read of the cell: they are not its own."""
        self._apart = num_bytes

    def mark_built(self) -> None:
        """Note the level of the built cell, and start looking for the peak."""
        self._built = self._level() - self._apart
        self._retries = self._all_retries()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._has_peak = _reset_resident_peak()

    def settled_bytes(self) -> int:
        """Return what stays allocated between two steps; on a CPU 0, as its resident set never stands still."""
        return self._level() if self._device.type == "cuda" else 0

    def warnings(self) -> tuple[str, ...]:
        """Say that since `mark_built` the allocator had to give memory back to the device before it got more."""
        count = self._all_retries() - self._retries
        if not count:
            return ()
        return (f"memory was so short that the allocator emptied its cache {counted(count, 'time')}: times hold it",)

    def read(self) -> Memory:
        """Return the levels and the peak since `mark_built`."""
        if self._device.type == "cuda":
            return Memory(
                built_bytes=self._built,
                peak_bytes=torch.cuda.max_memory_allocated(self._device) - self._apart,
                peak_reserved_bytes=torch.cuda.max_memory_reserved(self._device) - self._apart,
                capacity_bytes=torch.cuda.get_device_properties(self._device).total_memory,
                source="CUDA caching allocator",
            )
        peak = _resident_peak() if self._has_peak else None
        return Memory(
            built_bytes=self._built,
            peak_bytes=None if peak is None else peak - self._apart,
            peak_reserved_bytes=None,
            capacity_bytes=psutil.virtual_memory().total,
            source="resident set of the worker process",
        )

    def begin_phase(self) -> None:
        """Start looking for the peak anew."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def end_phase(self) -> tuple[int, int] | None:
        """Return the bytes held now, and the most since `begin_phase`, both beyond the start; None on a CPU."""
        if self._device.type != "cuda":
            return None
        return self._level() - self._start, torch.cuda.max_memory_allocated(self._device) - self._start

    def leftover(self) -> int:
        """Free what can be freed and return how many bytes more than at the start are still held."""
        gc.collect()
        if self._device.type == "cuda":
            # cuBLAS keeps 32 MiB and more for each handle, in the same allocator; torch's own CUDA graphs clear
            # them by this call before they compare memory levels.
            torch._C._cuda_clearCublasWorkspaces()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
            torch.cuda.empty_cache()
        else:
            with suppress(OSError, AttributeError):  # only glibc has it; without it the level reads higher
                ctypes.CDLL("libc.so.6").malloc_trim(0)
        return max(0, self._level() - self._start)

    def _all_retries(self) -> int:
        return torch.cuda.memory_stats(self._device).get("num_alloc_retries", 0) if self._device.type == "cuda" else 0

    def _level(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return psutil.Process().memory_info().rss


def _reset_resident_peak() -> bool:
    """Set the kernel's high-water mark of this process to its present level; False where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): 5 resets VmHWM
    except OSError:
        return False
    return True


def _resident_peak() -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
