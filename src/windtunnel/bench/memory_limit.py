"""A limit on the memory that a cell may take: to rehearse a smaller device on a larger one, and out of memory on a CPU.

On CUDA it is a limit of the caching allocator, so what is outside of it (the context, libraries, other processes)
comes on top; on a real device of that size it does not. On a CPU the kernel limits the data segment of the process
(setrlimit, RLIMIT_DATA), which since Linux 4.7 counts private anonymous mappings too: all that an allocator asks for.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from windtunnel.errors import UnsupportedError
from windtunnel.units import memory


@contextmanager
def limited_memory(device: torch.device, limit_bytes: int | None) -> Iterator[None]:
    """Let this process take at most `limit_bytes` more of the device's memory than it has now; None: all there is.

    Raises:
        UnsupportedError: The device is smaller than that, or this system has no such limit.
    """
    if limit_bytes is None:
        yield
    elif device.type == "cuda":
        with _limited_cuda(device, limit_bytes):
            yield
    else:
        with _limited_host(limit_bytes):
            yield


def left_of_limit() -> int | None:
    """Return how much more host memory this process may take under its limit; None where it has none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - _data_bytes())


@contextmanager
def _limited_cuda(device: torch.device, limit_bytes: int) -> Iterator[None]:
    capacity = torch.cuda.get_device_properties(device).total_memory
    if limit_bytes > capacity:
        raise UnsupportedError(
            f"a memory limit of {memory(limit_bytes)} is more than the device has, {memory(capacity)}: ask for less"
        )
    torch.cuda.empty_cache()  # what is cached from before counts too
    torch.cuda.set_per_process_memory_fraction(limit_bytes / capacity, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@contextmanager
def _limited_host(limit_bytes: int) -> Iterator[None]:
    if sys.platform != "linux":
        raise UnsupportedError(f"a memory limit on a CPU needs Linux; this is {sys.platform}: use a CUDA device there")
    _load_once()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _load_once() -> None:
    """Load what is loaded on first use, threads and modules: it is none of the cell, and without room it ends badly.

    Products make the thread pools; the first parameter without a value (of an embedding) imports 70 MiB of torch.
    """
    ones = torch.ones(256, 256, requires_grad=True)
    (ones @ ones).sum().backward()
    torch.nn.Embedding(1, 1, device="meta")


def _data_bytes() -> int:
    """Return what counts against the limit now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise UnsupportedError("/proc/self/status has no VmData here, by which a memory limit is set: use a CUDA device")
