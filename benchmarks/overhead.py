"""What the loop that measures adds to a step, against a bare loop that waits for the device and reads the clock twice.

    python benchmarks/overhead.py [--device cpu] [--out table.md]

Each sample is five steps, by `bench.loop.run_steps` under the clock of cells or by the bare loop, in pairs of balanced
random order. An outer clock times the whole call, so all that ours does is in it: marks, events, phases; beside it
stands the time of a step that each loop reports. Two bare loops beside each pair say what the run could have seen.
Expected: less than 0.5 % of steps of 1 ms or more. Takes about a minute.
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from windtunnel.bench.build import build_workload
from windtunnel.bench.clock import make_clock
from windtunnel.bench.loop import no_garbage_collection, run_steps
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import NAMED_SIZES, ModelSpec
from windtunnel.statistics.paired import LEAST_PAIRS, Side, draw_block, judge
from windtunnel.units import change, duration, percent

LIMIT = 0.005
STEPS = 5
"""In one sample, as a cell's steps run one after the other."""

MOST_PAIRS = 1000
SECONDS = 15.0
"""For each of the two workloads."""

SHORTEST_SECONDS = 1e-3
CPU_MODEL = ModelSpec(name="tiny", d_model=64, d_ff=128, num_layers=2, num_heads=4, vocab_size=1000)


def main() -> None:
    """Measure both workloads and print the table, or write it."""
    parser = argparse.ArgumentParser(description="Overhead of the measuring loop.")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="where the table goes; standard output if left out")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    begin = time.perf_counter()
    lines = [
        "| step | what | bare | ours, longer by | 99 % interval | could have seen | under 0.5 % |",
        "|---|---|--:|--:|--:|--:|---|",
        *(line for name, workload in _workloads(device).items() for line in _rows(name, workload, device)),
        "",
        f"{time.perf_counter() - begin:.0f} s on {_name(device)}; Python "
        f"{platform.python_version()}, torch {torch.__version__}.",
    ]
    text = "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"


def _workloads(device: torch.device) -> dict[str, Workload]:
    is_cuda = device.type == "cuda"
    cell = Cell(
        model=NAMED_SIZES["small"] if is_cuda else CPU_MODEL,
        workload="forward_backward",
        batch_size=16 if is_cuda else 4,  # enough for the device to be the slower one
        context_length=512 if is_cuda else 64,
        device=str(device),
    )
    return {
        f"forward + backward of {cell.model.name}, 3 phases": build_workload(cell),
        "one matrix product": _product(device),
    }


def _product(device: torch.device) -> Workload:
    """Return a product just large enough to take more than a millisecond."""
    edge = 128
    while True:
        left = torch.randn(edge, edge, device=device)
        out = torch.empty_like(left)

        def multiply(left: torch.Tensor = left, out: torch.Tensor = out) -> None:
            torch.mm(left, left, out=out)

        workload = Workload(
            phases=(Phase(name="product", run=multiply),), total="product", reset=lambda: None, fault=lambda: None
        )
        if min(run_bare(workload, 50, device)) > 1.2 * SHORTEST_SECONDS:
            return workload
        edge = math.ceil(edge * 1.2 / 32) * 32


def run_bare(workload: Workload, count: int, device: torch.device) -> list[float]:
    """Run and time whole steps with as little as is needed for that."""
    synchronise: Callable[[], None] = (
        (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    )
    actions = [phase.run for phase in workload.phases]
    seconds: list[float] = []
    with no_garbage_collection():
        for _ in range(count):
            workload.reset()
            synchronise()
            begin = time.perf_counter()
            for act in actions:
                act()
            synchronise()
            seconds.append(time.perf_counter() - begin)
    return seconds


def _rows(name: str, workload: Workload, device: torch.device) -> tuple[str, str]:
    """Return the line of the whole loop, as an outer clock times it, and that of the step that each loop reports."""
    clock = make_clock(device, num_phases=len(workload.phases), num_steps=STEPS)

    def ours() -> tuple[float, float]:
        begin = time.perf_counter()
        run_steps(workload, clock, STEPS)
        whole = time.perf_counter() - begin
        return whole, 1e-9 * sum(step.total[ClockName.HOST] for step in clock.read())

    def bare() -> tuple[float, float]:
        begin = time.perf_counter()
        reported = run_bare(workload, STEPS, device)
        return time.perf_counter() - begin, sum(reported)

    sides = {Side.A: bare, Side.B: ours}
    with no_garbage_collection():  # once, around all: a collection is not the loop's own cost
        once = min(bare()[0] + ours()[0] for _ in range(10))
        pairs = min(MOST_PAIRS, max(LEAST_PAIRS, int(SECONDS / (2 * once))))
        generator = Random(0)
        times: dict[Side, list[tuple[float, float]]] = {side: [] for side in Side}
        null: list[tuple[tuple[float, float], tuple[float, float]]] = []
        for first in (first for _ in range((pairs + 1) // 2) for first in draw_block(generator)):
            for side in (first, *(side for side in Side if side != first)):
                times[side].append(sides[side]())
            null.append((bare(), bare()))
    step = statistics.median(whole for whole, _ in times[Side.A]) / STEPS
    assert step >= SHORTEST_SECONDS, f"{name} takes {duration(step)} only"

    def line(what: str, place: int) -> str:
        differences = [math.log(b[place] / a[place]) for a, b in zip(times[Side.A], times[Side.B], strict=True)]
        found = judge(differences, [math.log(b[place] / a[place]) for a, b in null], delta=LIMIT)
        answer = "yes" if found.effect.high < LIMIT else "no" if found.effect.low > LIMIT else "not shown"
        return (
            f"| {name} | {what} | {duration(step)} | {change(found.effect.value, 2)} | "
            f"{change(found.effect.low, 2)} to {change(found.effect.high, 2)} | {percent(found.resolution, 2)} | "
            f"{answer} |"
        )

    return line("the loop", 0), line("the step that it reports", 1)


if __name__ == "__main__":
    main()
