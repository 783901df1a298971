"""Clock, power, temperature and throttle reasons of the device, read in a thread while steps run."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from windtunnel.bench.nvml import find_handle
from windtunnel.bench.vitals import NotKnownError, own_cores
from windtunnel.records.record import Telemetry

NVML_PERIOD = 0.01
"""Seconds between two readings of a GPU at least."""

CPU_PERIOD = 0.1
"""The same of a CPU, where the thread takes its time from the steps."""

LARGEST_SHARE = 0.02
"""The part of a core that reading may take: where one reading takes long, the next comes later."""

LONGEST_PERIOD = 1.0
"""Seconds between two readings at most, as far as their cost decides."""

SLOW_EVERY = 10
"""What changes slowly is asked at every tenth reading and kept until then: each question takes Python's lock anew."""

MOST_READINGS = 10_000
"""With this many, every second one is dropped and the period doubled."""

_CPUFREQ = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"

Number = int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Sensors of one device.

    `columns` holds a question for each column of `Telemetry` that the device knows; an answer that fails raises one
    of `errors`. `slow` names the columns that change so slowly that every tenth reading will do. `close` gives back
    what the source holds open.
    """

    name: str
    period: float
    columns: Mapping[str, Callable[[], Number]]
    errors: tuple[type[Exception], ...]
    slow: frozenset[str] = frozenset()
    close: Callable[[], None] = lambda: None


class TelemetrySampler:
    """Reads the sensors of a device from `start` to `stop`; without sensors it does nothing and says why.

    The thread sleeps between readings, and longer where a reading takes long: whether that is the driver or the wait
    for Python's lock, which the steps hold, a reading is then as rare as it is dear. It makes no garbage that has to be
    collected. What it costs the steps is measured by `benchmarks/disturbance.py`.

    Attributes:
        reason: Why there is no telemetry; None where there is.
    """

    def __init__(self, device: torch.device) -> None:
        """Find the sensors; nothing is read while no steps run."""
        self.reason: str | None = None
        self._is_cuda = device.type == "cuda"
        self._source: Source | None = None
        self._times: list[int] = []
        self._columns: dict[str, list[Number]] = {}
        self._period = 0.0
        self._failed = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="windtunnel telemetry", daemon=True)
        try:
            self._source = open_source(device)
        except NotKnownError as error:
            self.reason = str(error)
            return
        self._columns = {name: [] for name in self._source.columns}
        self._period = self._source.period

    def start(self) -> None:
        """Start reading; call it once."""
        if self._source:
            self._thread.start()

    def stop(self, began: int | None) -> Telemetry | None:
        """End the thread and return its readings, in time since `began` (perf_counter_ns); call it once.

        Readings from before `began` are left out. The answer is None where there is none: no sensors, every reading
        failed, or `began` is None as there was no step.
        """
        source = self._source
        if source is None:
            return None
        self._is_over.set()
        self._thread.join(timeout=1.0)  # a driver that hangs must not hang the record, too
        if not self._thread.is_alive():
            source.close()
        times = tuple(self._times)  # a thread that hangs may come back and add more
        first = next((place for place, at in enumerate(times) if began is not None and at >= began), None)
        if began is None or first is None:
            return None
        return Telemetry(
            source=source.name,
            nanoseconds=tuple(at - began for at in times[first:]),
            **{name: tuple(values[first : len(times)]) for name, values in self._columns.items()},  # pyright: ignore[reportArgumentType]
        )

    def warnings(self) -> tuple[str, ...]:
        """Say that a GPU has no telemetry, or that readings failed; call it after `stop`.

        A CPU without it is no warning: in virtual machines and containers few have any.
        """
        if self.reason and self._is_cuda:
            return (f"no telemetry: {self.reason}",)
        total = self._failed + len(self._times)
        return (f"{self._failed:,} of {total:,} readings of the sensors failed",) if self._failed else ()

    def _run(self) -> None:
        last_cost = 0.0
        while True:
            begin = time.perf_counter_ns()
            self._read(begin)
            cost = (time.perf_counter_ns() - begin) * 1e-9
            pause = pause_after(min(cost, last_cost), self._period)  # the smaller one: a single hiccup opens no gap
            last_cost = cost
            if self._is_over.wait(pause):
                return

    def _read(self, now: int) -> None:
        """Add one reading, whole or not at all."""
        assert self._source is not None
        is_slow_due = len(self._times) % SLOW_EVERY == 0
        slow = frozenset[str]() if is_slow_due else self._source.slow
        try:
            values = [self._columns[name][-1] if name in slow else ask() for name, ask in self._source.columns.items()]
        except self._source.errors:
            self._failed += 1
            return
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        self._times.append(now)
        if len(self._times) >= MOST_READINGS:
            for column in (self._times, *self._columns.values()):
                del column[1::2]
            self._period *= 2


def pause_after(cost: float, period: float) -> float:
    """Return the seconds to sleep after a reading that took `cost` seconds."""
    return max(period, min(cost * (1 / LARGEST_SHARE - 1), LONGEST_PERIOD))


def open_source(device: torch.device) -> Source:
    """Return the sensors of a device.

    Raises:
        NotKnownError: There are none; the message says why.
    """
    return _open_nvml(device) if device.type == "cuda" else _open_cpu()


_CLOCK_SM = 1  # nvml.h, NVML_CLOCK_SM
_SENSOR_GPU = 0  # nvml.h, NVML_TEMPERATURE_GPU

_QUESTIONS: Mapping[str, tuple[tuple[str, ...], tuple[int, ...], Callable[[int], Number]]] = {
    "clock_mhz": (("ClockInfo",), (_CLOCK_SM,), int),
    "power_watts": (("PowerUsage",), (), lambda milliwatts: milliwatts / 1000),
    "temperature_celsius": (("Temperature", "TemperatureV"), (_SENSOR_GPU,), int),
    "throttle_reasons": (("CurrentClocksEventReasons", "CurrentClocksThrottleReasons"), (), int),
}
"""Column to the names of NVML's question, its arguments, and what puts the answer in the column's unit."""


def _open_nvml(device: torch.device) -> Source:
    """Ask each question once, and keep those that are answered. The calls release Python's lock (ctypes.CDLL)."""
    try:
        import pynvml  # here, as a machine without an NVIDIA driver has no use for it
    except ImportError as error:
        raise NotKnownError(f"NVML cannot be asked: {error}") from error
    columns: dict[str, Callable[[], Number]] = {}
    failure = ""
    try:
        handle = find_handle(device)
    except pynvml.NVMLError as error:
        raise NotKnownError(f"NVML answers {str(error)!r}") from error
    for column, (names, arguments, convert) in _QUESTIONS.items():
        for name in names:
            question = getattr(pynvml, f"nvmlDeviceGet{name}", None)  # None: not in this version of pynvml
            if question is None:
                continue
            ask = _asking(question, handle, arguments, convert)
            try:
                ask()
            except pynvml.NVMLError as error:
                failure = str(error)
                continue
            columns[column] = ask
            break
    if not columns:
        raise NotKnownError(f"NVML answers {failure!r}")
    slow = frozenset({"power_watts", "temperature_celsius"})  # the driver itself averages power over some 100 ms
    return Source(name="NVML", period=NVML_PERIOD, columns=columns, errors=(pynvml.NVMLError,), slow=slow)


def _asking(
    question: Callable[..., int], handle: object, arguments: tuple[int, ...], convert: Callable[[int], Number]
) -> Callable[[], Number]:
    return lambda: convert(question(handle, *arguments))


def _open_cpu() -> Source:
    """Keep the kernel's files of the cores' frequencies open: to open them takes longer than to read them.

    No temperature: the sensors of hwmon interrupt the core that they are in.
    """
    files: list[int] = []
    try:
        for core in sorted(own_cores()):
            files.append(os.open(_CPUFREQ.format(core), os.O_RDONLY))
        _mean_mhz(files)
    except (OSError, ValueError) as error:
        _close(files)
        raise NotKnownError(f"the kernel shows no frequency of the cores: {error}") from error
    return Source(
        name="cpufreq",
        period=CPU_PERIOD,
        columns={"clock_mhz": lambda: _mean_mhz(files)},
        errors=(OSError, ValueError),
        close=lambda: _close(files),
    )


def _mean_mhz(files: list[int]) -> int:
    return round(sum(int(os.pread(file, 32, 0)) for file in files) / len(files) / 1000)  # the kernel counts kHz


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
