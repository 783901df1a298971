"""The sampler with sensors played by fakes, and NVML played by a module of its own."""

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from windtunnel.bench import telemetry as telemetry_module
from windtunnel.bench.loop import no_garbage_collection
from windtunnel.bench.telemetry import LONGEST_PERIOD, Source, TelemetrySampler, open_source, pause_after
from windtunnel.bench.vitals import NotKnownError
from windtunnel.records.record import Telemetry

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class SensorError(Exception):
    """What a fake sensor raises."""


class Sensors:
    """Sensors whose clock says the number of the reading, and which fail as the test says."""

    def __init__(self, *, fails: Callable[[int], bool] = lambda number: False, seconds: float = 0.0) -> None:
        self.number = 0
        self.is_closed = False
        self._read = threading.Condition()
        self._fails = fails
        self._seconds = seconds

    def clock(self) -> int:
        time.sleep(self._seconds)
        with self._read:
            self.number += 1
            self._read.notify_all()
        if self._fails(self.number):
            raise SensorError
        return self.number

    def wait_for(self, number: int) -> None:
        """Wait for the reading of this number: on a busy machine it may come late, so no test sleeps instead."""
        with self._read:
            assert self._read.wait_for(lambda: self.number >= number, timeout=30)

    def close(self) -> None:
        self.is_closed = True

    def source(self, period: float = 0.001) -> Source:
        columns = {"clock_mhz": self.clock, "power_watts": lambda: 100.5}
        return Source(name="fake", period=period, columns=columns, errors=(SensorError,), close=self.close)


@pytest.fixture
def make_sampler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TelemetrySampler]]:
    """Return a maker of samplers of fake sensors; each is stopped in the end, whatever the test does."""
    made: list[TelemetrySampler] = []

    def make(sensors: Sensors, **arguments: float) -> TelemetrySampler:
        monkeypatch.setattr(telemetry_module, "open_source", lambda device: sensors.source(**arguments))
        made.append(TelemetrySampler(CPU))
        return made[-1]

    yield make
    for sampler in made:
        sampler._is_over.set()


def read_often(sampler: TelemetrySampler, sensors: Sensors, count: int = 20) -> Telemetry:
    """Let the sampler read so many times at least and return what it read."""
    began = time.perf_counter_ns()
    sampler.start()
    sensors.wait_for(count)
    telemetry = sampler.stop(began)
    assert telemetry is not None
    return telemetry


def test_every_column_has_an_entry_for_each_reading_in_order(make_sampler):
    sensors = Sensors()

    telemetry = read_often(make_sampler(sensors), sensors)

    count = len(telemetry.nanoseconds)
    assert count >= 20
    assert telemetry.clock_mhz == tuple(range(1, count + 1))
    assert telemetry.power_watts == (100.5,) * count
    assert telemetry.nanoseconds == tuple(sorted(set(telemetry.nanoseconds)))
    assert (telemetry.temperature_celsius, telemetry.throttle_reasons, telemetry.source) == ((), (), "fake")


def test_what_changes_slowly_is_asked_at_every_tenth_reading_and_kept_until_then(make_sampler, monkeypatch):
    sensors = Sensors()
    columns = {"clock_mhz": sensors.clock, "power_watts": lambda: float(sensors.number)}
    source = replace(sensors.source(), columns=columns, slow=frozenset({"power_watts"}))
    sampler = make_sampler(sensors)
    monkeypatch.setattr(sampler, "_source", source)

    telemetry = read_often(sampler, sensors)

    assert telemetry.power_watts[:20] == (1.0,) * 10 + (11.0,) * 10


def test_two_readings_are_a_period_apart_at_least(make_sampler):
    sensors = Sensors()

    telemetry = read_often(make_sampler(sensors, period=0.005), sensors)

    times = telemetry.nanoseconds
    assert min(later - earlier for earlier, later in pairwise(times)) >= 5_000_000


def test_slow_sensors_are_read_rarely(make_sampler):
    """Each reading takes 4 ms; at 2 % of the time that is one reading in 200 ms, once two of them are known."""
    sensors = Sensors(seconds=0.004)

    telemetry = read_often(make_sampler(sensors), sensors, count=4)

    times = telemetry.nanoseconds[1:]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 196_000_000


@pytest.mark.parametrize(
    ("cost", "period", "pause"),
    [(0.0, 0.01, 0.01), (1e-4, 0.01, 0.01), (1e-3, 0.01, 0.049), (5.0, 0.01, LONGEST_PERIOD)],
)
def test_a_reading_takes_two_percent_of_the_time_at_most(cost: float, period: float, pause: float):
    assert pause_after(cost, period) == pytest.approx(pause)


def test_a_reading_that_fails_is_left_out_of_every_column_and_said(make_sampler):
    sensors = Sensors(fails=lambda number: number % 2 == 0)
    sampler = make_sampler(sensors)

    telemetry = read_often(sampler, sensors)

    count = len(telemetry.nanoseconds)
    assert telemetry.clock_mhz == tuple(range(1, 2 * count, 2))
    assert len(telemetry.power_watts) == count
    (warning,) = sampler.warnings()
    assert warning == f"{sensors.number - count} of {sensors.number} readings of the sensors failed"


def test_sensors_that_always_fail_make_no_telemetry(make_sampler):
    sensors = Sensors(fails=lambda number: True)
    sampler = make_sampler(sensors)

    sampler.start()
    sensors.wait_for(20)

    assert sampler.stop(0) is None


def test_readings_from_before_the_first_step_are_left_out(make_sampler):
    sensors = Sensors()
    sampler = make_sampler(sensors)
    sampler.start()
    sensors.wait_for(20)

    began = time.perf_counter_ns()
    sensors.wait_for(sensors.number + 5)
    telemetry = sampler.stop(began)

    assert telemetry is not None
    assert telemetry.nanoseconds[0] >= 0
    assert telemetry.clock_mhz[0] > 20
    assert telemetry.clock_mhz[-1] == sensors.number


def test_without_a_step_there_is_no_telemetry(make_sampler):
    sensors = Sensors()
    sampler = make_sampler(sensors)
    sampler.start()

    telemetry = sampler.stop(None)

    assert telemetry is None
    assert sensors.is_closed


def test_a_long_run_is_thinned_out_and_read_less_often(make_sampler, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry_module, "MOST_READINGS", 16)
    sensors = Sensors()

    telemetry = read_often(make_sampler(sensors), sensors)

    assert len(telemetry.nanoseconds) < 16
    assert telemetry.clock_mhz[:8] == (1, 3, 5, 7, 9, 11, 13, 15)
    assert len(telemetry.power_watts) == len(telemetry.nanoseconds)


def test_the_thread_leaves_nothing_to_collect(make_sampler):
    sensors = Sensors(fails=lambda number: number % 3 == 0)
    sampler = make_sampler(sensors)
    gc.collect()

    with no_garbage_collection():
        read_often(sampler, sensors)
        found = gc.collect()

    assert found == 0


def test_a_sensor_that_hangs_does_not_keep_the_readings(make_sampler):
    is_stuck, release = threading.Event(), threading.Event()

    def hang(number: int) -> bool:
        if number == 3:
            is_stuck.set()
            release.wait(10)
        return False

    sensors = Sensors(fails=hang)
    sampler = make_sampler(sensors)
    sampler.start()
    assert is_stuck.wait(10)

    telemetry = sampler.stop(0)

    release.set()
    assert telemetry is not None
    assert telemetry.clock_mhz == (1, 2)


class FakeNvml(ModuleType):
    """NVML with answers by the name of the question; one that is not there has no such function."""

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, **answers: object) -> None:
        super().__init__("pynvml")
        self.asked: list[tuple[Any, ...]] = []
        self.answers = answers

    def nvmlInit(self) -> None:  # noqa: N802  # NVML's names
        if "Init" in self.answers:
            raise self.NVMLError(self.answers["Init"])

    def nvmlDeviceGetHandleByPciBusId(self, place: bytes) -> str:  # noqa: N802
        return place.decode()

    def __getattr__(self, name: str) -> Callable[..., object]:
        question = name.removeprefix("nvmlDeviceGet")
        if name == question or question not in self.answers:
            raise AttributeError(f"module 'pynvml' has no attribute {name!r}")

        def ask(*arguments: object) -> object:
            self.asked.append((question, *arguments))
            answer = self.answers[question]
            if isinstance(answer, str):
                raise self.NVMLError(answer)
            return answer

        return ask


ANSWERS: dict[str, object] = {
    "ClockInfo": 1980,
    "PowerUsage": 650_250,
    "Temperature": 61,
    "CurrentClocksEventReasons": 4,
}


@pytest.fixture
def install_nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNvml]:
    """Return what installs a driver with these answers, and a device at 0000:1b:00."""

    def install(**answers: object) -> FakeNvml:
        nvml = FakeNvml(**answers)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        place = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x1B, pci_device_id=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: place)
        return nvml

    return install


def answers_of(source: Source) -> dict[str, float]:
    return {name: ask() for name, ask in source.columns.items()}


def test_nvml_is_asked_for_the_device_at_its_place_in_the_units_of_the_record(install_nvml):
    nvml = install_nvml(**ANSWERS)

    source = open_source(CUDA)

    assert (source.name, source.period) == ("NVML", 0.01)
    assert answers_of(source) == {
        "clock_mhz": 1980,
        "power_watts": 650.25,
        "temperature_celsius": 61,
        "throttle_reasons": 4,
    }
    place = "00000000:1b:00.0"
    assert {("ClockInfo", place, 1), ("PowerUsage", place), ("Temperature", place, 0)} <= set(nvml.asked)


def test_an_older_nvml_is_asked_by_the_older_name(install_nvml):
    older = {name: answer for name, answer in ANSWERS.items() if name != "CurrentClocksEventReasons"}
    install_nvml(**older, CurrentClocksThrottleReasons=0x40)

    assert answers_of(open_source(CUDA))["throttle_reasons"] == 0x40


def test_a_driver_that_lacks_a_function_is_asked_by_the_other_name(install_nvml):
    install_nvml(**ANSWERS | {"Temperature": "Function Not Found", "TemperatureV": 55})

    assert answers_of(open_source(CUDA))["temperature_celsius"] == 55


def test_a_question_that_the_device_does_not_answer_has_no_column(install_nvml):
    install_nvml(**ANSWERS | {"PowerUsage": "Not Supported"})

    assert set(open_source(CUDA).columns) == {"clock_mhz", "temperature_celsius", "throttle_reasons"}


def test_a_device_that_answers_nothing_has_no_telemetry(install_nvml):
    install_nvml(**dict.fromkeys(ANSWERS, "GPU is lost"))

    with pytest.raises(NotKnownError, match="NVML answers 'GPU is lost'"):
        open_source(CUDA)


def test_a_gpu_without_nvml_has_one_warning_and_no_telemetry(install_nvml):
    install_nvml(Init="NVML Shared Library Not Found")
    sampler = TelemetrySampler(CUDA)

    sampler.start()
    telemetry = sampler.stop(0)

    assert telemetry is None
    assert sampler.warnings() == ("no telemetry: NVML answers 'NVML Shared Library Not Found'",)


def test_a_gpu_without_pynvml_has_one_warning(install_nvml, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    sampler = TelemetrySampler(CUDA)

    (warning,) = sampler.warnings()
    assert warning.startswith("no telemetry: NVML cannot be asked: ")


@pytest.fixture
def cpufreq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cores of this process whose frequencies stand in a folder."""
    monkeypatch.setattr(telemetry_module, "own_cores", lambda: frozenset({0, 3}))
    monkeypatch.setattr(telemetry_module, "_CPUFREQ", str(tmp_path / "cpu{}"))
    return tmp_path


def test_the_clock_of_a_cpu_is_the_mean_of_the_cores_that_it_may_use(cpufreq: Path):
    (cpufreq / "cpu0").write_text("3000000\n")
    (cpufreq / "cpu1").write_text("999000\n")
    (cpufreq / "cpu3").write_text("2000000\n")

    source = open_source(CPU)

    assert answers_of(source) == {"clock_mhz": 2500}
    assert source.period == 0.1
    source.close()


def test_a_frequency_is_read_anew_each_time(cpufreq: Path):
    for name in ("cpu0", "cpu3"):
        (cpufreq / name).write_text("3000000\n")
    source = open_source(CPU)

    (cpufreq / "cpu0").write_text("1000000\n")

    assert answers_of(source) == {"clock_mhz": 2000}
    source.close()


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("text", [None, "", "<unknown>"])
def test_a_cpu_without_frequencies_has_a_reason_and_no_warning(cpufreq: Path, text: str | None):
    (cpufreq / "cpu0").write_text("3000000\n")
    if text is not None:
        (cpufreq / "cpu3").write_text(text)
    open_before = count_open_files()

    sampler = TelemetrySampler(CPU)

    assert sampler.reason is not None
    assert sampler.reason.startswith("the kernel shows no frequency of the cores: ")
    assert sampler.warnings() == ()
    assert count_open_files() == open_before


@pytest.mark.gpu
def test_a_gpu_at_work_has_every_column():
    sampler = TelemetrySampler(CUDA)
    matrix = torch.randn(4096, 4096, device=CUDA)

    began = time.perf_counter_ns()
    sampler.start()
    while time.perf_counter_ns() - began < 500_000_000:
        matrix @ matrix
        torch.cuda.synchronize(CUDA)
    telemetry = sampler.stop(began)

    assert telemetry is not None
    assert sampler.warnings() == ()
    assert len(telemetry.nanoseconds) >= 5
    assert min(telemetry.clock_mhz) > 100
    assert 20 < max(telemetry.power_watts) < 2000
    assert 10 < max(telemetry.temperature_celsius) < 110
    assert len(telemetry.throttle_reasons) == len(telemetry.nanoseconds)
