"""Steps with a spin before them, on a device with a time of its own."""

import pytest
import torch

from accelerator import DEVICE, Accelerator
from windtunnel.bench.batching import BatchClock
from windtunnel.bench.clock import CudaClock, HostClock, StepTimes
from windtunnel.bench.spinning import FIRST_GUESS_SECONDS, SpinningClock, make_attention_clock, warn_of_gaps
from windtunnel.records.record import ClockName

LAUNCH_NS = 1_000


class Spinning(Accelerator):
    """An accelerator whose clock runs at 3 GHz, so that a spin takes what was asked."""

    def __init__(self) -> None:
        super().__init__(launch_ns=LAUNCH_NS, host_ns=0)
        self.spun_ns: list[int] = []

    def spin(self, cycles: int) -> None:
        self.spun_ns.append(round(cycles / 3))
        self.launch(self.spun_ns[-1])


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Spinning:
    accelerator = Spinning()
    accelerator.play(monkeypatch)
    monkeypatch.setattr(torch.cuda, "_sleep", accelerator.spin)
    return accelerator


def run_step(clock: SpinningClock | BatchClock, accelerator: Accelerator, *phases: int, pause: int = 0) -> None:
    """Run a step of one kernel a phase; the host does nothing for `pause` nanoseconds before each launch."""
    clock.start()
    for nanoseconds in phases:
        clock.begin()
        accelerator.host_ns += pause
        accelerator.launch(nanoseconds)
        clock.end()
    clock.stop()


def test_the_device_does_not_wait_for_the_host(accelerator: Spinning):
    """A plain clock has a launch of the host in the first phase; behind a spin there are the kernels alone."""
    plain, clock = (CudaClock(DEVICE, num_phases=2, num_steps=1) for _ in range(2))
    run_step(plain, accelerator, 300, 600, pause=5_000)

    spinning = SpinningClock(clock)
    run_step(spinning, accelerator, 300, 600, pause=5_000)

    assert plain.read()[0].phases[ClockName.DEVICE] == (6_300, 6_300)
    (step,) = spinning.read()
    assert step.phases[ClockName.DEVICE] == (300, 600)
    assert step.total == {ClockName.DEVICE: 900, ClockName.ENQUEUE: 12_000}
    assert step.is_gap_hidden is True


def test_what_is_prepared_after_the_spin_is_in_no_time(accelerator: Spinning):
    clock = SpinningClock(CudaClock(DEVICE, num_phases=1, num_steps=1), prepare=lambda: accelerator.launch(1_000_000))

    run_step(clock, accelerator, 300)

    (step,) = clock.read()
    assert step.total[ClockName.DEVICE] == 300


def test_a_host_slower_than_the_spin_is_seen(accelerator: Spinning):
    clock = SpinningClock(CudaClock(DEVICE, num_phases=1, num_steps=2), enqueue_seconds=1e-6)

    run_step(clock, accelerator, 300, pause=10_000_000)
    run_step(clock, accelerator, 300)

    assert [step.is_gap_hidden for step in clock.read()] == [False, True]


def test_the_first_spin_is_generous_and_later_ones_follow_the_fastest_launch(accelerator: Spinning):
    clock = SpinningClock(CudaClock(DEVICE, num_phases=1, num_steps=1))

    for pause in (99_000, 999_000, 9_000):
        run_step(clock, accelerator, 300, pause=pause)
        clock.read()
    run_step(clock, accelerator, 300)

    guess_ns = round(1.5 * FIRST_GUESS_SECONDS * 1e9)
    assert accelerator.spun_ns == [guess_ns + 1_000_000, 1_150_000, 1_150_000, 1_015_000]


def test_no_spin_lasts_longer_than_a_second(accelerator: Spinning):
    clock = SpinningClock(CudaClock(DEVICE, num_phases=1, num_steps=1), enqueue_seconds=5.0)

    run_step(clock, accelerator, 300)

    assert accelerator.spun_ns == [1_000_000_000]


def test_a_step_that_was_cut_short_is_left_out(accelerator: Spinning):
    clock = SpinningClock(CudaClock(DEVICE, num_phases=1, num_steps=2))
    run_step(clock, accelerator, 300)
    clock.start()
    clock.begin()

    assert len(clock.read()) == 1


def test_steps_of_several_runs_are_read_as_one_run(accelerator: Spinning):
    clock = make_attention_clock(DEVICE, num_phases=2, num_steps=1, runs=4, flush=None)

    run_step(clock, accelerator, 4 * 300, 4 * 600)

    (step,) = clock.read()
    assert step.phases[ClockName.DEVICE] == (300, 600)
    assert step.total == {ClockName.DEVICE: 900, ClockName.ENQUEUE: 500}
    assert step.is_gap_hidden is True


def test_a_cpu_has_nothing_to_hide():
    assert isinstance(
        make_attention_clock(torch.device("cpu"), num_phases=1, num_steps=1, runs=1, flush=None), HostClock
    )


def test_steps_whose_gap_was_not_hidden_are_counted():
    def step(is_hidden: bool | None) -> StepTimes:
        return StepTimes(began=0, phases={}, total={}, is_gap_hidden=is_hidden)

    assert warn_of_gaps([step(True), step(None)]) == ()
    (warning,) = warn_of_gaps([step(False), step(True), step(False)])
    assert warning.startswith("in 2 of 3 samples the device began before the host had launched the whole step")
