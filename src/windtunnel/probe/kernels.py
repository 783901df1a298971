"""Which kernels one step runs, phase by phase, as torch's profiler sees them."""

import os
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch.autograd import DeviceType  # pyright: ignore[reportPrivateImportUsage]  # torch names no other place
from torch.profiler import ProfilerActivity, profile

from windtunnel.errors import RunError
from windtunnel.language import counted
from windtunnel.records.record import Kernel

MAX_NAME_LENGTH = 200
"""Names of templates go on for thousands of characters; kernels that first differ after so many are counted as one."""

Phases = Sequence[tuple[str, Callable[[], None]]]

_MARK = "spin_kernel"  # what torch.cuda._sleep launches
_COMPILED_CALL = "## Call CompiledFxGraph"
_ENGINE = "autograd::engine::"

# CUPTI is let go by a call of CUDA's runtime after the profile. Ten calls in 50 ms are more than it needs.
_LETTING_GO_CALLS = 10
_LETTING_GO_SECONDS = 0.05


def read_kernels(phases: Phases, reset: Callable[[], None], device: torch.device) -> tuple[Kernel, ...]:
    """Run one step under the profiler and return what ran in each phase, the longest first.

    The step must have run before, or it is seen with all that only a first step does. `reset` runs before the
    profile. On a GPU each phase ends with a wait for the device, and its kernels are all that ran by then, whichever
    thread launched them, those of CUDA graphs, copies and fills among them. On a CPU it is the operators of PyTorch,
    with the time of their own code; what a compiled graph generates itself is one entry for each graph.

    Args:
        phases: Name and function of each phase of the step, in order.
        reset: What runs before a step.
        device: Where the step runs.

    Returns:
        One kernel for each phase and name, names cut at 200 characters.

    Raises:
        RunError: The profiler did not see all phases (CUDA).
    """
    reset()
    look = _look_at_cuda if device.type == "cuda" else _look_at_cpu
    return tuple(
        kernel for (phase, _), seen in zip(phases, look(phases, device), strict=True) for kernel in _summed(phase, seen)
    )


Seen = list[tuple[str, int]]
"""Names and nanoseconds of what ran, once for each launch."""


def _summed(phase: str, seen: Seen) -> Iterable[Kernel]:
    """Sum what has the same name."""
    launches: dict[str, int] = {}
    nanoseconds: dict[str, int] = {}
    for whole_name, spent in seen:
        name = whole_name[:MAX_NAME_LENGTH]
        launches[name] = launches.get(name, 0) + 1
        nanoseconds[name] = nanoseconds.get(name, 0) + spent
    for name in sorted(nanoseconds, key=lambda name: (-nanoseconds[name], name)):
        yield Kernel(phase=phase, name=name, launches=launches[name], nanoseconds=nanoseconds[name])


def _look_at_cpu(phases: Phases, device: torch.device) -> list[Seen]:
    """Profile each phase on its own."""
    del device
    return [_operators(run) for _, run in phases]


def _operators(run: Callable[[], None]) -> Seen:
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        run()
    return [
        (event.name, round(event.self_cpu_time_total * 1e3))
        for event in seen.events() or ()
        if event.name.startswith(_COMPILED_CALL) or ("::" in event.name and not event.name.startswith(_ENGINE))
    ]


def _look_at_cuda(phases: Phases, device: torch.device) -> list[Seen]:
    """Profile the device through the whole step, with a kernel of our own before each phase.

    Marks on the device itself need no clock of the host beside it, and no record of what the host did, which would
    cost more than all kernels.
    """
    ask_to_let_go_of_cupti()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        for _, run in phases:
            torch.cuda._sleep(1)  # pyright: ignore[reportPrivateUsage]  # the only kernel of torch that does nothing
            torch.cuda.synchronize(device)
            run()
            torch.cuda.synchronize(device)
    let_go_of_cupti(device)
    ran = [
        event
        for event in seen.events() or ()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation  # ranges that the host named
    ]
    ran.sort(key=lambda event: event.time_range.start)
    found: list[Seen] = []
    for event in ran:
        if _MARK in event.name:
            found.append([])
        elif found:
            found[-1].append((event.name, round(event.time_range.elapsed_us() * 1e3)))
    if len(found) != len(phases):
        raise RunError(
            f"the profiler saw {len(found)} of {counted(len(phases), 'phase')} begin on {device}: which kernels ran is "
            "not known (does another profiler hold CUPTI, or does the driver keep it for administrators?)"
        )
    return found


def ask_to_let_go_of_cupti() -> None:
    """Ask torch to detach CUPTI after a profile; call it before the first one.

    Else CUPTI stays attached, and all launches after the profile are slower, those of the next cells too
    (pytorch#144455); torch sets it to 0 itself where CUDA graphs would not survive that.
    """
    os.environ.setdefault("TEARDOWN_CUPTI", "1")


def let_go_of_cupti(device: torch.device) -> None:
    """Give CUPTI the calls of the runtime after a profile in which it detaches."""
    for _ in range(_LETTING_GO_CALLS):
        time.sleep(_LETTING_GO_SECONDS / _LETTING_GO_CALLS)
        torch.cuda.synchronize(device)
