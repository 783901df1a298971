"""What a call of an attention backend costs the host beyond its launches: fitted to, and measured without a GPU.

Run with `python benchmarks/host_work.py`: a call of `flash-triton` for Hopper with nothing in place of Triton's
launcher, beside small operations of torch, in microseconds of this host. With stores of a CUDA machine as arguments it
prints instead, by backend and workload, what steps that wait for the host took longer than their launches alone.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from windtunnel.analysis.results import Row, load_results
from windtunnel.cost.cell_program import cell_program
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.time import predict_time
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.spec.model import ModelSpec

CALLS, REPEATS = 300, 9


def main(stores: Sequence[Path]) -> None:
    """Print either table."""
    for store in stores:
        print(store)
        _print_beyond([row for row in load_results(store) if row.plan.purpose == "time" and row.is_ok])
    if not stores:
        _print_call()


def _print_beyond(rows: Sequence[Row]) -> None:
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        estimate, launching = row.estimate(), _launching(row)
        if estimate and launching and isinstance(row.cell.model, ModelSpec):
            beyond = (estimate.value - launching) / row.cell.model.num_layers * 1e6
            found.setdefault((row.cell.attention, row.cell.workload), []).append(beyond)
    for (attention, workload), values in sorted(found.items()):
        print(f"  {attention:14} {workload:18} {len(values):3} steps, {median(values):6.0f} us a layer in the median")


def _launching(row: Row) -> float | None:
    """Return how long the host launches a step, without what Python costs beside; None where the device bounds it."""
    assert row.calibration is not None, "calibrate first: datasheets do not say how long a launch takes"
    predicted = predict_time(row.cell, calibrated_ceilings(row.calibration, peaks_of(row.environment.device_name)))
    alone: dict[str, float] = {}
    for name, phase in predicted.phases.items():
        operations = cell_program(row.cell, "adamw").phases[name].operations
        more = sum(one.count * one.more_host_work for one in operations)
        alone[name] = (phase.launch_seconds or 0.0) * phase.launches / (phase.launches + more)
    work = {name: phase.device_seconds or 0.0 for name, phase in predicted.phases.items()}
    longest = max(alone, key=lambda name: max(alone[name], work[name]))
    if alone[longest] <= work[longest]:
        return None
    return sum(max(alone[name], work[name]) for name in alone)


class _Nothing:
    """In place of Triton's launcher, and of the driver that loads what it launches."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever a launcher takes."""

    def __call__(self, *_: Any, **__: Any) -> None:
        """Launch nothing."""

    def load_binary(self, *_: Any) -> tuple[int, ...]:
        """Return a module, a function, its registers, spills and threads."""
        return 1, 2, 64, 0, 1024

    def get_device_properties(self, _: int) -> dict[str, int]:
        """Return what compiling asks for."""
        return {"max_shared_mem": 232_448, "multiprocessor_count": 132, "warpSize": 32, "max_num_regs": 65_536}


def _print_call() -> None:
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    from windtunnel.attention import flash_triton

    class Hopper:
        launcher_cls = _Nothing
        utils = _Nothing()
        get_current_device = staticmethod(lambda: 0)
        get_current_stream = staticmethod(lambda _: 0)
        get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
        map_python_to_cpp_type = staticmethod(lambda name: name)

    driver.set_active(Hopper())  # pyright: ignore[reportArgumentType]  # as much of a driver as a launch asks for
    flash_triton._capability = lambda _: (9, 0)  # pyright: ignore
    q, k, v = (torch.randn(4, 16, 256, 64).bfloat16() for _ in range(3))
    small = torch.randn(4)
    for name, call in {
        "a small softmax": lambda: torch.softmax(small, 0),
        "a small addition": lambda: small.add_(1),
        "its kernel and checks": lambda: flash_triton._forward(q, k, v, True, None),  # pyright: ignore
        "a call of flash-triton": lambda: flash_triton.FlashAttention2Triton.apply(q, k, v, True),
    }.items():
        print(f"{name:24} {_microseconds(call):6.1f} us")


def _microseconds(call: Callable[[], object]) -> float:
    """Return the least mean of some repeats, as others may use this machine."""
    for _ in range(20):
        call()
    spent: list[float] = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        spent.append((time.perf_counter() - begin) / CALLS * 1e6)
    return min(spent)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
