"""Pairs of callables whose time is scripted, so that the truth is known, and a few real ones."""

import inspect
import random
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import windtunnel
from windtunnel.bench.callables import LEAST_SAMPLE_NS
from windtunnel.bench.clock import StepTimes
from windtunnel.bench.pairs import Comparison, Sample, compare, measure_pairs
from windtunnel.errors import RunError, SpecError, UnsupportedError
from windtunnel.records.record import ClockName
from windtunnel.statistics.paired import Side, Verdict
from windtunnel.statistics.pairing import PairPlan

MILLISECOND = 1e6


class World:
    """A clock that shows the time its callables spend: their own, times noise, times drift, plus the slot's penalty."""

    def __init__(self, *, noise: float = 0.003, drift: float = 0.0, penalty: float = 0.0) -> None:
        self.now_ns = 0.0
        self.noise, self.drift, self.penalty = noise, drift, penalty
        self._rng = np.random.default_rng(0)
        self._samples = 0
        self._marks: list[float] = []

    def start(self) -> None:
        self._samples += 1
        self._marks = []

    def begin(self) -> None:
        self._marks.append(self.now_ns)

    def end(self) -> None:
        self._marks.append(self.now_ns)

    def stop(self) -> None:
        pass

    def read(self) -> tuple[StepTimes, ...]:
        begin, end = self._marks
        whole = round(end - begin)
        return (StepTimes(began=round(begin), phases={ClockName.HOST: (whole,)}, total={ClockName.HOST: whole}),)

    def work(self, nanoseconds: float) -> Callable[[], None]:
        """Return a callable that spends so much time. Warm-up takes an even number of samples, as pairs do."""

        def run() -> None:
            factor = 1 + self.noise * self._rng.standard_normal() + self.drift * self._samples
            self.now_ns += nanoseconds * factor * (1 + self.penalty * (self._samples % 2))

        return run

    def compare(self, f: Callable[[], None], g: Callable[[], None], **changes: float | None) -> Comparison:
        plan: dict = {"target": None, "delta": 0.01, "max_pairs": 128, "max_seconds": 1e9, "seed": 0, **changes}
        seed = plan.pop("seed")
        return measure_pairs(
            f,
            g,
            clock=self,
            plan=PairPlan(**plan),
            device=torch.device("cpu"),
            seed=seed,
            now=lambda: self.now_ns * 1e-9,
        )


@pytest.fixture
def global_state() -> Iterator[None]:
    """Fail where a comparison leaves the global state changed; Python's random state is used by the check of types."""
    before = (torch.get_default_dtype(), torch.get_default_device(), torch.get_rng_state().tolist())
    yield
    after = (torch.get_default_dtype(), torch.get_default_device(), torch.get_rng_state().tolist())
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    assert after == before


@pytest.mark.parametrize("penalty", [0.0, 0.01])
@pytest.mark.parametrize("drift", [0.0, 2e-4])
@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, Verdict.EQUIVALENT), (1.01, Verdict.SLOWER), (0.99, Verdict.FASTER)]
)
def test_scripted_times_get_their_verdict(factor: float, verdict: Verdict, drift: float, penalty: float):
    world = World(drift=drift, penalty=penalty)

    comparison = world.compare(world.work(MILLISECOND), world.work(factor * MILLISECOND))

    assert comparison.verdict is verdict
    assert comparison.effect.low <= factor - 1 <= comparison.effect.high
    assert comparison.resolution is not None


def test_every_sample_is_kept_with_its_slot_and_each_side_is_first_equally_often():
    world = World()

    comparison = world.compare(world.work(MILLISECOND), world.work(1.5 * MILLISECOND))

    pairs = [s for s in comparison.samples if not s.is_null]
    null = [s for s in comparison.samples if s.is_null]
    firsts = [s.side for s in pairs if s.slot == 0]
    assert (comparison.pairs, len(pairs), len(null)) == (16, 32, 16)
    assert firsts.count(Side.A) == firsts.count(Side.B) == 8
    assert [s.side for s in null].count(Side.A) == [s.side for s in null].count(Side.B) == 8
    assert [s.pair for s in pairs] == [pair for pair in range(16) for _ in range(2)]
    assert all(s.nanoseconds == pytest.approx(1.5e6 if s.side is Side.B else 1e6, rel=0.05) for s in pairs)


def test_the_order_is_that_of_the_seed():
    def orders(seed: int) -> list[tuple[Side, bool]]:
        world = World()
        comparison = world.compare(world.work(MILLISECOND), world.work(2 * MILLISECOND), seed=seed)
        return [(s.side, s.is_null) for s in comparison.samples]

    assert orders(1) == orders(1) != orders(2)


def test_noise_that_hides_the_effect_is_inconclusive_with_the_reason():
    world = World(noise=0.2)

    comparison = world.compare(world.work(MILLISECOND), world.work(1.01 * MILLISECOND), max_pairs=40)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.pairs == 40
    assert comparison.reason == "the interval holds 0 and reaches beyond ±1.0 % at the limit of 40 pairs"
    assert str(comparison).startswith("whether g differs from f is not known: ")


def test_the_time_limit_ends_the_run_and_few_pairs_say_nothing():
    world = World()

    comparison = world.compare(world.work(1e9), world.work(2e9), max_seconds=20.0)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.warmup_calls < 5
    assert comparison.reason == f"{comparison.pairs} pairs within the limit of 20.0 s are too few for an interval, " + (
        "which takes 8"
    )


def test_a_target_goes_on_until_the_interval_is_narrow():
    world = World(noise=0.01)

    comparison = world.compare(world.work(MILLISECOND), world.work(1.2 * MILLISECOND), target=0.006)

    assert comparison.pairs > 16
    assert (comparison.effect.high - comparison.effect.low) / 2 <= 0.006


def test_a_target_out_of_reach_is_a_warning():
    world = World(noise=0.05)

    comparison = world.compare(world.work(MILLISECOND), world.work(1.5 * MILLISECOND), target=0.001, max_pairs=32)

    assert comparison.verdict is Verdict.SLOWER
    assert comparison.warnings == ("the target of ±0.10 % was not reached at the limit of 32 pairs",)


def test_short_work_is_batched_and_says_so():
    world = World()

    comparison = world.compare(world.work(2_000), world.work(3_000))

    assert comparison.verdict is Verdict.SLOWER
    assert all(s.nanoseconds >= LEAST_SAMPLE_NS for s in comparison.samples)
    assert comparison.warnings == (
        f"one call takes less than 50.0 µs: each sample is {comparison.calls_per_sample} calls in a row",
    )


def test_work_that_no_clock_sees_is_refused():
    world = World()

    with pytest.raises(RunError, match=r"1,048,576 calls together take less than 50.0 µs on this clock; give"):
        world.compare(lambda: None, world.work(MILLISECOND))


def test_the_sentence_says_both_sides_the_interval_and_what_could_be_seen():
    world = World(noise=0.0)

    faster = world.compare(world.work(MILLISECOND), world.work(0.9 * MILLISECOND))
    equal = world.compare(world.work(MILLISECOND), world.work(MILLISECOND))

    assert str(faster) == (
        "g takes 10.00 % less time than f [-10.00 %, -10.00 %] (16 pairs; this run could see 0.00 %)"
    )
    assert str(equal) == (
        "g and f take the same time within ±1.0 %: +0.00 % [+0.00 %, +0.00 %] (16 pairs; this run could see 0.00 %)"
    )


def test_an_error_names_the_side_and_the_call():
    calls = iter(range(100))

    def sleep() -> None:
        time.sleep(1e-4)

    def break_in_call_8() -> None:
        sleep()
        if next(calls) == 7:
            raise ValueError("seven")

    with pytest.raises(RunError, match=r"^break_in_call_8 raised ValueError in its call 8: seven; ") as caught:
        compare(sleep, break_in_call_8)

    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.usefixtures("global_state")
def test_changes_of_the_global_state_are_set_back_and_reported():
    seen: list[tuple[torch.dtype, torch.device, float, float]] = []

    def tidy() -> None:
        seen.append((torch.get_default_dtype(), torch.get_default_device(), 0.0, 0.0))
        time.sleep(1e-4)

    def careless() -> None:
        seen.append((torch.get_default_dtype(), torch.get_default_device(), random.random(), np.random.rand()))
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        time.sleep(2e-4)

    comparison = compare(tidy, careless, max_pairs=8)

    assert {entry[:2] for entry in seen} == {(torch.float32, torch.device("cpu"))}
    assert len({entry[2:] for entry in seen}) == 2  # careless draws the same numbers in every sample
    assert comparison.warnings == tuple(
        f"careless changes {what}; it was set back after each sample"
        for what in (
            "torch's default dtype (to torch.float64)",
            "torch's default device (to meta)",
            "torch's global random state",
            "Python's global random state",
            "numpy's global random state",
        )
    )


@pytest.mark.usefixtures("global_state")
def test_the_global_state_is_set_back_after_an_error():
    def fail() -> None:
        torch.set_default_dtype(torch.float64)
        raise ValueError

    with pytest.raises(RunError):
        compare(fail, fail)


def test_all_faults_of_a_request_are_named_at_once():
    unchecked = inspect.unwrap(compare)  # the tests' own check of types would answer first

    with pytest.raises(SpecError) as caught:
        unchecked(3, "f", target=0.0, delta="101%", max_pairs=15, max_seconds=0, timeout="soon")

    assert caught.value.faults == (
        "f is 3, which is not callable; pass a function without arguments",
        "g is 'f', which is not callable; pass a function without arguments",
        "target 0.0 is not a share above 0 and at most 100 %; write it as 1% or 0.01",
        "delta '101%' is not a share above 0 and at most 100 %; write it as 1% or 0.01",
        "max_seconds 0 is not a positive time; write seconds, or a unit as in 90s, 30m, 6h",
        "timeout 'soon' is not a positive time; write seconds, or a unit as in 90s, 30m, 6h",
        "max_pairs is 15; it is an even number from 8",
    )


def test_shares_and_times_are_read_as_text_too():
    comparison = compare(work_a_little, work_a_little, target="50%", delta="30%", max_seconds="20s", max_pairs=8)

    assert comparison.delta == pytest.approx(0.3)


def work_a_little() -> None:
    time.sleep(1e-3)


def test_the_complete_samples_are_in_the_error():
    calls = iter(range(1000))

    def break_in_call_60() -> None:
        time.sleep(1e-3)
        if next(calls) == 59:
            raise ValueError("sixty")

    with pytest.raises(RunError, match=r"the \d+ samples before it: `samples` of this error") as caught:
        compare(break_in_call_60, work_a_little, delta=1e-9, device="cpu")

    samples = caught.value.samples
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(samples) > 40
    assert all(isinstance(sample, Sample) and sample.nanoseconds > 1e6 for sample in samples)


@pytest.mark.parametrize(("device", "error"), [("gpu", SpecError), ("meta", SpecError), ("cuda:99", UnsupportedError)])
def test_a_device_that_is_not_there_is_refused(device: str, error: type[Exception]):
    with pytest.raises(error, match=device):
        compare(time.perf_counter, time.perf_counter, device=device)


def test_twice_the_work_is_slower():
    matrix = torch.randn(64, 64)

    def once() -> None:
        for _ in range(10):
            matrix @ matrix

    def twice() -> None:
        for _ in range(20):
            matrix @ matrix

    comparison = windtunnel.compare(once, twice, device="cpu")

    assert comparison.verdict is Verdict.SLOWER
    assert comparison.names == ("once", "twice")
    assert comparison.effect.value > 0.3
