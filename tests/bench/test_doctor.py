"""Each fault that the doctor knows, planted in the readers: it is found, and no reader that fails is a crash."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from windtunnel.bench.doctor.examine import examine
from windtunnel.bench.doctor.gpu import GPU_CHECKS
from windtunnel.bench.doctor.host import HOST_CHECKS
from windtunnel.bench.vitals import HostLoad, NotKnownError, TorchState, Vitals, read_vitals
from windtunnel.records.checkup import CheckResult, CheckStatus, checkup_from_json, checkup_to_json

OK, WARNING, PROBLEM, NOT_KNOWN = CheckStatus

_CPU = "/sys/devices/system/cpu"
_MEMINFO = "MemTotal: 1000 kB\nMemAvailable: {free} kB\nSwapTotal: 800000 kB\nSwapFree: {swap} kB\n"

GOOD_FILES = {
    "/proc/loadavg": "0.10 0.10 0.10 1/100 1",
    "/proc/meminfo": _MEMINFO.format(free=900, swap=800_000),
    "/proc/cpuinfo": "model name : A CPU\nflags : fpu sse\n",
    "/proc/self/cgroup": "0::/ours\n",
    "/proc/driver/nvidia/version": "NVRM",
    f"{_CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{_CPU}/intel_pstate/no_turbo": "1\n",
    f"{_CPU}/smt/active": "0\n",
    "/sys/devices/system/node/online": "0\n",
    "/sys/devices/system/node/node0/cpulist": "0-3\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/sys/bus/pci/devices/0000:1b:00.0/numa_node": "0\n",
}
GOOD_ANSWERS: dict[str, Any] = {
    "ComputeRunningProcesses": [],
    "GraphicsRunningProcesses": [],
    "MemoryInfo": SimpleNamespace(used=600 * 2**20),
    "UtilizationRates": SimpleNamespace(gpu=0),
    "ClockInfo": 345,
    "MaxClockInfo": 1980,
    "CurrentClocksThrottleReasons": 1,
    "PowerManagementLimit": 700_000,
    "PowerManagementDefaultLimit": 700_000,
    "Temperature": 34,
    "TemperatureThreshold": 89,
    "EccMode": [1, 1],
    "TotalEccErrors": 0,
    "PersistenceMode": 1,
    "MigMode": [0, 0],
    "PciInfo": SimpleNamespace(busId="00000000:1B:00.0"),
}
IDLE = HostLoad(busy=0.0, stolen=0.0, busiest=())
TORCH = TorchState(cuda="13.0", is_debug=False, num_threads=4, has_bytecode=True, modes=())


def vitals_of(
    *,
    files: Mapping[str, str | None] | None = None,
    answers: Mapping[str, object] | None = None,
    load: HostLoad = IDLE,
    versions: Mapping[str, str] | None = None,
    host_step: float = 5e-8,
    event_step: float = 5e-7,
    **fields: object,
) -> Vitals:
    """Return a healthy machine with a GPU, but for what is named; a file that is None is not there."""
    all_files = GOOD_FILES | dict(files or {})
    all_answers = GOOD_ANSWERS | dict(answers or {})

    def read(path: str) -> str:
        text = all_files.get(path)
        if text is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return text

    def ask(question: str, *arguments: object) -> object:
        if isinstance(all_answers[question], Exception):
            raise all_answers[question]
        return all_answers[question]

    vitals = Vitals(
        asked="auto",
        device="cuda:0",
        environ={},
        cores=frozenset(range(4)),
        torch=TORCH,
        read=read,
        ask=ask,
        process_name=lambda pid: f"program-{pid}",
        load=lambda: load,
        version=(versions or {}).get,
        host_step=lambda: host_step,
        event_step=lambda: event_step,
    )
    return replace(vitals, **fields)


def found(vitals: Vitals, name: str) -> CheckResult:
    return next(result for result in examine(vitals) if result.name == name)


def test_a_healthy_machine_is_ok_throughout():
    results = examine(vitals_of())

    assert {result.status for result in results} == {OK}
    assert len(results) == len(GPU_CHECKS) + len(HOST_CHECKS)
    assert not any(result.advice for result in results)


def test_a_cpu_is_not_asked_for_its_gpu():
    results = examine(vitals_of(device="cpu", answers=dict.fromkeys(GOOD_ANSWERS, AssertionError())))

    assert len(results) == len(HOST_CHECKS)


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


GPU_FAULTS = [
    ("processes on the GPU", {"ComputeRunningProcesses": [process(7, 2**30)]}, PROBLEM, "program-7 (1.00 GiB)"),
    ("processes on the GPU", {"GraphicsRunningProcesses": [process(7, None)]}, PROBLEM, "program-7 (–)"),
    ("processes on the GPU", {"MemoryInfo": SimpleNamespace(used=2**32)}, PROBLEM, "4.00 GiB held by what cannot"),
    ("GPU utilisation", {"UtilizationRates": SimpleNamespace(gpu=93)}, PROBLEM, "93 %"),
    ("GPU clock", {"CurrentClocksThrottleReasons": 0x4}, WARNING, "345 of 1,980 MHz: software power cap"),
    ("GPU clock", {"CurrentClocksThrottleReasons": 0x2}, WARNING, "clocks set by an application"),
    ("GPU clock", {"CurrentClocksThrottleReasons": 0x48}, PROBLEM, "hardware slowdown, hardware thermal slowdown"),
    ("GPU clock", {"CurrentClocksThrottleReasons": 0x80}, PROBLEM, "power brake"),
    ("GPU power limit", {"PowerManagementLimit": 400_000}, WARNING, "limit 400 W, default 700 W"),
    ("GPU temperature", {"Temperature": 80}, WARNING, "80 °C, slows down at 89 °C"),
    ("GPU temperature", {"Temperature": 88}, PROBLEM, "88 °C"),
    ("GPU memory errors", {"TotalEccErrors": 2}, PROBLEM, "2 uncorrected errors"),
    ("GPU memory errors", {"EccMode": [0, 1]}, WARNING, "off, and on after a restart"),
    ("GPU persistence mode", {"PersistenceMode": 0}, WARNING, "off"),
    ("MIG", {"MigMode": [1, 1]}, WARNING, "on"),
]


@pytest.mark.parametrize(("name", "answers", "status", "value"), GPU_FAULTS)
def test_a_fault_of_the_gpu_is_found(name: str, answers: dict[str, object], status: CheckStatus, value: str):
    result = found(vitals_of(answers=answers), name)

    assert (result.status, value in result.value) == (status, True), result
    assert result.advice


FILE_FAULTS = [
    ("load average", {"/proc/loadavg": "2.50 1 1 1/1 1"}, WARNING, "2.5 on 4 cores"),
    ("load average", {"/proc/loadavg": "9.00 1 1 1/1 1"}, PROBLEM, "9.0 on 4 cores"),
    ("threads", {"/sys/fs/cgroup/ours/cpu.max": "200000 100000\n"}, PROBLEM, "a quota of 2 cores"),
    ("threads", {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, PROBLEM, "a quota of 1.5 cores"),
    (
        "threads",
        {
            "/proc/self/cgroup": "1:cpu:/a\n",
            "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000",
            "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
        },
        PROBLEM,
        "a quota of 1 cores",
    ),
    ("CPU governor", {f"{_CPU}/cpu0/cpufreq/scaling_governor": "powersave\n"}, WARNING, "powersave"),
    (
        "SMT",
        {f"{_CPU}/smt/active": "1\n"}
        | {f"{_CPU}/cpu{core}/topology/thread_siblings_list": f"{core % 2},{core % 2 + 2}" for core in range(4)},
        WARNING,
        "on: 4 threads for 2 physical cores",
    ),
    ("memory", {"/proc/meminfo": _MEMINFO.format(free=50, swap=800_000)}, WARNING, "50.0 KiB of 1,000 KiB free"),
    ("memory", {"/proc/meminfo": _MEMINFO.format(free=5, swap=800_000)}, PROBLEM, "5.00 KiB"),
    ("memory limit", {"/sys/fs/cgroup/ours/memory.max": "102400"}, WARNING, "100 KiB of the 1,000 KiB"),
    ("swap", {"/proc/meminfo": _MEMINFO.format(free=900, swap=0)}, WARNING, "781 MiB in use"),
    ("virtual machine", {"/proc/cpuinfo": "flags : fpu hypervisor\n"}, WARNING, "yes, 0.0 % of CPU time stolen"),
    ("GPU affinity", {"/sys/devices/system/node/node0/cpulist": "0-1\n"}, WARNING, "2 of 4 cores are not on"),
]


@pytest.mark.parametrize(("name", "files", "status", "value"), FILE_FAULTS)
def test_a_fault_that_a_file_tells_is_found(name: str, files: dict[str, str], status: CheckStatus, value: str):
    result = found(vitals_of(files=files), name)

    assert (result.status, value in result.value) == (status, True), result
    assert result.advice


HOST_FAULTS: list[tuple[str, dict[str, Any], CheckStatus, str]] = [
    ("CPU in use", {"load": HostLoad(busy=0.4, stolen=0.0, busiest=(("make", 0.4),))}, WARNING, "busy: make 0.4"),
    ("CPU in use", {"load": HostLoad(busy=3.0, stolen=0.0, busiest=())}, PROBLEM, "3.0 of 4 cores busy"),
    ("spinning threads", {"load": HostLoad(busy=3.0, stolen=0.0, busiest=())}, WARNING, "OMP_WAIT_POLICY not set"),
    ("threads", {"torch": replace(TORCH, num_threads=8)}, PROBLEM, "8 threads for 4 cores"),
    ("threads", {"torch": replace(TORCH, num_threads=1), "device": "cpu"}, WARNING, "1 thread for 4 cores"),
    ("host timer", {"host_step": 1e-3}, PROBLEM, "1.00 ms a step, from tsc"),
    ("GPU timer", {"event_step": 1e-5}, WARNING, "10.0 µs a step"),
    ("debug variables", {"environ": {"CUDA_LAUNCH_BLOCKING": "1"}}, PROBLEM, "CUDA_LAUNCH_BLOCKING=1"),
    ("debug variables", {"environ": {"TORCH_LOGS": "+dynamo"}}, WARNING, "TORCH_LOGS=+dynamo"),
    ("debug variables", {"environ": {"NVIDIA_TF32_OVERRIDE": "0"}}, WARNING, "NVIDIA_TF32_OVERRIDE=0"),
    ("debug modes", {"torch": replace(TORCH, modes=("anomaly",))}, PROBLEM, "anomaly"),
    ("bytecode", {"torch": replace(TORCH, has_bytecode=False)}, WARNING, "again in every process"),
    ("torch build", {"torch": replace(TORCH, is_debug=True)}, PROBLEM, "debug build"),
    ("torch build", {"torch": replace(TORCH, cuda=None)}, PROBLEM, "CPU only, on a machine with an NVIDIA driver"),
    ("versions", {"versions": {"torch": "2.10.1+cu130"}}, WARNING, "torch 2.10.1+cu130: older"),
    ("versions", {"versions": {"pynvml": "13.0.1"}}, WARNING, "pynvml 13.0.1: hides nvidia-ml-py"),
]


@pytest.mark.parametrize(("name", "fields", "status", "value"), HOST_FAULTS)
def test_a_fault_of_host_or_process_is_found(name: str, fields: dict[str, Any], status: CheckStatus, value: str):
    result = found(vitals_of(**fields), name)

    assert (result.status, value in result.value) == (status, True), result
    assert result.advice


@pytest.mark.parametrize(
    ("num_threads", "why"),
    [(1, "cores without a thread stay idle."), (8, "threads without a core of their own wait for one another.")],
)
def test_too_few_threads_have_another_reason_than_too_many(num_threads: int, why: str):
    result = found(vitals_of(torch=replace(TORCH, num_threads=num_threads), device="cpu"), "threads")

    assert result.why == why


def test_a_hypervisor_that_steals_is_a_problem():
    files = {"/proc/cpuinfo": "flags : fpu hypervisor\n"}

    result = found(vitals_of(files=files, load=replace(IDLE, stolen=0.1)), "virtual machine")

    assert (result.status, result.value) == (PROBLEM, "yes, 10.0 % of CPU time stolen")


@pytest.mark.parametrize(("name", "value"), [("CUDA_LAUNCH_BLOCKING", "0"), ("OMP_NUM_THREADS", "1")])
def test_a_variable_that_is_off_or_no_debug_flag_is_ok(name: str, value: str):
    assert found(vitals_of(environ={name: value}), "debug variables").status is OK


def test_passive_threads_do_not_spin():
    vitals = vitals_of(load=replace(IDLE, busy=3.0), environ={"OMP_WAIT_POLICY": "passive"})

    assert found(vitals, "spinning threads").status is OK


def test_a_cpu_build_is_right_for_who_asks_for_the_cpu():
    vitals = vitals_of(asked="cpu", device="cpu", torch=replace(TORCH, cuda=None))

    assert found(vitals, "torch build").status is OK


@pytest.mark.parametrize(
    ("device", "files", "status"),
    [
        ("cpu", {f"{_CPU}/intel_pstate/no_turbo": "0"}, WARNING),
        ("cpu", {f"{_CPU}/intel_pstate/no_turbo": None, f"{_CPU}/cpufreq/boost": "1"}, WARNING),
        ("cuda:0", {f"{_CPU}/intel_pstate/no_turbo": "0"}, OK),
    ],
)
def test_a_boost_matters_where_the_cpu_computes(device: str, files: dict[str, str | None], status: CheckStatus):
    assert found(vitals_of(device=device, files=files), "CPU boost").status is status


def test_two_nodes_matter_where_the_cpu_computes():
    nodes = {
        "/sys/devices/system/node/online": "0-1\n",
        "/sys/devices/system/node/node0/cpulist": "0-1\n",
        "/sys/devices/system/node/node1/cpulist": "2-3\n",
    }

    result = found(vitals_of(device="cpu", files=nodes), "NUMA nodes")

    assert (result.status, result.value) == (WARNING, "2 of 2 nodes in use")


def test_without_any_file_what_was_read_there_is_not_known_and_says_which():
    results = examine(vitals_of(files=dict.fromkeys(GOOD_FILES, None)))

    not_known = {result.name: result.why for result in results if result.status is NOT_KNOWN}
    assert not_known["load average"] == "/proc/loadavg: No such file or directory"
    assert len(not_known) >= 8
    assert not {result.name for result in results if result.status is PROBLEM}


def test_without_nvml_what_it_would_say_is_not_known_and_says_why():
    silent = NotKnownError("NVML answers 'Insufficient Permissions'")

    results = examine(vitals_of(answers=dict.fromkeys(GOOD_ANSWERS, silent)))

    gpu = [result for result in results if result.name in {check.name for check in GPU_CHECKS}]
    assert {(result.status, result.why) for result in gpu if result.name != "GPU timer"} == {(NOT_KNOWN, str(silent))}


@pytest.mark.parametrize("text", ["", "nonsense", "a b c", "0::"])
def test_a_file_written_in_another_way_is_no_crash(text: str):
    results = examine(vitals_of(files=dict.fromkeys(GOOD_FILES, text)))

    assert len(results) == len(GPU_CHECKS) + len(HOST_CHECKS)


def test_a_file_that_may_not_be_read_is_not_known():
    def forbidden(path: str) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    result = found(vitals_of(read=forbidden), "CPU governor")

    assert (result.status, result.why.endswith("scaling_governor: Permission denied")) == (NOT_KNOWN, True)


def test_results_survive_json():
    results = examine(vitals_of(answers={"MigMode": [1, 1]}, files={"/proc/loadavg": None}))

    assert checkup_from_json(checkup_to_json(results)) == results


@pytest.mark.parametrize("checks", [GPU_CHECKS, HOST_CHECKS])
def test_every_check_says_in_one_sentence_why_it_matters(checks: tuple[Any, ...]):
    assert all(check.why.endswith(".") and check.why.count(".") == 1 for check in checks)
    assert len({check.name for check in checks}) == len(checks)


def test_this_machine_is_examined_without_a_crash():
    results = examine(read_vitals("cpu", "cpu"))

    assert [result.name for result in results] == [check.name for check in HOST_CHECKS]


def test_a_timer_has_a_step():
    step: Callable[[], float] = read_vitals("cpu", "cpu").host_step

    assert step() > 0


def test_anomaly_mode_is_seen():
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        assert "torch.autograd anomaly mode" in read_vitals("cpu", "cpu").torch.modes
