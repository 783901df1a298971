"""The buffer that pushes everything else out of a cache."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from windtunnel.bench import cache as cache_module
from windtunnel.bench.cache import CacheFlush, FlushingClock, last_cache_bytes
from windtunnel.bench.clock import HostClock

CPU = torch.device("cpu")
MIB = 2**20


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four CPUs, of which this process may use three: two share an L3 of 8 MiB, the third has one of 4 MiB."""
    for cpu, shared_by, size in ((0, "0-1", "8192K"), (1, "0-1", "8192K"), (2, "2", "4096K"), (3, "3", "4096K")):
        for index, (level, its_size) in enumerate([(1, "32K"), (2, "1024K"), (3, size)]):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "shared_cpu_list").write_text(f"{shared_by}\n")
            (folder / "size").write_text(f"{its_size}\n")
    monkeypatch.setattr(cache_module, "_CPUS", tmp_path)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [0, 1, 2])
    return tmp_path


@pytest.mark.usefixtures("cpus")
def test_the_last_caches_of_the_cpus_in_use_are_counted_once_each():
    assert last_cache_bytes(CPU) == 12 * MIB


def test_a_cpu_that_does_not_describe_its_caches_has_a_documented_size(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cache_module, "_CPUS", tmp_path)

    assert last_cache_bytes(CPU) == 32 * MIB


def test_a_gpu_says_the_size_of_its_l2(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=50 * MIB))

    assert last_cache_bytes(torch.device("cuda:0")) == 50 * MIB


@pytest.mark.usefixtures("cpus")
def test_the_buffer_is_twice_the_size_of_the_cache_until_it_is_freed():
    flush = CacheFlush(CPU)
    buffer = flush._buffer

    flush.free()

    assert flush.num_bytes == buffer.nbytes == 24 * MIB
    assert flush._buffer.nbytes == 0


@pytest.mark.usefixtures("cpus")
def test_a_flush_writes_all_of_the_buffer():
    flush = CacheFlush(CPU)
    flush._buffer.fill_(1)

    flush.flush()

    assert not flush._buffer.any()


def test_the_cache_is_flushed_before_each_step_and_outside_of_its_time(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    flush, clock = CacheFlush(CPU), HostClock()
    monkeypatch.setattr(flush, "flush", lambda: done.append("flush"))
    monkeypatch.setattr(clock, "start", lambda: done.append("start"))
    flushing = FlushingClock(clock, flush)

    flushing.start()

    assert done == ["flush", "start"]
