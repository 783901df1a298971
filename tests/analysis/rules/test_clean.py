"""Tables without a fault, made here by a model of a machine, raise no alarm."""

import random

import pytest

from published import findings_of, markdown
from windtunnel.analysis.finding import Severity
from windtunnel.analysis.published.entries import Declared
from windtunnel.cost.flops import forward_flops
from windtunnel.spec.model import NAMED_SIZES

SIZES = ("small", "medium", "large", "xl", "2.7B")
RATE = 30e12
"""FLOP/s of the machine that these tables are of, under the 67 of its peak."""
ON_H100 = Declared(gpu="h100", precision="fp32", batch_size=4, context_length=512, steps=10)


class Machine:
    """A machine that takes the FLOPs over its rate, and no less than 0.8 ms a layer, with noise of `cv`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.cv = self._random.uniform(0.002, 0.03)

    def forward(self, size: str, context: int = 512, batch: int = 4) -> float:
        model = NAMED_SIZES[size]
        work = forward_flops(model, batch_size=batch, context_length=context) / RATE
        return self.noisy(max(work, 0.8e-3 * model.num_layers))

    def noisy(self, seconds: float) -> float:
        return seconds * (1 + self._random.gauss(0, self.cv / 10**0.5))

    def entry(self, seconds: float, unit: float = 1e-3) -> str:
        deviation = seconds * self.cv * self._random.uniform(0.8, 1.2)
        return f"{seconds / unit:.4f} ± {deviation / unit:.4f}"


def by_size(machine: Machine) -> str:
    rows: list[list[object]] = []
    for size in SIZES:
        forward = machine.forward(size)
        rows.append([size, machine.entry(forward), machine.entry(machine.noisy(2 * forward))])
    return markdown(["Size", "Forward (ms)", "Backward (ms)"], rows)


def by_context(machine: Machine) -> str:
    rows: list[list[object]] = []
    for size in ("small", "large"):
        for context in (128, 256, 512, 1024):
            forward = machine.forward(size, context)
            for mode, seconds in (("forward", forward), ("forward_and_backward", machine.noisy(3 * forward))):
                rows.append([size, context, mode, f"{seconds:.6f}", f"{seconds * machine.cv:.6f}"])
    return "\n".join(",".join(map(str, row)) for row in [["size", "context", "mode", "mean_s", "std_s"], *rows])


def by_warmup(machine: Machine) -> str:
    rows: list[list[object]] = []
    for size in SIZES[:3]:
        rows += [[size, warmup, 10, machine.entry(machine.forward(size), 1.0)] for warmup in (1, 5)]
    return markdown(["模型", "预热步数", "测量次数", "前向时间 (秒)"], rows)


def attention(machine: Machine) -> str:
    rows: list[list[object]] = []
    for d in (32, 64):
        for length in (2048, 4096, 8192, 16384):
            forward = machine.noisy(4 * 8 * length**2 * d / 1e13)
            fits = length < 16384
            memory = (8 * length**2 * 4 * 2 + 4 * 8 * length * d * 4) / 2**20
            times = (
                [machine.entry(forward), machine.entry(machine.noisy(2.5 * forward)), f"{memory:.1f}"]
                if fits
                else ["OOM"] * 3
            )
            rows.append([length, d, 8, *times])
    return markdown(["seq_len", "d_model", "batch", "forward (ms)", "backward (ms)", "allocated memory (MiB)"], rows)


def compiled(machine: Machine) -> str:
    rows: list[list[object]] = []
    for size in SIZES:
        eager = machine.forward(size)
        rows.append([size, machine.entry(eager), machine.entry(machine.noisy(eager / 1.3))])
    return markdown(["Model", "Eager forward (ms)", "Compiled forward (ms)"], rows)


def wholes(machine: Machine) -> str:
    """Each part and the whole are timed in steps of their own, so that their sum is off by the noise of all."""
    rows: list[list[object]] = []
    for size in SIZES:
        forward = machine.forward(size)
        parts = [forward, machine.noisy(2 * forward), machine.noisy(forward / 4)]
        rows.append([size, *map(machine.entry, parts), machine.entry(machine.noisy(sum(parts)))])
    return markdown(["Model", "Forward (ms)", "Backward (ms)", "Optimizer (ms)", "Step time (ms)"], rows)


KINDS = (by_size, by_context, by_warmup, attention, compiled, wholes)


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_table_raises_no_alarm(seed: int) -> None:
    text = KINDS[seed % len(KINDS)](Machine(seed))

    found = findings_of(text, ON_H100)

    assert [(one.claim, dict(one.numbers)) for one in found if one.severity is not Severity.NOTE] == []
    assert found


def test_of_500_more_none_raises_an_alarm() -> None:
    alarms = [
        (seed, one.claim)
        for seed in range(100, 600)
        for one in findings_of(KINDS[seed % len(KINDS)](Machine(seed)), ON_H100)
        if one.severity is not Severity.NOTE
    ]

    assert alarms == []


def test_what_is_true_of_clean_tables_is_said_and_not_ruled_out() -> None:
    """Where time follows the work, the 95 % interval of the exponent leaves 1 out in about 5 % of the tables."""
    ratios: list[str] = []
    excluded = series = 0
    for seed in range(1000, 1200):
        machine = Machine(seed)
        rows: list[list[object]] = []
        for size in SIZES:
            forward = machine.noisy(forward_flops(NAMED_SIZES[size], batch_size=4, context_length=512) / RATE)
            rows.append([size, machine.entry(forward), machine.entry(machine.noisy(2 * forward))])
        found = findings_of(markdown(["Size", "Forward (ms)", "Backward (ms)"], rows), ON_H100)
        ratios += [one.claim for one in found if one.kind == "ratio"]
        fits = [one for one in found if one.kind == "scaling"]
        series += len(fits)
        excluded += sum("linear_in_work" in one.rules_out for one in fits)
        assert all("exponential" in one.rules_out for one in fits)

    assert ratios == ["ratio_one_number"] * 200
    assert series == 400
    assert excluded / series < 0.08
