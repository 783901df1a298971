"""The loop under a clock whose time passes only when a test says so."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from windtunnel.bench import clock as clock_module
from windtunnel.bench.clock import HostClock, StepTimes
from windtunnel.bench.loop import StepError, run_steps, to_samples
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName, Samples


class Hours:
    """The time of day, in nanoseconds: it stands still until it is passed."""

    def __init__(self) -> None:
        self.now = 1_000
        self.log: list[str] = []

    def passing(self, *nanoseconds: int, name: str = "") -> Callable[[], None]:
        """Return something to do that takes these times, call by call; the last one for ever."""
        left = list(nanoseconds)

        def act() -> None:
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return act


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    """Let the host clock read time from here."""
    hours = Hours()
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(perf_counter_ns=lambda: hours.now))
    return hours


def make_workload(
    *phases: tuple[str, Callable[[], None]], total: str = "step", reset: Callable[[], None] = lambda: None
) -> Workload:
    return Workload(
        phases=tuple(Phase(name=name, run=run) for name, run in phases),
        total=total,
        reset=reset,
        fault=lambda: None,
    )


def fail() -> None:
    raise ZeroDivisionError("in the phase")


def failing_after(count: int) -> Callable[[], None]:
    """Return something to do that works `count` times."""
    left = iter(range(count))

    def act() -> None:
        if next(left, None) is None:
            fail()

    return act


def test_every_step_has_the_times_of_its_phases_and_of_the_whole(hours: Hours):
    workload = make_workload(("forward", hours.passing(3, 5)), ("backward", hours.passing(20, 40)))
    clock = HostClock()

    run_steps(workload, clock, 2)

    assert clock.read() == (
        StepTimes(began=1_000, phases={ClockName.HOST: (3, 20)}, total={ClockName.HOST: 23}),
        StepTimes(began=1_023, phases={ClockName.HOST: (5, 40)}, total={ClockName.HOST: 45}),
    )


def test_phases_run_in_order_after_the_reset(hours: Hours):
    workload = make_workload(
        ("forward", hours.passing(1, name="forward")),
        ("backward", hours.passing(1, name="backward")),
        reset=hours.passing(1, name="reset"),
    )

    run_steps(workload, HostClock(), 2)

    assert hours.log == ["reset", "forward", "backward"] * 2


def test_the_reset_is_in_no_time(hours: Hours):
    workload = make_workload(("forward", hours.passing(3)), reset=hours.passing(1_000_000))
    clock = HostClock()

    run_steps(workload, clock, 2)

    assert [step.total[ClockName.HOST] for step in clock.read()] == [3, 3]


def test_a_pause_in_the_second_phase_is_in_that_phase_and_in_the_whole_only(hours: Hours):
    workload = make_workload(
        ("forward", hours.passing(3)), ("backward", hours.passing(7, 7 + 1_000, 7)), ("optimizer", hours.passing(2))
    )
    clock = HostClock()

    run_steps(workload, clock, 3)

    steps = clock.read()
    assert [step.phases[ClockName.HOST] for step in steps] == [(3, 7, 2), (3, 1_007, 2), (3, 7, 2)]
    assert [step.total[ClockName.HOST] for step in steps] == [12, 1_012, 12]


class Delayed(tuple[Phase, ...]):
    """Phases with a pause before each of them, as a loop that does something between its phases has."""

    def __iter__(self) -> Iterator[Phase]:
        for phase in super().__iter__():
            time.sleep(0.005)
            yield phase


def test_a_sleep_of_5_ms_between_phases_is_in_the_residual_and_in_no_phase():
    """METHOD 8.7, on the real clock: a sleep never ends early, and a loaded machine may end it late.

    A pause counted in a phase would be in it in every step: the shortest step tells, however busy the machine is.
    """
    workload = make_workload(("forward", lambda: None), ("backward", lambda: None), ("optimizer", lambda: None))
    workload = replace(workload, phases=Delayed(workload.phases))
    clock = HostClock()

    run_steps(workload, clock, 5)

    steps = clock.read()
    phases = [sum(step.phases[ClockName.HOST]) for step in steps]
    residuals = [step.total[ClockName.HOST] - phase for step, phase in zip(steps, phases, strict=True)]
    assert min(residuals) >= 15e6
    assert min(phases) < 5e6


def test_a_clock_that_was_read_begins_anew(hours: Hours):
    workload = make_workload(("forward", hours.passing(3, 5)))
    clock = HostClock()
    run_steps(workload, clock, 1)
    clock.read()

    run_steps(workload, clock, 1)

    assert [step.total[ClockName.HOST] for step in clock.read()] == [5]


def test_no_steps_take_no_time(hours: Hours):
    workload = make_workload(("forward", hours.passing(3, name="forward")))
    clock = HostClock()

    run_steps(workload, clock, 0)

    assert clock.read() == ()
    assert hours.log == []


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_phase_that_raises_is_named_with_its_error_as_the_cause(name: str):
    actions = {"forward": lambda: None, "backward": lambda: None} | {name: fail}

    with pytest.raises(StepError) as raised:
        run_steps(make_workload(*actions.items()), HostClock(), 1)

    assert raised.value.phase == name
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_the_steps_before_an_error_are_kept_and_the_broken_one_is_not(hours: Hours):
    workload = make_workload(("forward", hours.passing(3, 4, 5)), ("backward", failing_after(2)))
    clock = HostClock()

    with pytest.raises(StepError):
        run_steps(workload, clock, 10)

    assert [step.total[ClockName.HOST] for step in clock.read()] == [3, 4]


def test_an_interruption_is_no_failure_of_the_step():
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(make_workload(("forward", interrupt)), HostClock(), 1)


def test_garbage_is_collected_before_the_loop_and_never_inside():
    inside: list[bool] = []
    before: list[str] = []

    def note(phase: str, details: dict[str, int]) -> None:
        before.append(phase)

    gc.callbacks.append(note)
    try:
        run_steps(make_workload(("forward", lambda: inside.append(gc.isenabled()))), HostClock(), 2)
    finally:
        gc.callbacks.remove(note)

    assert inside == [False, False]
    assert before == ["start", "stop"]


def test_garbage_collection_is_on_again_after_the_loop():
    run_steps(make_workload(("forward", lambda: None)), HostClock(), 1)

    assert gc.isenabled()


def test_garbage_collection_is_on_again_after_an_error():
    with pytest.raises(StepError):
        run_steps(make_workload(("forward", fail)), HostClock(), 1)

    assert gc.isenabled()


def step(host: int, *device: int) -> StepTimes:
    """Return a step as an accelerator's clock gives it: phases on the device, the whole on both."""
    return StepTimes(
        began=0, phases={ClockName.DEVICE: device}, total={ClockName.HOST: host, ClockName.DEVICE: sum(device)}
    )


TWO_PHASES = make_workload(("forward", lambda: None), ("backward", lambda: None))
ONE_PHASE = make_workload(("forward", lambda: None), total="forward")


def test_each_phase_and_clock_has_a_series_and_the_whole_comes_last():
    samples = to_samples(TWO_PHASES, warmup=[step(90, 50, 30)], timed=[step(30, 10, 15), step(31, 11, 16)])

    assert samples == (
        Samples(phase="forward", clock=ClockName.DEVICE, nanoseconds=(10, 11), warmup_nanoseconds=(50,)),
        Samples(phase="backward", clock=ClockName.DEVICE, nanoseconds=(15, 16), warmup_nanoseconds=(30,)),
        Samples(phase="step", clock=ClockName.HOST, nanoseconds=(30, 31), warmup_nanoseconds=(90,)),
        Samples(phase="step", clock=ClockName.DEVICE, nanoseconds=(25, 27), warmup_nanoseconds=(80,)),
    )


def test_a_step_of_one_phase_is_one_series_on_each_clock():
    samples = to_samples(ONE_PHASE, warmup=[], timed=[step(30, 10)])

    assert [(series.phase, series.clock, series.nanoseconds) for series in samples] == [
        ("forward", ClockName.HOST, (30,)),
        ("forward", ClockName.DEVICE, (10,)),
    ]


def test_warm_up_alone_has_series_without_samples():
    samples = to_samples(ONE_PHASE, warmup=[step(30, 10)], timed=[])

    assert [(series.nanoseconds, series.warmup_nanoseconds) for series in samples] == [((), (30,)), ((), (10,))]


def test_no_steps_have_no_series():
    assert to_samples(TWO_PHASES, warmup=[], timed=[]) == ()
