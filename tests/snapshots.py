"""A memory snapshot in the structure that PyTorch documents, of a device with two pieces of memory."""

from typing import Any

MIB = 2**20

LIBRARY = {"filename": "/env/lib/python3.11/site-packages/torch/nn/modules/linear.py", "line": 5, "name": "forward"}
MINE = {"filename": "/home/me/mine.py", "line": 12, "name": "attend"}
NATIVE = {"filename": "??", "line": 0, "name": "at::empty_cuda"}

STACK = [NATIVE, LIBRARY, MINE]


def entry(action: str, addr: int, size: int, frames: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return one entry of a trace."""
    return {"action": action, "addr": addr, "size": size, "stream": 0, "frames": frames or [], "time_us": 1}


def planted_snapshot() -> dict[str, Any]:
    """Return a snapshot: 20 MiB and 2 MiB taken, 12 MiB given out of the first, all of the second, which is let go."""
    first, second = 0x7F0000000000, 0x7F0010000000
    trace = [
        entry("segment_alloc", first, 20 * MIB),
        entry("alloc", first, 12 * MIB - 100, STACK),
        entry("segment_alloc", second, 2 * MIB),
        entry("alloc", second, 2 * MIB, [LIBRARY]),
        entry("free_requested", second, 2 * MIB),
        entry("free_completed", second, 2 * MIB),
        entry("alloc", first + 12 * MIB, 512, STACK),
        {"action": "oom", "size": 100 * MIB, "stream": 0, "frames": [], "device_free": 3 * MIB},
    ]
    return {"segments": [], "device_traces": [[], trace], "allocator_settings": {"backend": "native"}}
