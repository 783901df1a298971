"""The checks of the host: cores, memory, settings and libraries."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from windtunnel.bench.doctor.check import Check, Seen, grade, parse_cpus
from windtunnel.bench.vitals import NotKnownError, Vitals
from windtunnel.language import counted
from windtunnel.records.checkup import CheckStatus
from windtunnel.units import duration, memory, percent

_MIB, _GIB = 2**20, 2**30


def _load_average(vitals: Vitals) -> Seen:
    average, cores = float(vitals.read("/proc/loadavg").split()[0]), len(vitals.cores)
    return Seen(
        status=grade(problem=average > cores, warning=average > cores / 2),
        value=f"{average:.1f} on {counted(cores, 'core')}",
        advice="wait until it falls, or stop what runs: top",
    )


def _busy_cores(vitals: Vitals) -> Seen:
    load, cores = vitals.load(), len(vitals.cores)
    names = ", ".join(f"{name} {share:.1f}" for name, share in load.busiest)
    return Seen(
        status=grade(problem=load.busy > cores / 4, warning=load.busy > cores / 20),
        value=f"{load.busy:.1f} of {counted(cores, 'core')} busy" + (f": {names}" if names else ""),
        advice="stop them, or measure elsewhere: top",
    )


def _threads(vitals: Vitals) -> Seen:
    threads, cores, quota = vitals.torch.num_threads, len(vitals.cores), _cpu_quota(vitals)
    most = max(1, int(min(cores, quota or cores)))
    has = f", a quota of {quota:g} cores" if quota else ""
    return Seen(
        status=grade(problem=threads > most, warning=threads < most and vitals.device == "cpu"),
        value=f"{counted(threads, 'thread')} for {counted(cores, 'core')}{has}",
        advice=f"export OMP_NUM_THREADS={most}",
        why="cores without a thread stay idle." if threads < most else "",
    )


def _spinning(vitals: Vitals) -> Seen:
    policy, load, cores = vitals.environ.get("OMP_WAIT_POLICY", "not set"), vitals.load(), len(vitals.cores)
    spins = policy.upper() != "PASSIVE" and vitals.torch.num_threads > 1
    return Seen(
        status=grade(warning=spins and load.busy > cores / 4),
        value=f"OMP_WAIT_POLICY {policy}, {load.busy:.1f} cores busy",
        advice="export OMP_WAIT_POLICY=PASSIVE  # or leave the machine alone",
    )


def _governor(vitals: Vitals) -> Seen:
    governor = vitals.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    return Seen(
        status=grade(warning=governor != "performance"),
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
        status=grade(warning=is_on and vitals.device == "cpu"),
        value="on" if is_on else "off",
        advice=f"echo {off} | sudo tee {file}",
    )


def _smt(vitals: Vitals) -> Seen:
    if vitals.read("/sys/devices/system/cpu/smt/active").strip() == "0":
        return Seen(status=CheckStatus.OK, value="off")
    siblings = (f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list" for core in sorted(vitals.cores))
    physical = len({vitals.read(file).strip() for file in siblings})
    return Seen(
        status=grade(warning=vitals.torch.num_threads > physical),
        value=f"on: {counted(vitals.torch.num_threads, 'thread')} for {counted(physical, 'physical core')}",
        advice=f"export OMP_NUM_THREADS={physical}",
    )


def _numa(vitals: Vitals) -> Seen:
    nodes = sorted(parse_cpus(vitals.read("/sys/devices/system/node/online")))
    lists = {node: parse_cpus(vitals.read(f"/sys/devices/system/node/node{node}/cpulist")) for node in nodes}
    used = [node for node, cores in lists.items() if cores & vitals.cores]
    return Seen(
        status=grade(warning=len(used) > 1 and vitals.device == "cpu"),
        value=f"{len(used)} of {counted(len(nodes), 'node')} in use",
        advice=f"numactl --cpunodebind={nodes[0]} --membind={nodes[0]} windtunnel run",
    )


def _free_memory(vitals: Vitals) -> Seen:
    sizes = _meminfo(vitals)
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    return Seen(
        status=grade(problem=free < total / 50, warning=free < total / 10),
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
        status=grade(warning=min(limits) < total / 4),
        value=f"{memory(min(limits))} of the {memory(total)} there are",
        advice="give the container more memory, or measure models that fit",
    )


def _swap(vitals: Vitals) -> Seen:
    sizes = _meminfo(vitals)
    used = sizes["SwapTotal"] - sizes["SwapFree"]
    return Seen(
        status=grade(warning=used > 64 * _MIB),
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
        status=grade(problem=step > 1e-5, warning=step > 1e-6),
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
        status=grade(problem=CheckStatus.PROBLEM in worst, warning=bool(are_on)),
        value=", ".join(f"{name}={value}" for name, value in are_on.items()) or "none",
        advice=f"unset {' '.join(are_on)}",
    )


def _modes(vitals: Vitals) -> Seen:
    modes = vitals.torch.modes
    return Seen(status=grade(problem=bool(modes)), value=", ".join(modes) or "none", advice="switch them off")


def _bytecode(vitals: Vitals) -> Seen:
    # Workers are started without PYTHONDONTWRITEBYTECODE, so only a folder that cannot be written is left.
    has = vitals.torch.has_bytecode
    return Seen(
        status=grade(warning=not has),
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
        status=grade(problem=vitals.torch.is_debug or misses_gpu),
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
        status=grade(warning=bool(found)),
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
        status=grade(problem=(stolen or 0.0) > 0.02, warning=True),
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


def _numbers(version: str) -> tuple[int, ...]:
    """Read the leading numbers of a version: '2.13.0+cpu' is (2, 13, 0)."""
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


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
