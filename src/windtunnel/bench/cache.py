"""A cache that holds nothing of the step before, for steps that are to begin with a cold one."""

from pathlib import Path

import psutil
import torch

from windtunnel.bench.clock import Clock

_UNKNOWN_CACHE_BYTES = 32 * 2**20
"""Taken for a CPU whose caches the kernel does not describe."""

_FACTOR = 2
"""A cache that does not simply drop the oldest line has nothing left of before when twice its size was written."""

_CPUS = Path("/sys/devices/system/cpu")


class CacheFlush:
    """A buffer of twice the size of the device's last cache, which is written to push everything else out."""

    def __init__(self, device: torch.device) -> None:
        """Allocate the buffer and write it once: a CPU's memory is taken when it is written."""
        self.num_bytes = _FACTOR * last_cache_bytes(device)
        self._buffer = torch.zeros(self.num_bytes, dtype=torch.uint8, device=device)
        self.flush()

    def flush(self) -> None:
        """Write the buffer: on CUDA that is queued like any kernel."""
        self._buffer.zero_()

    def free(self) -> None:
        """Give the buffer up; nothing is flushed from then on."""
        self._buffer = self._buffer[:0].clone()


class FlushingClock:
    """The clock of a CPU, with a flush before each step, which is in no time."""

    def __init__(self, clock: Clock, flush: CacheFlush) -> None:
        """Flush before each step that is timed by `clock`."""
        self._clock = clock
        self._flush = flush
        self.begin, self.end, self.stop, self.read = clock.begin, clock.end, clock.stop, clock.read

    def start(self) -> None:
        """Flush, then mark the beginning of a step."""
        self._flush.flush()
        self._clock.start()


def last_cache_bytes(device: torch.device) -> int:
    """Return the size of the L2 of a GPU, or of all last-level caches of the CPUs that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    sizes: dict[str, int] = {}
    for cpu in psutil.Process().cpu_affinity() or ():
        caches = [_read_cache(index) for index in (_CPUS / f"cpu{cpu}" / "cache").glob("index*")]
        if caches:
            _, shared_by, size = max(caches)
            sizes[shared_by] = size
    return sum(sizes.values()) or _UNKNOWN_CACHE_BYTES


def _read_cache(index: Path) -> tuple[int, str, int]:
    """Return level, the CPUs that share it, and the size, which the kernel writes in KiB."""
    level, shared_by, size = ((index / name).read_text().strip() for name in ("level", "shared_cpu_list", "size"))
    return int(level), shared_by, int(size.removesuffix("K")) * 2**10
