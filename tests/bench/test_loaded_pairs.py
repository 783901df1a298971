"""Pairs of real work on a machine that is loaded on purpose: false alarms, and 1 % more work found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from windtunnel.bench.pairs import Comparison, compare
from windtunnel.statistics.paired import Verdict

TRIALS = 10

_BURN = """
import random, time
generator = random.Random({seed})
while True:
    end = time.perf_counter() + generator.expovariate(1 / 0.3)
    while time.perf_counter() < end:
        sum(range(1000))
    time.sleep(generator.expovariate(1 / 0.3))
"""


@pytest.fixture
def load() -> Iterator[None]:
    """Keep each core busy half of the time, in bursts of random length."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = [subprocess.Popen([sys.executable, "-c", _BURN.format(seed=seed)]) for seed in range(cores)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def compare_products(more: int) -> list[Comparison]:
    """Compare 100 products, some 0.2 ms, with so many more, of the same matrices: others may lie better in caches."""
    matrix, out = torch.randn(32, 32), torch.empty(32, 32)

    def run(count: int) -> None:
        for _ in range(count):
            torch.mm(matrix, matrix, out=out)

    once, other = partial(run, 100), partial(run, 100 + more)
    return [compare(once, other, seed=seed, max_seconds=8.0, device="cpu") for seed in range(TRIALS)]


@pytest.mark.usefixtures("load")
def test_identical_work_on_a_loaded_machine_is_seldom_called_different():
    verdicts = [comparison.verdict for comparison in compare_products(0)]

    # A rate of 7 % gives more than 3 of 10 in 0.4 % of all runs; ours is near 3 %. benchmarks/false_alarms.py does 200.
    assert verdicts.count(Verdict.SLOWER) + verdicts.count(Verdict.FASTER) <= 3


@pytest.mark.usefixtures("load")
def test_one_percent_more_work_is_found_on_a_loaded_machine_or_the_run_says_that_it_could_not_see_it():
    comparisons = compare_products(1)

    # What is 1.5 times the resolution is found in 90 %, and that gives more than 4 misses of 10 in 0.2 % of all runs.
    missed = [c for c in comparisons if c.verdict is not Verdict.SLOWER and c.resolution and 1.5 * c.resolution <= 0.01]
    assert len(missed) <= 4
    assert Verdict.FASTER not in [c.verdict for c in comparisons]
    print([(c.verdict.value, c.pairs) for c in comparisons])  # noqa: T201  # shown with -s
