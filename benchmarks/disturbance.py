"""What reading the sensors costs the steps: the same steps in pairs, with the sampler's thread and without.

    python benchmarks/disturbance.py [--seconds 12] [--out FILE]

A sample is 0.1 s of steps (0.2 s on a CPU) in the loop that measures cells. The sampler is started before and stopped
after it, outside of the timed steps. Pairs are in balanced random order, with a control of "without" against itself,
judged as `windtunnel.compare` judges. On a GPU: large matrix products, and training steps of a tiny model, which the
host launches as fast as Python can: there the thread and the steps want the same lock. Takes `--seconds` for each
workload and some seconds for CUDA. The table goes to FILE too (default: $OUT/disturbance.md, where OUT is set).
"""

import argparse
import gc
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from windtunnel.bench import telemetry
from windtunnel.bench.build import build_workload
from windtunnel.bench.clock import Clock, make_clock
from windtunnel.bench.loop import no_garbage_collection, run_steps
from windtunnel.bench.telemetry import CPU_PERIOD, Source, TelemetrySampler, open_source
from windtunnel.bench.vitals import NotKnownError, own_cores
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName, Telemetry
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.statistics.paired import Judgement, Side, draw_block, judge
from windtunnel.units import change, duration, percent

DELTA = 0.005
"""A disturbance that is surely smaller than this counts as none."""

SETTLING_STEPS = 2
"""Untimed steps at the head of each sample, in which the sampler's first reading falls."""

WARMUP_STEPS = 20

TINY = ModelSpec(name="tiny", d_model=128, d_ff=512, num_layers=8, num_heads=4, vocab_size=1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What the pairs of one workload say; `readings` and `seconds` are those of all samples with the sampler."""

    name: str
    sensors: str
    step_seconds: float
    steps: int
    pairs: int
    judgement: Judgement
    readings: int
    seconds: float

    def row(self) -> str:
        """Return the row of the table."""
        effect, seen = self.judgement.effect, self.judgement.resolution
        interval = f"[{change(effect.low, 2)}, {change(effect.high, 2)}]"
        cells = (
            self.name,
            self.sensors,
            f"{self.steps} × {duration(self.step_seconds)}",
            str(self.pairs),
            f"{self.readings / self.seconds:.0f}",
            f"{change(effect.value, 2)} {interval}",
            self.judgement.verdict.value,
            percent(seen, 2),
        )
        return f"| {' | '.join(cells)} |"


HEADER = """| steps | sensors | a sample | pairs | readings a second | time with against without | verdict | could see |
|---|---|--:|--:|--:|--:|---|--:|"""


class Bench:
    """One workload under the clock of cells, run with the sampler and without."""

    def __init__(self, workload: Workload, device: torch.device, *, sample_seconds: float) -> None:
        """Warm up, and choose how many steps a sample has."""
        self._workload = workload
        self._device = device
        self.readings, self.seconds = 0, 0.0
        clock = make_clock(device, num_phases=len(workload.phases), num_steps=WARMUP_STEPS)
        run_steps(workload, clock, WARMUP_STEPS)
        times = sorted(step.total[ClockName.HOST] for step in clock.read())
        self.step_seconds = times[len(times) // 2] * 1e-9
        self.steps = max(2, math.ceil(sample_seconds / self.step_seconds))
        self._clock: Clock = make_clock(device, num_phases=len(workload.phases), num_steps=self.steps + SETTLING_STEPS)

    def time(self, side: Side) -> int:
        """Return the nanoseconds of a sample; side B has the sampler."""
        sampler = TelemetrySampler(self._device) if side is Side.B else None
        if sampler:
            sampler.start()
        run_steps(self._workload, self._clock, SETTLING_STEPS + self.steps)
        steps = self._clock.read()[SETTLING_STEPS:]
        if sampler:
            self._count(sampler.stop(steps[0].began), (time.perf_counter_ns() - steps[0].began) * 1e-9)
        return sum(step.total[ClockName.HOST] for step in steps)

    def _count(self, seen: Telemetry | None, seconds: float) -> None:
        self.readings += len(seen.nanoseconds) if seen else 0
        self.seconds += seconds


def run_trial(
    name: str, workload: Workload, device: torch.device, *, sensors: str, sample_seconds: float, seconds: float
) -> Trial:
    """Measure blocks of two pairs and one of the control until the time is over."""
    end = time.perf_counter() + seconds
    generator = Random(0)
    differences: list[float] = []
    null_differences: list[float] = []
    with no_garbage_collection():
        bench = Bench(workload, device, sample_seconds=sample_seconds)
        while time.perf_counter() < end or len(differences) < 8:
            pairs = [(first, Side.B if first is Side.A else Side.A) for first in draw_block(generator)]
            pairs.insert(generator.randrange(3), (Side.A, Side.A))
            for first, second in pairs:
                earlier, later = bench.time(first), bench.time(second)
                difference = math.log(later / earlier)
                if first is second:
                    null_differences.append(difference)
                else:
                    differences.append(difference if second is Side.B else -difference)
    return Trial(
        name=name,
        sensors=sensors,
        step_seconds=bench.step_seconds,
        steps=bench.steps,
        pairs=len(differences),
        judgement=judge(differences, null_differences, delta=DELTA),
        readings=bench.readings,
        seconds=bench.seconds,
    )


def make_products(device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int]) -> Workload:
    """Return a step that is one matrix product of random values."""
    rows, inner, columns = shape
    generator = torch.Generator(device).manual_seed(0)
    left = torch.randn(rows, inner, device=device, generator=generator).to(dtype)
    right = torch.randn(inner, columns, device=device, generator=generator).to(dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)

    def run() -> None:
        torch.mm(left, right, out=out)

    return Workload(phases=(Phase(name="product", run=run),), total="product", reset=lambda: None, fault=lambda: None)


def make_training(device: torch.device, precision: str) -> Workload:
    """Return training steps of a tiny model."""
    cell = Cell(
        model=TINY, workload="train_step", batch_size=1, context_length=64, precision=precision, device=str(device)
    )
    return build_workload(cell)


def ensure_cpu_sensors() -> str:
    """Return the name of the CPU's sensors; where there are none, put small files in their place."""
    cpu = torch.device("cpu")
    try:
        source = open_source(cpu)
    except NotKnownError:
        cores = len(own_cores())
        file = os.open("/proc/self/statm", os.O_RDONLY)

        def read() -> int:
            return sum(len(os.pread(file, 32, 0)) for _ in range(cores))

        stand_in = Source(name="stand-in", period=CPU_PERIOD, columns={"clock_mhz": read}, errors=(OSError,))
        telemetry.open_source = lambda device: stand_in if device.type == "cpu" else open_source(device)
        return f"none; {cores} small files instead"
    source.close()
    return source.name


def gpu_trials(seconds: float) -> list[Trial]:
    """Run both GPU workloads; without NVML there is nothing to run."""
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    try:
        sensors = open_source(device).name
    except NotKnownError as error:
        print(f"no GPU workloads: {error}")
        return []
    makers: dict[str, Callable[[], Workload]] = {
        "bf16 product of 8192 × 4096 × 8192": lambda: make_products(device, torch.bfloat16, (8192, 4096, 8192)),
        "training step of a tiny model, bf16, launch-bound": lambda: make_training(device, "bf16"),
    }
    return [
        run_trial(name, make(), device, sensors=sensors, sample_seconds=0.1, seconds=seconds)
        for name, make in makers.items()
    ]


def main() -> None:
    """Run the workloads of this machine, print the table, write it."""
    out = os.environ.get("OUT")
    parser = argparse.ArgumentParser(description="What reading the sensors costs the steps.")
    parser.add_argument("--seconds", type=float, default=12.0, help="time for each workload")
    parser.add_argument("--out", type=Path, default=Path(out) / "disturbance.md" if out else None, help="Markdown file")
    arguments = parser.parse_args()
    gc.collect()
    gc.freeze()  # as the worker does
    cpu = torch.device("cpu")
    sensors = ensure_cpu_sensors()
    trials = [
        run_trial(
            f"CPU training step of a tiny model, fp32, {torch.get_num_threads()} threads",
            make_training(cpu, "fp32"),
            cpu,
            sensors=sensors,
            sample_seconds=0.2,
            seconds=arguments.seconds,
        )
    ]
    if torch.cuda.is_available():
        trials += gpu_trials(arguments.seconds)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.machine()
    lines = [HEADER, *(trial.row() for trial in trials), ""]
    lines.append(f"Verdicts with ±{percent(DELTA)} for equivalent. {device}, Python {platform.python_version()},")
    lines.append(f"torch {torch.__version__}, {len(own_cores())} cores, load average {os.getloadavg()[0]:.1f}.")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
