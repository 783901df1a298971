"""What the doctor reads of this machine: files, processes, NVML, torch and timers; tests plant their own."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import torch

from windtunnel.bench.nvml import find_handle

_LOOK_SECONDS = 0.5  # long against a scheduler's time slice, short for who waits
_MOST_BUSY = 3
_TICKS = 10_000
_EVENTS = 200


class NotKnownError(Exception):
    """Something cannot be seen from here; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLoad:
    """What the host's cores did while they were watched, this process not counted.

    `busy` is in cores; `stolen` is the fraction of time that a hypervisor gave to others, None where it is not
    counted; `busiest` are the visible processes with most CPU time, by name and cores.
    """

    busy: float
    stolen: float | None
    busiest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchState:
    """The build of torch and the modes of this process; `modes` are those that slow it and are on."""

    cuda: str | None
    is_debug: bool
    num_threads: int
    has_bytecode: bool
    modes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """The readers that the checks use; each raises NotKnownError or OSError when it cannot read.

    Attributes:
        asked: The device as the user wrote it; `device` is what it stands for.
        cores: The logical CPUs that this process may use.
        read: Text of a file.
        ask: Answer of NVML: `ask("EccMode")` is `nvmlDeviceGetEccMode` of the device.
        process_name: Name of a process by its number.
        version: Version of an installed package, or None.
        host_step: Smallest step of the host's clock, in seconds.
        event_step: Smallest step of a CUDA event's clock, in seconds.
    """

    asked: str
    device: str
    environ: Mapping[str, str]
    cores: frozenset[int]
    torch: TorchState
    read: Callable[[str], str]
    ask: Callable[..., Any]
    process_name: Callable[[int], str]
    load: Callable[[], HostLoad]
    version: Callable[[str], str | None]
    host_step: Callable[[], float]
    event_step: Callable[[], float]


def read_vitals(asked: str, device: str) -> Vitals:
    """Return the readers of this machine; nothing is read yet that takes time or makes a CUDA context."""
    return Vitals(
        asked=asked,
        device=device,
        environ=os.environ,
        cores=own_cores(),
        torch=_torch_state(),
        read=lambda path: Path(path).read_text(encoding="utf-8"),
        ask=lambda question, *arguments: _ask_nvml(device, question, *arguments),
        process_name=_process_name,
        load=cache(_watch_load),
        version=_package_version,
        host_step=_host_step,
        event_step=lambda: _event_step(device),
    )


def own_cores() -> frozenset[int]:
    """Return the numbers of the logical CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _torch_state() -> TorchState:
    modes = {
        "torch.autograd anomaly mode": torch.is_anomaly_enabled(),
        "torch deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "Python development mode": sys.flags.dev_mode,
    }
    return TorchState(
        cuda=torch.version.cuda,
        is_debug=bool(torch.version.debug),
        num_threads=torch.get_num_threads(),
        has_bytecode=bool(torch.__cached__) and Path(torch.__cached__).exists(),
        modes=tuple(name for name, is_on in modes.items() if is_on),
    )


def _ask_nvml(device: str, question: str, *arguments: object) -> Any:
    import pynvml  # here, as a machine without an NVIDIA driver has no use for it

    try:
        return getattr(pynvml, f"nvmlDeviceGet{question}")(find_handle(torch.device(device)), *arguments)
    except pynvml.NVMLError as error:
        raise NotKnownError(f"NVML answers {str(error)!r} to {question}") from error


def _process_name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "a process that cannot be seen from here"


def _watch_load() -> HostLoad:
    """Watch for half a second; the kernel's counts include what runs in other containers, the names do not."""
    # Not our own parent either: it waits for us.
    others = [process for process in psutil.process_iter(["name"]) if process.pid not in {os.getpid(), os.getppid()}]
    psutil.cpu_times_percent()
    for process in others:
        _cpu_share(process)
    time.sleep(_LOOK_SECONDS)
    times = psutil.cpu_times_percent()
    shares = [(str(process.info["name"]), _cpu_share(process)) for process in others]
    busiest = sorted((share for share in shares if share[1] > 0.01), key=lambda share: -share[1])[:_MOST_BUSY]
    idle = times.idle + getattr(times, "iowait", 0.0)
    stolen = getattr(times, "steal", None)
    return HostLoad(
        busy=max(0.0, 1 - idle / 100) * (psutil.cpu_count() or 1),
        stolen=None if stolen is None else stolen / 100,
        busiest=tuple(busiest),
    )


def _cpu_share(process: psutil.Process) -> float:
    try:
        return process.cpu_percent() / 100
    except psutil.Error:  # it ended, or it is not ours to look at
        return 0.0


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _host_step() -> float:
    ticks = [time.perf_counter_ns() for _ in range(_TICKS)]
    return min(after - before for before, after in pairwise(ticks) if after > before) * 1e-9


def _event_step(device: str) -> float:
    """Return the smallest difference of two durations between events: their own distance is a launch, not a step."""
    with torch.cuda.device(torch.device(device)):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(_EVENTS)]
        for event in events:
            event.record()
        torch.cuda.synchronize()
    durations = sorted({round(1e6 * begin.elapsed_time(end)) for begin, end in pairwise(events)})
    if len(durations) < 2:
        raise NotKnownError("all CUDA events were the same time apart")
    return min(after - before for before, after in pairwise(durations)) * 1e-9
