"""An accelerator with a time of its own, played on a CPU, and its events."""

from types import SimpleNamespace

import pytest
import torch

from windtunnel.bench import clock as clock_module

DEVICE = torch.device("cuda:0")


class Accelerator:
    """A host that needs `launch_ns` to launch work, and a device that runs what was launched in order."""

    def __init__(self, *, launch_ns: int, host_ns: int) -> None:
        self.launch_ns = launch_ns
        self.host_ns = host_ns
        self.free_at_ns = 0
        self.events_made = 0

    def launch(self, nanoseconds: int) -> None:
        """Spend the host's time of a launch, and queue this much work."""
        self.host_ns += self.launch_ns
        self.free_at_ns = max(self.free_at_ns, self.host_ns) + nanoseconds

    def synchronize(self, device: torch.device) -> None:
        assert device == DEVICE
        self.host_ns = max(self.host_ns, self.free_at_ns)

    def make_event(self, *, enable_timing: bool) -> "Event":
        assert enable_timing
        self.events_made += 1
        return Event(self)

    def play(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """Stand in for torch's device, and for time in the clocks; return that time for other modules."""
        monkeypatch.setattr(torch.cuda, "Event", self.make_event)
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the only stream")
        host = SimpleNamespace(perf_counter_ns=lambda: self.host_ns, perf_counter=lambda: self.host_ns * 1e-9)
        monkeypatch.setattr(clock_module, "time", host)
        return host


class Event:
    """A mark in the device's queue."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.at_ns = 0

    def record(self, stream: object) -> None:
        self.at_ns = max(self.accelerator.free_at_ns, self.accelerator.host_ns)

    def query(self) -> bool:
        """Say whether the device has come to this mark."""
        return self.accelerator.host_ns >= self.at_ns

    def elapsed_time(self, end: "Event") -> float:
        return (end.at_ns - self.at_ns) / 1e6
