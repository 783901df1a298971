"""One callable on its own, on a scripted clock and on the real one."""

import inspect
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain, cycle, repeat

import pytest
import torch

import windtunnel
from windtunnel.bench.clock import StepTimes
from windtunnel.bench.measure import Measurement, measure, measure_call
from windtunnel.bench.pairs import compare
from windtunnel.errors import RunError, SpecError
from windtunnel.records.record import ClockName
from windtunnel.statistics.stopping import StopReason
from windtunnel.units import duration

MILLISECOND = 1_000_000

unchecked = inspect.unwrap(measure)  # without the tests' check of types, as users call it


class ScriptedClock:
    """A clock on which each sample takes the next scripted time."""

    def __init__(self, nanoseconds: Iterator[int]) -> None:
        self.left = nanoseconds

    def start(self) -> None:
        pass

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def stop(self) -> None:
        self.value = next(self.left)

    def read(self) -> tuple[StepTimes, ...]:
        return (StepTimes(began=0, phases={ClockName.HOST: (self.value,)}, total={ClockName.HOST: self.value}),)


def on_script(nanoseconds: Iterator[int], **arguments: object) -> Measurement:
    defaults: dict[str, object] = {"target": 0.01, "warmup": "auto", "max_samples": 1000, "max_seconds": 60.0}
    return measure_call(
        lambda: None, clock=ScriptedClock(nanoseconds), device=torch.device("cpu"), **(defaults | arguments)
    )


def steady() -> Iterator[int]:
    return cycle([1_000_000, 1_003_000, 998_000, 1_001_000, 997_000])


def test_steady_work_is_known_at_the_first_look():
    measured = on_script(steady())

    assert (len(measured.nanoseconds), measured.stopped_by) == (32, StopReason.TARGET)
    assert measured.estimate.value == pytest.approx(1e-3, rel=0.002)
    assert measured.warnings == ()


def test_a_slow_start_is_warmed_away():
    measured = on_script(chain(repeat(50 * MILLISECOND, 6), steady()))

    assert max(measured.nanoseconds) < 2 * MILLISECOND
    assert 50 * MILLISECOND in measured.warmup_nanoseconds


def test_an_exact_warm_up_is_exact():
    measured = on_script(steady(), warmup=7)

    assert len(measured.warmup_nanoseconds) == 7


def test_two_states_end_it_when_both_are_known_and_are_named():
    measured = on_script(cycle([1_000_000, 3_000_000]), max_samples=64)

    assert (len(measured.nanoseconds), measured.stopped_by) == (32, StopReason.TARGET)
    assert any("takes 1.00 ms or 3.00 ms, two states" in warning for warning in measured.warnings)


def test_a_target_out_of_reach_ends_at_the_most_samples_and_says_what_was_reached():
    measured = on_script(cycle([1_000_000, 2_000_000, 3_000_000]), max_samples=64)

    assert (len(measured.nanoseconds), measured.stopped_by) == (64, StopReason.MAX_SAMPLES)
    assert any("target of ±1.00 % was not reached" in warning for warning in measured.warnings)


def test_short_work_is_batched_and_its_time_is_that_of_one_call():
    """A clock that shows 1 µs for any sample but the batches, which it shows at 100 µs."""
    script = chain(repeat(1_000, 3), repeat(100_000))

    measured = on_script(script)

    assert measured.calls_per_sample > 1
    assert measured.estimate.value == pytest.approx(100e-6 / measured.calls_per_sample)
    assert any("calls in a row" in warning for warning in measured.warnings)


def test_time_runs_out_with_ten_samples_of_slow_work():
    ticks = iter(range(0, 100_000, 7))

    wide = cycle([1_000_000, 3_000_000])

    measured = on_script(wide, warmup=1, max_seconds=30.0, now=lambda: float(next(ticks)))

    assert (len(measured.nanoseconds), measured.stopped_by) == (10, StopReason.MAX_SECONDS)


def test_a_real_sleep_is_measured():
    measured = windtunnel.measure(lambda: time.sleep(0.002), target="20%", max_samples=40, device="cpu")

    assert measured.estimate.value >= 0.002
    # On a busy machine the samples may be too dependent for an interval.
    assert re.match(rf"<lambda> takes {duration(measured.estimate.value)} (\[|no interval)", str(measured))


def test_an_error_of_the_callable_is_the_cause():
    with pytest.raises(RunError, match="raised ZeroDivisionError in its call 1") as caught:
        measure(lambda: 1 / 0, device="cpu")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def coroutine() -> None:
    pass


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("lazy", "part"),
    [
        (coroutine, "returns a coroutine, so its body would never run; .* `lambda: asyncio.run"),
        (generator, "returns a generator, so its body would never run; .* `lambda: list"),
        (async_generator, "returns an async generator, so its body would never run; .* `lambda"),
    ],
)
def test_a_callable_whose_body_never_runs_is_refused(lazy: Callable[[], object], part: str):
    with pytest.raises(SpecError, match=part):
        measure(lazy, device="cpu")
    with pytest.raises(SpecError, match=part):
        compare(lambda: None, lazy, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"target": 0}, "target 0 is not a share"),
        ({"target": "200%"}, "target '200%' is not a share"),
        ({"max_seconds": -1}, "max_seconds -1 is not a positive time"),
        ({"warmup": -1}, "warmup is -1; allowed: auto"),
        ({"max_samples": 0}, "max_samples is 0"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, object], part: str):
    with pytest.raises(SpecError) as caught:
        unchecked(lambda: None, **arguments)

    assert part in str(caught.value)


def test_all_faults_are_listed():
    with pytest.raises(SpecError) as caught:
        unchecked(3, target=0, max_samples=0)

    assert len(caught.value.faults) == 3
