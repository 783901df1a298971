"""How often identical work is declared different on a loaded machine, and how often 1 % more work is found.

    python benchmarks/false_alarms.py [--trials 200]

The load is made here: processes that multiply matrices in bursts of random length. One trial is up to 128 pairs in
random order, as `windtunnel.compare` measures them, then 32 samples of one side after 32 of the other, as most
benchmarks do it. Expected: the pairs stay near their level (under 7 %), the tests of one side after the other do not.
How much is found depends on the load: with pairs a louder machine makes answers rarer, not wrong. Takes 5 to 6 minutes.
"""

import argparse
import multiprocessing
import os
import platform
import random
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats

from windtunnel.bench.pairs import compare
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


def make_work(repeats: int) -> Callable[[], None]:
    """Return about a millisecond of small products."""
    matrix, out = torch.randn(64, 64), torch.empty(64, 64)

    def work() -> None:
        for _ in range(repeats):
            torch.mm(matrix, matrix, out=out)

    return work


def time_series(work: Callable[[], None]) -> list[int]:
    """Time one side on its own, after a warm-up."""
    times: list[int] = []
    for _ in range(SAMPLES + 5):
        begin = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin)
    return times[5:]


def run_trials(trials: int, *, repeats_b: int) -> tuple[Counter[str], list[float], list[float]]:
    """Return how often each method finds a difference, the estimated effects of the pairs, and their resolutions."""
    found, effects, resolutions = Counter[str](), list[float](), list[float]()
    a, b = make_work(REPEATS), make_work(repeats_b)
    for seed in range(trials):
        comparison = compare(a, b, seed=seed, device="cpu")
        is_different = comparison.verdict in {Verdict.FASTER, Verdict.SLOWER}
        # The looks up to 32 pairs are the same with either limit, so one run answers for both.
        found[f"pairs, at most {SAMPLES}"] += is_different and comparison.pairs <= SAMPLES
        found["pairs, at most 128"] += is_different
        effects.append(comparison.effect.value)
        resolutions.append(comparison.resolution or np.nan)
        first, second = time_series(a), time_series(b)
        found["one after the other, Welch's t"] += bool(stats.ttest_ind(first, second, equal_var=False).pvalue <= LEVEL)
        found["one after the other, Mann-Whitney"] += bool(stats.mannwhitneyu(first, second).pvalue <= LEVEL)
    return found, effects, resolutions


def main() -> None:
    """Start the load, run both kinds of trial, print the table."""
    parser = argparse.ArgumentParser(description="False alarms and power of comparisons on a loaded machine.")
    parser.add_argument("--trials", type=int, default=200, help="trials of each kind")
    trials: int = parser.parse_args().trials
    torch.set_num_threads(1)
    cores = len(os.sched_getaffinity(0))
    load = [multiprocessing.Process(target=burn, args=(seed,), daemon=True) for seed in range(cores)]
    load_before = os.getloadavg()[0]
    for process in load:
        process.start()
    started_at = time.perf_counter()
    try:
        equal, effects, resolutions = run_trials(trials, repeats_b=REPEATS)
        more, _, _ = run_trials(trials, repeats_b=REPEATS + REPEATS // 100)
        load_after = os.getloadavg()[0]
    finally:
        for process in load:
            process.terminate()
    print("| method | identical work declared different | 1 % more work found |")
    print("|---|--:|--:|")
    for method in equal:
        print(f"| {method} | {equal[method] / trials:.1%} | {more[method] / trials:.1%} |")
    spread = np.percentile(np.abs(effects), [50, 95])
    print(f"\nApparent effect of identical work in at most 128 pairs: median {spread[0]:.2%}, 95th percentile", end=" ")
    print(f"{spread[1]:.2%}; median resolution {np.nanmedian(resolutions):.2%}.")
    print(f"{trials} trials of each kind, {time.perf_counter() - started_at:.0f} s; {cores} cores, {cores} processes")
    print(f"of load; 1-minute load average {load_before:.1f} before, {load_after:.1f} at the end.")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, 1 thread.")


if __name__ == "__main__":
    main()
