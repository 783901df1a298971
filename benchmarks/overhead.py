"""What the loop that measures adds to a step, against a bare loop that waits for the device and reads the clock twice.

    python benchmarks/overhead.py [--device cpu] [--out table.md]

Each sample is five steps, by `bench.loop.run_steps` under the clock of cells or by the bare loop, in pairs of balanced
random order; an outer clock times the whole call, so all that ours does is in it: marks, events, phases. Two bare loops
beside each pair say what the run could have seen. Expected: less than 0.5 % of steps of 1 ms or more. Takes
less than a minute.
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

from windtunnel.bench.clock import make_clock
from windtunnel.bench.loop import no_garbage_collection, run_steps
from windtunnel.bench.workload import Phase, Workload, build_workload
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import NAMED_SIZES, ModelSpec
from windtunnel.statistics.paired import LEAST_PAIRS, Side, Verdict, draw_block, judge
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
        "| step | bare | ours, longer by | 99 % interval | could have seen | under 0.5 % |",
        "|---|--:|--:|--:|--:|---|",
        *(_row(name, workload, device) for name, workload in _workloads(device).items()),
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
        batch_size=4,
        context_length=256 if is_cuda else 64,
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


def _row(name: str, workload: Workload, device: torch.device) -> str:
    clock = make_clock(device, num_phases=len(workload.phases), num_steps=STEPS)

    def ours() -> None:
        run_steps(workload, clock, STEPS)

    def bare() -> None:
        run_bare(workload, STEPS, device)

    sides = {Side.A: bare, Side.B: ours}
    with no_garbage_collection():  # once, around all: a collection is not the loop's own cost
        once = math.inf
        for _ in range(10):
            once = min(once, _time(bare) + _time(ours))
            clock.read()
        pairs = min(MOST_PAIRS, max(LEAST_PAIRS, int(SECONDS / (2 * once))))
        generator = Random(0)
        times: dict[Side, list[float]] = {side: [] for side in Side}
        null: list[float] = []
        for first in (first for _ in range((pairs + 1) // 2) for first in draw_block(generator)):
            for side in (first, *(side for side in Side if side != first)):
                times[side].append(_time(sides[side]))
            clock.read()
            null.append(math.log(_time(bare) / _time(bare)))
    differences = [math.log(b / a) for a, b in zip(times[Side.A], times[Side.B], strict=True)]
    found = judge(differences, null, delta=LIMIT)
    bare_step = statistics.median(times[Side.A]) / STEPS
    assert bare_step >= SHORTEST_SECONDS, f"{name} takes {duration(bare_step)} only"
    answer = "yes" if found.effect.high < LIMIT else "no" if found.effect.low > LIMIT else "not shown"
    if found.verdict == Verdict.EQUIVALENT:
        answer += ", equivalent"
    return (
        f"| {name} | {duration(bare_step)} | {change(found.effect.value, 2)} | {change(found.effect.low, 2)} to "
        f"{change(found.effect.high, 2)} | {percent(found.resolution, 2)} | {answer} |"
    )


def _time(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
