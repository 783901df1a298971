"""The checks of a CUDA device."""

from windtunnel.bench.doctor.check import Check, Seen, grade, parse_cpus
from windtunnel.bench.vitals import Vitals
from windtunnel.language import counted
from windtunnel.records.checkup import CheckStatus
from windtunnel.records.throttling import THROTTLE_REASONS
from windtunnel.units import duration, memory

_MIB, _GIB = 2**20, 2**30


_UNSEEN_BYTES = _GIB
"""The driver alone holds some 600 MiB of an H200; more than this is somebody's."""


def _gpu_processes(vitals: Vitals) -> Seen:
    running = [*vitals.ask("ComputeRunningProcesses"), *vitals.ask("GraphicsRunningProcesses")]
    names = [f"{vitals.process_name(process.pid)} ({memory(process.usedGpuMemory)})" for process in running]
    used = vitals.ask("MemoryInfo").used
    unseen = not names and used > _UNSEEN_BYTES
    value = ", ".join(names) or (f"{memory(used)} held by what cannot be seen from here" if unseen else "none")
    return Seen(status=grade(problem=bool(names) or unseen), value=value, advice="nvidia-smi  # then stop the others")


def _gpu_utilisation(vitals: Vitals) -> Seen:
    busy = vitals.ask("UtilizationRates").gpu
    return Seen(status=grade(problem=busy > 5), value=f"{busy} %", advice="nvidia-smi pmon -c 1")


_IDLE_REASONS = 0x1
_WORST_REASONS = 0x8 | 0x20 | 0x40 | 0x80


def _gpu_clock(vitals: Vitals) -> Seen:
    streaming = 1  # NVML_CLOCK_SM
    now, most = vitals.ask("ClockInfo", streaming), vitals.ask("MaxClockInfo", streaming)
    mask = vitals.ask("CurrentClocksThrottleReasons")
    reasons = [name for bit, name in THROTTLE_REASONS.items() if mask & bit] or ["nothing holds it down"]
    return Seen(
        status=grade(problem=bool(mask & _WORST_REASONS), warning=bool(mask & ~_IDLE_REASONS)),
        value=f"{now:,} of {most:,} MHz: {', '.join(reasons)}",
        advice="nvidia-smi -q -d PERFORMANCE,CLOCK  # sudo nvidia-smi --reset-gpu-clocks lifts a clock that was set",
    )


def _gpu_power(vitals: Vitals) -> Seen:
    limit, default = vitals.ask("PowerManagementLimit") / 1000, vitals.ask("PowerManagementDefaultLimit") / 1000
    return Seen(
        status=grade(warning=limit < default),
        value=f"limit {limit:,.0f} W, default {default:,.0f} W",
        advice=f"sudo nvidia-smi --power-limit={default:.0f}",
    )


def _gpu_temperature(vitals: Vitals) -> Seen:
    now, slowdown = vitals.ask("Temperature", 0), vitals.ask("TemperatureThreshold", 1)  # the sensor; where it slows
    return Seen(
        status=grade(problem=now > slowdown - 5, warning=now > slowdown - 15),
        value=f"{now} °C, slows down at {slowdown} °C",
        advice="let it cool, and look at its fans and the air around it",
    )


def _gpu_errors(vitals: Vitals) -> Seen:
    is_on, is_on_after_restart = vitals.ask("EccMode")
    if not is_on:
        return Seen(
            status=grade(warning=bool(is_on_after_restart)),
            value="off, and on after a restart" if is_on_after_restart else "off",
            advice="restart the machine, so that all runs have one setting",
        )
    uncorrected = vitals.ask("TotalEccErrors", 1, 0)  # uncorrected, since the driver was loaded
    return Seen(
        status=grade(problem=uncorrected > 0),
        value=f"on, {counted(uncorrected, 'uncorrected error')}",
        advice="nvidia-smi -q -d ECC,ROW_REMAPPER",
    )


def _gpu_persistence(vitals: Vitals) -> Seen:
    is_on = bool(vitals.ask("PersistenceMode"))
    return Seen(status=grade(warning=not is_on), value="on" if is_on else "off", advice="sudo nvidia-smi -pm 1")


def _gpu_slices(vitals: Vitals) -> Seen:
    is_on = bool(vitals.ask("MigMode")[0])
    return Seen(status=grade(warning=is_on), value="on" if is_on else "off", advice="sudo nvidia-smi -mig 0")


def _gpu_affinity(vitals: Vitals) -> Seen:
    place = vitals.ask("PciInfo").busId
    place = (place if isinstance(place, str) else place.decode()).lower()[4:]  # the kernel writes 4 digits less
    node = int(vitals.read(f"/sys/bus/pci/devices/{place}/numa_node"))
    if node < 0:
        return Seen(status=CheckStatus.OK, value="the GPU belongs to no NUMA node")
    near = parse_cpus(vitals.read(f"/sys/devices/system/node/node{node}/cpulist"))
    far = vitals.cores - near
    return Seen(
        status=grade(warning=bool(far)),
        value=f"{len(far)} of {counted(len(vitals.cores), 'core')} are not on the GPU's node {node}",
        advice=f"numactl --cpunodebind={node} --membind={node} windtunnel run",
    )


def _event_timer(vitals: Vitals) -> Seen:
    step = vitals.event_step()
    return Seen(
        status=grade(warning=step > 2e-6), value=f"{duration(step)} a step", advice="time phases over 1 ms only"
    )


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
