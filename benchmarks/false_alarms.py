"""How often identical work is declared different on a loaded machine, and how often 1 % more work is found.

    python benchmarks/false_alarms.py [--trials 200] [--device cpu]

The load is made here: processes that multiply matrices in bursts of random length. One trial is up to 2,048 pairs in
random order, as `windtunnel.compare` measures them, then 32 samples of one side after 32 of the other, as most
benchmarks do it. Expected: the pairs declare identical work different in at most 7 % and find 1 % in at least 90 %;
the tests of one side after the other do not. Takes 4 to 20 minutes. With `--device cuda` the products are larger and
there is no load but what the GPU has anyway.
"""

import argparse
import multiprocessing
import os
import platform
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from windtunnel.bench.pairs import Comparison, compare
from windtunnel.statistics.paired import Verdict

SAMPLES = 32
REPEATS = 100
"""Products in one call; the side with 1 % more work makes one more."""

LEVEL = 0.05


def burn(seed: int) -> None:
    """Load one core in bursts until the parent ends this process."""
    torch.set_num_threads(1)
    generator = random.Random(seed)
    matrix = torch.randn(256, 256)
    while True:
        end = time.perf_counter() + generator.expovariate(1 / 0.3)
        while time.perf_counter() < end:
            matrix @ matrix
        time.sleep(generator.expovariate(1 / 0.3))


def make_work(repeats: int, matrix: torch.Tensor, out: torch.Tensor) -> Callable[[], None]:
    """Return about a millisecond of small products."""

    def work() -> None:
        for _ in range(repeats):
            torch.mm(matrix, matrix, out=out)

    return work


def make_matrix(device: torch.device) -> torch.Tensor:
    """Return what is multiplied: a product takes some 10 µs on a CPU, and as long as its launch or more on a GPU."""
    if device.type == "cuda":
        return torch.randn(1536, 1536, device=device, dtype=torch.bfloat16)
    return torch.randn(64, 64)


def time_series(work: Callable[[], None], device: torch.device) -> list[int]:
    """Time one side on its own, after a warm-up."""
    times: list[int] = []
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(SAMPLES + 5):
        wait()
        begin = time.perf_counter_ns()
        work()
        wait()
        times.append(time.perf_counter_ns() - begin)
    return times[5:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """What trials of one kind found: how often each method declared a difference, and each comparison of pairs."""

    found: Counter[str]
    comparisons: tuple[Comparison, ...]
    seconds: float


def run_trials(trials: int, *, repeats_b: int, device: torch.device) -> Trials:
    """Compare `REPEATS` products with `repeats_b` of them by each method; of more work only "slower" counts."""
    found, comparisons, seconds = Counter[str](), list[Comparison](), 0.0
    wanted = {Verdict.SLOWER} if repeats_b > REPEATS else {Verdict.SLOWER, Verdict.FASTER}
    matrix = make_matrix(device)
    out = torch.empty_like(matrix)  # the same for both sides: where they lie is in the time
    a, b = make_work(REPEATS, matrix, out), make_work(repeats_b, matrix, out)
    for seed in range(trials):
        started_at = time.perf_counter()
        comparison = compare(a, b, seed=seed, device=str(device))
        seconds += time.perf_counter() - started_at
        comparisons.append(comparison)
        found["pairs, found by pair 128"] += comparison.verdict in wanted and comparison.pairs <= 128
        found["pairs, at most 2,048"] += comparison.verdict in wanted
        first, second = time_series(a, device), time_series(b, device)
        found["one after the other, Welch's t"] += bool(stats.ttest_ind(first, second, equal_var=False).pvalue <= LEVEL)
        found["one after the other, Mann-Whitney"] += bool(stats.mannwhitneyu(first, second).pvalue <= LEVEL)
    return Trials(found=found, comparisons=tuple(comparisons), seconds=seconds)


def describe(trials: Trials) -> str:
    """Say how the comparisons of pairs ended, and what that took."""
    ends = Counter(comparison.verdict for comparison in trials.comparisons)
    pairs = np.percentile([comparison.pairs for comparison in trials.comparisons], [50, 95])
    effects = np.percentile([abs(comparison.effect.value) for comparison in trials.comparisons], [50, 95])
    seen = np.median([comparison.resolution or np.inf for comparison in trials.comparisons])
    return (
        f"{', '.join(f'{count} {verdict}' for verdict, count in ends.most_common())}; pairs: median {pairs[0]:.0f}, "
        f"95th percentile {pairs[1]:.0f}; size of the effect: median {effects[0]:.2%}, 95th percentile "
        f"{effects[1]:.2%}; median resolution {seen:.2%}; "
        f"{trials.seconds / len(trials.comparisons):.1f} s a comparison."
    )


def main() -> None:
    """Start the load, run both kinds of trial, print the table."""
    parser = argparse.ArgumentParser(description="False alarms and power of comparisons on a loaded machine.")
    parser.add_argument("--trials", type=int, default=200, help="trials of identical work; half as many of more work")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu or cuda")
    arguments = parser.parse_args()
    trials: int = arguments.trials
    device: torch.device = arguments.device
    torch.set_num_threads(1)
    cores = 0 if device.type == "cuda" else len(os.sched_getaffinity(0))
    load = [multiprocessing.Process(target=burn, args=(seed,), daemon=True) for seed in range(cores)]
    load_before = os.getloadavg()[0]
    for process in load:
        process.start()
    started_at = time.perf_counter()
    try:
        equal = run_trials(trials, repeats_b=REPEATS, device=device)
        more = run_trials(trials // 2, repeats_b=REPEATS + REPEATS // 100, device=device)
        load_after = os.getloadavg()[0]
    finally:
        for process in load:
            process.terminate()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{len(os.sched_getaffinity(0))} cores"
    print("| method | identical work declared different | 1 % more work found |")
    print("|---|--:|--:|")
    for method in equal.found:
        print(f"| {method} | {equal.found[method] / trials:.1%} | {more.found[method] / (trials // 2):.1%} |")
    print(f"\nIdentical work: {describe(equal)}\n1 % more work: {describe(more)}")
    print(f"{trials} and {trials // 2} trials, {time.perf_counter() - started_at:.0f} s on {name}; {cores} processes")
    print(f"of load; 1-minute load average {load_before:.1f} before, {load_after:.1f} at the end.")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, 1 thread.")


if __name__ == "__main__":
    main()
