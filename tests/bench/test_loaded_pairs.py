"""Pairs of real work on a machine that is loaded on purpose: false alarms, and 1 % more work found."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from windtunnel.bench.pairs import compare
from windtunnel.statistics.paired import Verdict

TRIALS = 20

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


def products(count: int) -> Callable[[], None]:
    matrix, out = torch.randn(32, 32), torch.empty(32, 32)

    def run() -> None:
        for _ in range(count):
            torch.mm(matrix, matrix, out=out)

    return run


def count_verdicts(more: int) -> list[Verdict]:
    """Compare 100 products, some 0.2 ms, with so many more."""
    once, other = products(100), products(100 + more)
    return [compare(once, other, seed=seed, max_seconds=10.0, device="cpu").verdict for seed in range(TRIALS)]


@pytest.mark.usefixtures("load")
def test_identical_work_on_a_loaded_machine_is_seldom_called_different():
    verdicts = count_verdicts(0)

    # A rate of 7 % gives more than 5 of 20 in 0.3 % of all runs; ours is near 3 %. benchmarks/false_alarms.py does 200.
    assert verdicts.count(Verdict.SLOWER) + verdicts.count(Verdict.FASTER) <= 5


@pytest.mark.usefixtures("load")
def test_one_percent_more_work_is_found_on_a_loaded_machine():
    verdicts = count_verdicts(1)

    # A rate of 90 % gives fewer than 14 of 20 in 0.2 % of all runs.
    assert verdicts.count(Verdict.SLOWER) >= 14
    assert Verdict.FASTER not in verdicts
