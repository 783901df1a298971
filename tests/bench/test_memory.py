"""The memory meter on a CPU, where it reads the resident set of this very process."""

import pytest
import torch

from windtunnel.bench import memory as memory_module
from windtunnel.bench.memory import MemoryMeter

CPU = torch.device("cpu")
MIB = 2**20


def touch(mib: int) -> torch.Tensor:
    """Allocate this many MiB and write to them, so that they become resident."""
    return torch.ones(mib * MIB, dtype=torch.uint8)


def test_what_a_step_allocates_and_frees_is_in_the_peak():
    meter = MemoryMeter(CPU)
    meter.mark_built()

    touch(64)

    memory = meter.read()
    assert memory.peak_bytes - memory.built_bytes >= 60 * MIB


def test_what_was_freed_before_the_mark_is_not_in_the_peak():
    meter = MemoryMeter(CPU)
    touch(256)

    meter.mark_built()

    memory = meter.read()
    assert memory.peak_bytes - memory.built_bytes < 60 * MIB


def test_what_was_built_is_in_both_levels():
    meter = MemoryMeter(CPU)
    before = meter.read()
    held = touch(64)

    meter.mark_built()

    memory = meter.read()
    assert before.built_bytes is None
    assert memory.peak_bytes >= memory.built_bytes >= held.numel()


def test_what_is_still_held_is_left_over():
    MemoryMeter(CPU).leftover()  # what other tests left goes now, not under the meter
    meter = MemoryMeter(CPU)
    held = touch(64)

    leftover = meter.leftover()

    assert leftover >= 60 * MIB
    del held


def test_what_was_freed_is_not_left_over():
    meter = MemoryMeter(CPU)
    touch(256)

    assert meter.leftover() < 60 * MIB


def test_what_only_a_cycle_holds_is_not_left_over():
    meter = MemoryMeter(CPU)
    cycle: list[object] = [touch(256)]
    cycle.append(cycle)
    del cycle

    assert meter.leftover() < 60 * MIB


def test_a_cpu_reserves_nothing_and_says_what_its_bytes_are():
    meter = MemoryMeter(CPU)
    meter.mark_built()

    memory = meter.read()

    assert memory.peak_reserved_bytes is None
    assert memory.source == "resident set of the worker process"


def test_where_the_kernel_cannot_reset_its_mark_the_peak_is_not_known(monkeypatch: pytest.MonkeyPatch):
    """The peak of the whole process would be that of another cell."""
    monkeypatch.setattr(memory_module, "_reset_resident_peak", lambda: False)
    meter = MemoryMeter(CPU)
    meter.mark_built()

    assert meter.read().peak_bytes is None


@pytest.mark.parametrize(("retries", "said"), [(2, ()), (3, ("1 time",)), (5, ("3 times",))])
def test_an_allocator_that_had_to_empty_its_cache_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, retries: int, said: tuple[str, ...]
):
    """Two times were before the cell was built, and are no matter of its steps."""
    stats = {"num_alloc_retries": 2}
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    meter = MemoryMeter(torch.device("cuda", 0))
    meter.mark_built()

    stats["num_alloc_retries"] = retries

    warnings = meter.warnings()
    assert len(warnings) == len(said)
    assert all(part in warning for part, warning in zip(said, warnings, strict=True))
