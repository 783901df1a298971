"""What the caching allocator of CUDA itself remembers: stacks, pieces of memory, and the snapshot for its viewer."""

from pathlib import Path

import torch

from windtunnel.records.snapshot import TraceEntry, trace_of


class CudaHistory:
    """Has the allocator of one device remember what it does, from `start` to `stop`."""

    def __init__(self, device: torch.device) -> None:
        """Say which device."""
        self._device = device

    def start(self) -> None:
        """Begin, with nothing remembered of before."""
        torch.cuda.memory._record_memory_history(  # pyright: ignore[reportPrivateUsage]
            "all", context="alloc", stacks="python", device=self._device, clear_history=True
        )

    def stop(self, file: Path | None) -> tuple[TraceEntry, ...]:
        """Stop, write the snapshot for the public viewer where a file is named, and return what was remembered."""
        memory = torch.cuda.memory
        snapshot = memory._snapshot(self._device)  # pyright: ignore[reportPrivateUsage]
        if file is not None:
            memory._dump_snapshot(str(file))  # pyright: ignore[reportPrivateUsage]
        memory._record_memory_history(None, device=self._device)  # pyright: ignore[reportPrivateUsage]
        return trace_of(snapshot, self._device.index or 0)
