"""What about this machine would spoil a measurement: a table of checks, each a function of the vitals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from windtunnel.bench.vitals import NotKnownError, Vitals
from windtunnel.records.checkup import CheckResult, CheckStatus
from windtunnel.units import counted, duration, memory, percent

_MIB, _GIB = 2**20, 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a check saw; `advice` is a command where there is one, and is shown for a warning or a problem only."""

    status: CheckStatus
    value: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A line of the table: `why` is one sentence on why it matters."""

    name: str
    why: str
    look: Callable[[Vitals], Seen]


def examine(vitals: Vitals) -> tuple[CheckResult, ...]:
    """Make all checks that apply to the device, in the order of the table."""
    checks = HOST_CHECKS if vitals.device == "cpu" else (*GPU_CHECKS, *HOST_CHECKS)
    return tuple(_result(check, vitals) for check in checks)


def _result(check: Check, vitals: Vitals) -> CheckResult:
    try:
        seen = check.look(vitals)
    except OSError as error:
        return _not_known(check, f"{error.filename or 'the system'}: {error.strerror or error}")
    except NotKnownError as error:
        return _not_known(check, str(error))
    except (ValueError, IndexError, KeyError) as error:  # a file that is written in another way than we know
        return _not_known(check, f"what the system says is not understood: {error}")
    advice = seen.advice if seen.status in {CheckStatus.WARNING, CheckStatus.PROBLEM} else ""
    return CheckResult(name=check.name, status=seen.status, value=seen.value, why=check.why, advice=advice)


def _not_known(check: Check, reason: str) -> CheckResult:
    return CheckResult(name=check.name, status=CheckStatus.NOT_KNOWN, value="", why=reason)


def _grade(*, problem: bool = False, warning: bool = False) -> CheckStatus:
    return CheckStatus.PROBLEM if problem else CheckStatus.WARNING if warning else CheckStatus.OK


_UNSEEN_BYTES = _GIB
"""The driver alone holds some 600 MiB of an H200; more than this is somebody's."""


def _gpu_processes(vitals: Vitals) -> Seen:
    running = [*vitals.ask("ComputeRunningProcesses"), *vitals.ask("GraphicsRunningProcesses")]
    names = [f"{vitals.process_name(process.pid)} ({memory(process.usedGpuMemory)})" for process in running]
    used = vitals.ask("MemoryInfo").used
    unseen = not names and used > _UNSEEN_BYTES
    value = ", ".join(names) or (f"{memory(used)} held by what cannot be seen from here" if unseen else "none")
    return Seen(status=_grade(problem=bool(names) or unseen), value=value, advice="nvidia-smi  # then stop the others")


def _gpu_utilisation(vitals: Vitals) -> Seen:
    busy = vitals.ask("UtilizationRates").gpu
    return Seen(status=_grade(problem=busy > 5), value=f"{busy} %", advice="nvidia-smi pmon -c 1")


_IDLE_REASONS = 0x1
_WORST_REASONS = 0x8 | 0x20 | 0x40 | 0x80
_REASONS = {  # nvml.h, nvmlClocksEventReason*
    0x1: "idle",
    0x2: "clocks set by an application or an administrator",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clocks",
}


def _gpu_clock(vitals: Vitals) -> Seen:
    streaming = 1  # NVML_CLOCK_SM
    now, most = vitals.ask("ClockInfo", streaming), vitals.ask("MaxClockInfo", streaming)
    mask = vitals.ask("CurrentClocksThrottleReasons")
    reasons = [name for bit, name in _REASONS.items() if mask & bit] or ["nothing holds it down"]
    return Seen(
        status=_grade(problem=bool(mask & _WORST_REASONS), warning=bool(mask & ~_IDLE_REASONS)),
        value=f"{now:,} of {most:,} MHz: {', '.join(reasons)}",
        advice="nvidia-smi -q -d PERFORMANCE,CLOCK  # sudo nvidia-smi --reset-gpu-clocks lifts a clock that was set",
    )


def _gpu_power(vitals: Vitals) -> Seen:
    limit, default = vitals.ask("PowerManagementLimit") / 1000, vitals.ask("PowerManagementDefaultLimit") / 1000
    return Seen(
        status=_grade(warning=limit < default),
        value=f"limit {limit:,.0f} W, default {default:,.0f} W",
        advice=f"sudo nvidia-smi --power-limit={default:.0f}",
    )


def _gpu_temperature(vitals: Vitals) -> Seen:
    now, slowdown = vitals.ask("Temperature", 0), vitals.ask("TemperatureThreshold", 1)  # the sensor; where it slows
    return Seen(
        status=_grade(problem=now > slowdown - 5, warning=now > slowdown - 15),
        value=f"{now} °C, slows down at {slowdown} °C",
        advice="let it cool, and look at its fans and the air around it",
    )


def _gpu_errors(vitals: Vitals) -> Seen:
    is_on, is_on_after_restart = vitals.ask("EccMode")
    if not is_on:
        return Seen(
            status=_grade(warning=bool(is_on_after_restart)),
            value="off, and on after a restart" if is_on_after_restart else "off",
            advice="restart the machine, so that all runs have one setting",
        )
    uncorrected = vitals.ask("TotalEccErrors", 1, 0)  # uncorrected, since the driver was loaded
    return Seen(
        status=_grade(problem=uncorrected > 0),
        value=f"on, {counted(uncorrected, 'uncorrected error')}",
        advice="nvidia-smi -q -d ECC,ROW_REMAPPER",
    )


def _gpu_persistence(vitals: Vitals) -> Seen:
    is_on = bool(vitals.ask("PersistenceMode"))
    return Seen(status=_grade(warning=not is_on), value="on" if is_on else "off", advice="sudo nvidia-smi -pm 1")


def _gpu_slices(vitals: Vitals) -> Seen:
    is_on = bool(vitals.ask("MigMode")[0])
    return Seen(status=_grade(warning=is_on), value="on" if is_on else "off", advice="sudo nvidia-smi -mig 0")


def _gpu_affinity(vitals: Vitals) -> Seen:
    place = vitals.ask("PciInfo").busId
    place = (place if isinstance(place, str) else place.decode()).lower()[4:]  # the kernel writes 4 digits less
    node = int(vitals.read(f"/sys/bus/pci/devices/{place}/numa_node"))
    if node < 0:
        return Seen(status=CheckStatus.OK, value="the GPU belongs to no NUMA node")
    near = _parse_cpus(vitals.read(f"/sys/devices/system/node/node{node}/cpulist"))
    far = vitals.cores - near
    return Seen(
        status=_grade(warning=bool(far)),
        value=f"{len(far)} of {counted(len(vitals.cores), 'core')} are not on the GPU's node {node}",
        advice=f"numactl --cpunodebind={node} --membind={node} windtunnel run",
    )


def _event_timer(vitals: Vitals) -> Seen:
    step = vitals.event_step()
    return Seen(
        status=_grade(warning=step > 2e-6), value=f"{duration(step)} a step", advice="time phases over 1 ms only"
    )


def _load_average(vitals: Vitals) -> Seen:
    average, cores = float(vitals.read("/proc/loadavg").split()[0]), len(vitals.cores)
    return Seen(
        status=_grade(problem=average > cores, warning=average > cores / 2),
        value=f"{average:.1f} on {counted(cores, 'core')}",
        advice="wait until it falls, or stop what runs: top",
    )


def _busy_cores(vitals: Vitals) -> Seen:
    load, cores = vitals.load(), len(vitals.cores)
    names = ", ".join(f"{name} {share:.1f}" for name, share in load.busiest)
    return Seen(
        status=_grade(problem=load.busy > cores / 4, warning=load.busy > cores / 20),
        value=f"{load.busy:.1f} of {counted(cores, 'core')} busy" + (f": {names}" if names else ""),
        advice="stop them, or measure elsewhere: top",
    )


def _threads(vitals: Vitals) -> Seen:
    threads, cores, quota = vitals.torch.num_threads, len(vitals.cores), _cpu_quota(vitals)
    most = max(1, int(min(cores, quota or cores)))
    has = f", a quota of {quota:g} cores" if quota else ""
    return Seen(
        status=_grade(problem=threads > most, warning=threads < most and vitals.device == "cpu"),
        value=f"{counted(threads, 'thread')} for {counted(cores, 'core')}{has}",
        advice=f"export OMP_NUM_THREADS={most}",
    )


def _spinning(vitals: Vitals) -> Seen:
    policy, load, cores = vitals.environ.get("OMP_WAIT_POLICY", "not set"), vitals.load(), len(vitals.cores)
    spins = policy.upper() != "PASSIVE" and vitals.torch.num_threads > 1
    return Seen(
        status=_grade(warning=spins and load.busy > cores / 4),
        value=f"OMP_WAIT_POLICY {policy}, {load.busy:.1f} cores busy",
        advice="export OMP_WAIT_POLICY=PASSIVE  # or leave the machine alone",
    )


def _governor(vitals: Vitals) -> Seen:
    governor = vitals.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    return Seen(
        status=_grade(warning=governor != "performance"),
        value=governor,
        advice="sudo cpupower frequency-set -g performance",
    )


def _boost(vitals: Vitals) -> Seen:
    intel, others = "/sys/devices/system/cpu/intel_pstate/no_turbo", "/sys/devices/system/cpu/cpufreq/boost"
    try:
        is_on, file, off = vitals.read(intel).strip() == "0", intel, 1
    except OSError:
        is_on, file, off = vitals.read(others).strip() == "1", others, 0
    return Seen(
        status=_grade(warning=is_on and vitals.device == "cpu"),
        value="on" if is_on else "off",
        advice=f"echo {off} | sudo tee {file}",
    )


def _smt(vitals: Vitals) -> Seen:
    if vitals.read("/sys/devices/system/cpu/smt/active").strip() == "0":
        return Seen(status=CheckStatus.OK, value="off")
    siblings = (f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list" for core in sorted(vitals.cores))
    physical = len({vitals.read(file).strip() for file in siblings})
    return Seen(
        status=_grade(warning=vitals.torch.num_threads > physical),
        value=f"on: {counted(vitals.torch.num_threads, 'thread')} for {counted(physical, 'physical core')}",
        advice=f"export OMP_NUM_THREADS={physical}",
    )


def _numa(vitals: Vitals) -> Seen:
    nodes = sorted(_parse_cpus(vitals.read("/sys/devices/system/node/online")))
    lists = {node: _parse_cpus(vitals.read(f"/sys/devices/system/node/node{node}/cpulist")) for node in nodes}
    used = [node for node, cores in lists.items() if cores & vitals.cores]
    return Seen(
        status=_grade(warning=len(used) > 1 and vitals.device == "cpu"),
        value=f"{len(used)} of {counted(len(nodes), 'node')} in use",
        advice=f"numactl --cpunodebind={nodes[0]} --membind={nodes[0]} windtunnel run",
    )


def _free_memory(vitals: Vitals) -> Seen:
    sizes = _meminfo(vitals)
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    return Seen(
        status=_grade(problem=free < total / 50, warning=free < total / 10),
        value=f"{memory(free)} of {memory(total)} free",
        advice="stop what holds it: ps aux --sort=-rss | head",
    )


def _memory_limit(vitals: Vitals) -> Seen:
    texts = (*_cgroup(vitals, "memory.max"), *_cgroup(vitals, "memory.limit_in_bytes"))
    total = _meminfo(vitals)["MemTotal"]
    limits = [limit for text in texts if text.isdecimal() and (limit := int(text)) < total]  # "max" and 2**63 are none
    if not limits:
        return Seen(status=CheckStatus.OK, value="none")
    return Seen(
        status=_grade(warning=min(limits) < total / 4),
        value=f"{memory(min(limits))} of the {memory(total)} there are",
        advice="give the container more memory, or measure models that fit",
    )


def _swap(vitals: Vitals) -> Seen:
    sizes = _meminfo(vitals)
    used = sizes["SwapTotal"] - sizes["SwapFree"]
    return Seen(
        status=_grade(warning=used > 64 * _MIB),
        value=f"{memory(used)} in use" if sizes["SwapTotal"] else "there is none",
        advice="sudo swapoff -a && sudo swapon -a",
    )


def _host_timer(vitals: Vitals) -> Seen:
    step = vitals.host_step()
    try:
        source = vitals.read("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip()
    except OSError:
        source = "a source that is not known"
    return Seen(
        status=_grade(problem=step > 1e-5, warning=step > 1e-6),
        value=f"{duration(step)} a step, from {source}",
        advice="boot the kernel with clocksource=tsc",
    )


_OFF = frozenset({"", "0", "default"})
_DEBUG_VARIABLES = {
    "CUDA_LAUNCH_BLOCKING": CheckStatus.PROBLEM,  # the host waits for each kernel
    "PYTORCH_NO_CUDA_MEMORY_CACHING": CheckStatus.PROBLEM,  # each tensor is a cudaMalloc
    "PYTHONDEVMODE": CheckStatus.PROBLEM,  # debug hooks in every allocation
    "PYTHONMALLOC": CheckStatus.WARNING,
    "PYTHONTRACEMALLOC": CheckStatus.PROBLEM,
    "PYTHONPROFILEIMPORTTIME": CheckStatus.WARNING,
    "NVIDIA_TF32_OVERRIDE": CheckStatus.WARNING,  # fp32 cells would be TF32, or the other way round
    "TORCH_LOGS": CheckStatus.WARNING,
    "TORCH_COMPILE_DEBUG": CheckStatus.WARNING,
    "TORCHDYNAMO_DISABLE": CheckStatus.PROBLEM,  # compiled cells would be eager
    "TORCH_SHOW_DISPATCH_TRACE": CheckStatus.PROBLEM,
    "TORCH_DISTRIBUTED_DEBUG": CheckStatus.WARNING,
    "NCCL_DEBUG": CheckStatus.WARNING,
}


def _debug_variables(vitals: Vitals) -> Seen:
    seen = {name: vitals.environ.get(name, "") for name in _DEBUG_VARIABLES}
    # Of this one also 0 is a setting: it makes tf32 cells fp32.
    are_on = {name: value for name, value in seen.items() if value not in _OFF or (value and "TF32" in name)}
    worst = {_DEBUG_VARIABLES[name] for name in are_on}
    return Seen(
        status=_grade(problem=CheckStatus.PROBLEM in worst, warning=bool(are_on)),
        value=", ".join(f"{name}={value}" for name, value in are_on.items()) or "none",
        advice=f"unset {' '.join(are_on)}",
    )


def _modes(vitals: Vitals) -> Seen:
    modes = vitals.torch.modes
    return Seen(status=_grade(problem=bool(modes)), value=", ".join(modes) or "none", advice="switch them off")


def _bytecode(vitals: Vitals) -> Seen:
    # Workers are started without PYTHONDONTWRITEBYTECODE, so only a folder that cannot be written is left.
    has = vitals.torch.has_bytecode
    return Seen(
        status=_grade(warning=not has),
        value="torch is compiled" if has else "torch is compiled again in every process",
        advice="python -m compileall -q $(python -c 'import torch; print(torch.__path__[0])')",
    )


def _torch_build(vitals: Vitals) -> Seen:
    build = "debug build" if vitals.torch.is_debug else f"CUDA {vitals.torch.cuda}" if vitals.torch.cuda else "CPU only"
    try:
        vitals.read("/proc/driver/nvidia/version")
        has_driver = True
    except OSError:
        has_driver = False
    misses_gpu = has_driver and not vitals.torch.cuda and vitals.asked != "cpu"
    return Seen(
        status=_grade(problem=vitals.torch.is_debug or misses_gpu),
        value=f"{build}, on a machine with an NVIDIA driver" if misses_gpu else build,
        advice="pip install --force-reinstall torch  # a build for CUDA, not for debugging: https://pytorch.org",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _BadVersion:
    """Versions of a package from `first` to below `end` that spoil measurements; None: no bound."""

    package: str
    reason: str
    first: tuple[int, ...] | None = None
    end: tuple[int, ...] | None = None


_BAD_VERSIONS = (
    _BadVersion(package="torch", end=(2, 11), reason="older than what windtunnel is tested with"),
    _BadVersion(package="pynvml", reason="hides nvidia-ml-py, whose module has the same name"),
)


def _versions(vitals: Vitals) -> Seen:
    found = [
        (bad, version)
        for bad in _BAD_VERSIONS
        if (version := vitals.version(bad.package)) is not None
        and (bad.first is None or _numbers(version) >= bad.first)
        and (bad.end is None or _numbers(version) < bad.end)
    ]
    return Seen(
        status=_grade(warning=bool(found)),
        value=", ".join(f"{bad.package} {version}: {bad.reason}" for bad, version in found) or "none",
        advice="change these: pip install -U windtunnel" if found and found[0][0].end else "pip uninstall pynvml",
    )


def _virtual_machine(vitals: Vitals) -> Seen:
    lines = vitals.read("/proc/cpuinfo").splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    if flags is None:
        raise NotKnownError("/proc/cpuinfo has no flags on this kind of CPU")
    if "hypervisor" not in flags:
        return Seen(status=CheckStatus.OK, value="no")
    stolen = vitals.load().stolen
    return Seen(
        status=_grade(problem=(stolen or 0.0) > 0.02, warning=True),
        value=f"yes, {percent(stolen)} of CPU time stolen",
        advice="repeat at another hour and compare, or use a dedicated machine",
    )


def _cpu_quota(vitals: Vitals) -> float | None:
    """Return the least quota of our cgroups in cores; None where there is none."""
    quotas: list[float] = []
    for text in _cgroup(vitals, "cpu.max"):
        quota, period = text.split()
        quotas += [int(quota) / int(period)] if quota != "max" else []
    times = zip(_cgroup(vitals, "cpu.cfs_quota_us"), _cgroup(vitals, "cpu.cfs_period_us"), strict=True)
    quotas += [int(quota) / int(period) for quota, period in times if int(quota) > 0]
    return min(quotas, default=None)


def _cgroup(vitals: Vitals, name: str) -> Iterator[str]:
    """Yield what a file says in our own cgroups and all above them; a group without it sets no limit."""
    for line in vitals.read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        top = PurePosixPath("/sys/fs/cgroup") / controllers  # version 2 has no controllers there
        own = PurePosixPath(path.lstrip("/"))
        for group in dict.fromkeys((own, *own.parents)):
            try:
                yield vitals.read(str(top / group / name)).strip()
            except OSError:
                continue


def _meminfo(vitals: Vitals) -> dict[str, int]:
    lines = (line.split() for line in vitals.read("/proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def _parse_cpus(text: str) -> frozenset[int]:
    """Read the kernel's lists: '0-3,8' is 0, 1, 2, 3 and 8."""
    bounds = [part.split("-") for part in text.strip().split(",") if part]
    return frozenset(number for bound in bounds for number in range(int(bound[0]), int(bound[-1]) + 1))


def _numbers(version: str) -> tuple[int, ...]:
    """Read the leading numbers of a version: '2.13.0+cpu' is (2, 13, 0)."""
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


GPU_CHECKS = (
    Check(name="processes on the GPU", why="they take time and memory from the samples.", look=_gpu_processes),
    Check(name="GPU utilisation", why="a GPU that works already is shared.", look=_gpu_utilisation),
    Check(name="GPU clock", why="a clock that is held down makes every kernel slower.", look=_gpu_clock),
    Check(name="GPU power limit", why="below its default the clock falls under load.", look=_gpu_power),
    Check(name="GPU temperature", why="a hot GPU lowers its clock.", look=_gpu_temperature),
    Check(name="GPU memory errors", why="a faulty memory is slow and wrong.", look=_gpu_errors),
    Check(name="GPU persistence mode", why="without it the driver is loaded anew for a worker.", look=_gpu_persistence),
    Check(name="MIG", why="a slice of a GPU has none of the datasheet's rates.", look=_gpu_slices),
    Check(name="GPU affinity", why="launches and copies from a far node are slower.", look=_gpu_affinity),
    Check(name="GPU timer", why="a phase shorter than some steps of the timer cannot be timed.", look=_event_timer),
)
"""Checks of a CUDA device in their order: the timer comes last, as its context would be seen as memory in use."""

HOST_CHECKS = (
    Check(name="load average", why="what waits for a core delays the host and its launches.", look=_load_average),
    Check(name="CPU in use", why="other programs take cores, caches and memory bandwidth.", look=_busy_cores),
    Check(name="threads", why="threads without a core of their own wait for one another.", look=_threads),
    Check(name="spinning threads", why="threads that spin take the cores others wait for.", look=_spinning),
    Check(name="CPU governor", why="others than performance change the clock in a run.", look=_governor),
    Check(name="CPU boost", why="a boosted clock depends on temperature and on what else runs.", look=_boost),
    Check(name="SMT", why="two threads on one core share its units.", look=_smt),
    Check(name="NUMA nodes", why="memory of another node is slower.", look=_numa),
    Check(name="memory", why="without free memory the host swaps or kills a worker.", look=_free_memory),
    Check(name="memory limit", why="a worker that reaches it is killed.", look=_memory_limit),
    Check(name="swap", why="a page that comes back from disk does so inside a sample.", look=_swap),
    Check(name="host timer", why="a step shorter than some steps of the timer cannot be timed.", look=_host_timer),
    Check(name="debug variables", why="they slow the code or change what it does.", look=_debug_variables),
    Check(name="debug modes", why="they slow every operation.", look=_modes),
    Check(name="bytecode", why="without it each worker starts seconds later.", look=_bytecode),
    Check(name="torch build", why="another build measures another library, or no GPU.", look=_torch_build),
    Check(name="versions", why="these are known to be bad.", look=_versions),
    Check(name="virtual machine", why="its neighbours are felt and not seen.", look=_virtual_machine),
)
"""Checks of the host, in the same order."""
