"""The clocks of an accelerator, with its events played by a fake."""

import pytest
import torch

from accelerator import DEVICE, Accelerator
from windtunnel.bench.clock import CudaClock, HostClock, StepTimes, make_clock
from windtunnel.records.record import ClockName


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    accelerator = Accelerator(launch_ns=10, host_ns=1_000_000)
    accelerator.play(monkeypatch)
    return accelerator


def run_step(clock: CudaClock, accelerator: Accelerator, *phases: int, pause: int = 0) -> None:
    """Run a step; the host does nothing for `pause` nanoseconds before each phase."""
    clock.start()
    for nanoseconds in phases:
        accelerator.host_ns += pause
        clock.begin()
        accelerator.launch(nanoseconds)
        clock.end()
    clock.stop()


def test_phases_are_timed_on_the_device_and_by_their_launch(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=2, num_steps=1)

    run_step(clock, accelerator, 300, 600)

    (step,) = clock.read()
    assert step.phases[ClockName.DEVICE] == (310, 600)  # the device waits for the first launch only
    assert step.phases[ClockName.ENQUEUE] == (10, 10)


def test_the_whole_step_is_on_all_three_clocks(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=2, num_steps=1)

    run_step(clock, accelerator, 300, 600)

    (step,) = clock.read()
    assert step.total == {ClockName.HOST: 910, ClockName.DEVICE: 910, ClockName.ENQUEUE: 20}


def test_what_the_host_does_between_two_phases_is_in_no_phase(accelerator: Accelerator):
    """The device has 300 ns to do while the host pauses for 1,000, and then waits for the other 700."""
    clock = CudaClock(DEVICE, num_phases=2, num_steps=1)

    run_step(clock, accelerator, 300, 600, pause=1_000)

    (step,) = clock.read()
    assert step.phases[ClockName.ENQUEUE] == (10, 10)
    assert step.phases[ClockName.DEVICE] == (310, 610)
    assert step.total == {ClockName.HOST: 2_620, ClockName.DEVICE: 1_620, ClockName.ENQUEUE: 1_020}


def test_work_that_was_queued_before_a_step_is_not_in_it(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=1, num_steps=1)
    accelerator.launch(1_000_000)

    run_step(clock, accelerator, 300)

    (step,) = clock.read()
    assert step.total[ClockName.HOST] == 310
    assert step.total[ClockName.DEVICE] == 310


def test_steps_are_read_in_order_and_their_events_serve_again(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=1, num_steps=2)
    for nanoseconds in (100, 200):
        run_step(clock, accelerator, nanoseconds)
    first = clock.read()
    made = accelerator.events_made

    run_step(clock, accelerator, 300)

    assert [step.total[ClockName.DEVICE] for step in first] == [110, 210]
    assert [step.total[ClockName.DEVICE] for step in clock.read()] == [310]
    assert accelerator.events_made == made


def test_a_step_begins_when_the_device_is_idle(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=1, num_steps=1)
    accelerator.launch(1_000_000)

    run_step(clock, accelerator, 300)

    (step,) = clock.read()
    assert step.began == 1_000_000 + 10 + 1_000_000


def test_a_step_without_an_end_is_left_out(accelerator: Accelerator):
    clock = CudaClock(DEVICE, num_phases=2, num_steps=2)
    run_step(clock, accelerator, 100, 200)
    clock.start()
    clock.begin()
    clock.end()

    steps = clock.read()

    assert [step.total[ClockName.DEVICE] for step in steps] == [310]


def test_host_times_come_from_the_monotonic_clock():
    clock = make_clock(torch.device("cpu"), num_phases=1, num_steps=1)
    clock.start()
    clock.begin()
    clock.end()
    clock.stop()

    (step,) = clock.read()

    assert isinstance(clock, HostClock)
    assert isinstance(step, StepTimes)
    assert 0 <= step.phases[ClockName.HOST][0] <= step.total[ClockName.HOST]


def test_an_accelerator_has_its_own_clock(accelerator: Accelerator):
    clock = make_clock(DEVICE, num_phases=3, num_steps=5)

    assert isinstance(clock, CudaClock)
    assert accelerator.events_made == 5 * 2 * 3
