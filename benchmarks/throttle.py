"""A GPU under a load that its power limit cannot bear: what the sensors show, and what the labels make of it.

    python benchmarks/throttle.py [--seconds 20] [--cool 5] [--out FILE]

Each step is one bf16 product of 8192³, from cool on and without a warm-up. Prints clock, power and temperature over
time beside the times of the steps, then what the functions that judge any record say: throttled or not, cool and
sustained, irregularities, cycles; of all steps, and of the first 200, in which the clock falls. Expected on a GPU: it
falls from its boost within a fraction of a second, with the software power cap as the reason, and steps take longer by
as much; cycles stay. On a CPU (smaller products, mostly without sensors) it shows that the script runs. FILE gets the
same text (default: $OUT/throttle.md, where OUT is set), and FILE with the suffix .json the first 2,000 steps and all
readings.
"""

import argparse
import gc
import os
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from windtunnel.analysis.telemetry import clock_of_samples, conditions_of, levels_of
from windtunnel.bench.clock import StepTimes, make_clock
from windtunnel.bench.loop import no_garbage_collection, run_steps, to_samples
from windtunnel.bench.telemetry import TelemetrySampler
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName, Record, Status, Telemetry, record_to_json
from windtunnel.records.throttling import CHOSEN_REASONS, THROTTLE_REASONS
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.model import ModelSpec
from windtunnel.statistics.series import irregularities_of
from windtunnel.units import NOT_KNOWN, change, duration, percent, rate, significant

BATCH = 25
"""Steps between two looks at the time."""

FIRST_STEPS = 200
"""About 0.3 s on an H200."""

KEPT_STEPS = 2000

WINDOWS = 20


def make_products(device: torch.device, size: int) -> Workload:
    """Return a step of one product of random square matrices, run once to load what it needs."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty_like(left)

    def run() -> None:
        torch.mm(left, right, out=out)

    run()
    return Workload(phases=(Phase(name="product", run=run),), total="product", reset=lambda: None, fault=lambda: None)


def measure(device: torch.device, *, size: int, seconds: float, cool: float) -> Record:
    """Run steps for so many seconds and return their record, with what the sensors said."""
    workload = make_products(device, size)
    clock = make_clock(device, num_phases=1, num_steps=BATCH)
    sampler = TelemetrySampler(device)
    steps: list[StepTimes] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    time.sleep(cool)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    sampler.start()
    end = time.perf_counter() + seconds
    with no_garbage_collection():
        while time.perf_counter() < end:
            run_steps(workload, clock, BATCH)
            steps += clock.read()
    telemetry = sampler.stop(steps[0].began)
    return Record(
        task=_task(device, size, len(steps)),
        status=Status.OK,
        total=workload.total,
        timed={workload.total: f"one product of {size}³"},
        flops={workload.total: 2 * size**3},
        parameters=0,
        samples=to_samples(workload, warmup=(), timed=steps),
        memory=None,
        failure=None,
        stages={},
        warnings=(sampler.reason,) if sampler.reason else sampler.warnings(),
        process=os.getpid(),
        is_first_in_process=True,
        started_at=started_at,
        began_nanoseconds=tuple(step.began - steps[0].began for step in steps),
        telemetry=telemetry,
    )


def beginning_of(record: Record, steps: int) -> Record:
    """Return the record as it was after so many steps."""
    samples = tuple(replace(series, nanoseconds=series.nanoseconds[:steps]) for series in record.samples)
    return replace(record, samples=samples, began_nanoseconds=record.began_nanoseconds[:steps])


def _task(device: torch.device, size: int, steps: int) -> Task:
    """Return what a record must have: the nearest thing to a product that a cell knows."""
    model = ModelSpec(name=f"product-{size}", d_model=size, d_ff=size, num_layers=1, num_heads=1)
    cell = Cell(model=model, workload="forward", batch_size=1, context_length=1, device=str(device))
    return Task(cell=cell, plan=MeasurePlan(warmup=0, steps=steps))


def show_course(record: Record) -> list[str]:
    """Return the table of clock, power, temperature, reasons and step times over time."""
    times, begins = _times(record), record.began_nanoseconds
    edges = np.linspace(0, begins[-1] + times[-1], WINDOWS + 1)
    lines = [
        "| from | clock (MHz) | power (W) | temperature (°C) | held down by | steps | median step | change |",
        "|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    first: float | None = None
    for low, high in pairwise(edges):
        some = times[bisect_left(begins, low) : bisect_left(begins, high)]
        median = float(np.median(some)) if some else None
        first = first or median
        step = (duration(median * 1e-9, 4), change(median / first - 1)) if median and first else (NOT_KNOWN,) * 2
        cells = (duration(low * 1e-9), *_sensors(record.telemetry, low, high), str(len(some)), *step)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _sensors(telemetry: Telemetry | None, low: float, high: float) -> tuple[str, ...]:
    if telemetry is None:
        return (NOT_KNOWN,) * 4
    seen = slice(bisect_left(telemetry.nanoseconds, low), bisect_left(telemetry.nanoseconds, high))
    masks = telemetry.throttle_reasons[seen]
    reasons = [
        f"{name} {percent(sum(1 for mask in masks if mask & bit) / len(masks), 0)}"
        for bit, name in THROTTLE_REASONS.items()
        if bit & ~CHOSEN_REASONS and any(mask & bit for mask in masks)
    ]
    numbers = (telemetry.clock_mhz[seen], telemetry.power_watts[seen], telemetry.temperature_celsius[seen])
    return (*(_median(values) for values in numbers), ", ".join(reasons) or ("nothing" if masks else NOT_KNOWN))


def _median(values: Sequence[float]) -> str:
    return f"{np.median(values):.0f}" if values else NOT_KNOWN


def show_judgement(record: Record) -> list[str]:
    """Return what the functions that judge any record say of this one."""
    times, conditions, levels = _times(record), conditions_of(record), levels_of(record)
    median = float(np.median(times)) * 1e-9
    flops_per_second = record.flops[record.total] / median
    lines = [f"- {len(times)} steps, median {duration(median, 4)}, {rate(flops_per_second)}."]
    lines += [f"- Note: {warning}." for warning in record.warnings]
    if levels:
        said = f"cool {duration(levels.cool, 4)}, sustained {duration(levels.sustained, 4)} ({change(levels.change)})"
        lines.append(f"- Levels: {said}; {'they differ' if levels.is_changed else 'one level'}.")
    found = irregularities_of(times)
    named = {
        "slow start": found.slow_start,
        "trend": found.trend,
        "step": found.step,
        "two states": found.two_states,
    }
    lines.append(f"- Irregularities: {'none' if found.is_clean else 'found'}.")
    lines += [f"    - {name}: {what}" for name, what in named.items() if what]
    if conditions is None:
        return [*lines, "- No telemetry, so clock and reasons are not known."]
    lines.append(f"- Throttled: {'yes' if conditions.is_throttled else 'no'}.")
    lines += [f"    - {name}: {percent(share)} of the readings" for name, share in conditions.reasons]
    if conditions.low_clock_share is not None:
        lines.append(f"    - low clock: {percent(conditions.low_clock_share)} of the steps")
    if conditions.cycles is not None:
        lines.append(f"- Cycles of a step: {significant(conditions.cycles / 1e6, 4)} M, {_cycle_change(record)}.")
    if conditions.clock_correlation is not None:
        follows = "they follow it" if conditions.is_following_clock else "they do not follow it"
        lines.append(f"- Rank correlation of times with clock: {conditions.clock_correlation:.2f}: {follows}.")
    return lines


def _cycle_change(record: Record) -> str:
    """Compare time and cycles between the first and the last fifth of the steps: only one of them should change."""
    pairs = [
        (float(time), time * clock)
        for time, clock in zip(_times(record), clock_of_samples(record), strict=True)
        if clock is not None
    ]
    fifth = max(1, len(pairs) // 5)
    early, late = np.median(pairs[:fifth], axis=0), np.median(pairs[-fifth:], axis=0)
    time_change, cycle_change = (float(value) for value in late / early - 1)
    return f"from the first to the last fifth of the steps {change(cycle_change)}, time {change(time_change)}"


def _times(record: Record) -> tuple[int, ...]:
    series = record.series(record.total, ClockName.HOST)
    assert series is not None
    return series.nanoseconds


def main() -> None:
    """Measure, print, write."""
    out = os.environ.get("OUT")
    parser = argparse.ArgumentParser(description="What a load beyond the power limit does to a GPU.")
    parser.add_argument("--seconds", type=float, default=20.0, help="time of the steps")
    parser.add_argument("--cool", type=float, default=5.0, help="seconds of rest before")
    parser.add_argument("--out", type=Path, default=Path(out) / "throttle.md" if out else None, help="Markdown file")
    arguments = parser.parse_args()
    gc.collect()
    gc.freeze()  # as the worker does
    is_cuda = torch.cuda.is_available()
    device = torch.device("cuda", 0) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    size = 8192 if is_cuda else 256
    record = measure(device, size=size, seconds=arguments.seconds, cool=arguments.cool)
    first = beginning_of(record, FIRST_STEPS)
    name = torch.cuda.get_device_name(device) if is_cuda else "CPU"
    readings = len(record.telemetry.nanoseconds) if record.telemetry else 0
    lines = [
        f"{name}, torch {torch.__version__}: steps of one product of {size}³, {readings:,} readings",
        "",
        *show_course(record),
        "",
        *show_course(first),
        "",
        f"All steps, {len(record.began_nanoseconds):,}:",
        "",
        *show_judgement(record),
        "",
        f"The first {len(first.began_nanoseconds):,} steps:",
        "",
        *show_judgement(first),
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
        arguments.out.with_suffix(".json").write_text(
            record_to_json(beginning_of(record, KEPT_STEPS)), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
