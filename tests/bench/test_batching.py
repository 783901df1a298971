"""How often short phases run in a row."""

import pytest

from windtunnel.bench.batching import runs_needed
from windtunnel.bench.clock import StepTimes
from windtunnel.records.record import ClockName


def steps(*phases_us: tuple[float, ...], clock: ClockName = ClockName.HOST) -> list[StepTimes]:
    return [StepTimes(began=0, phases={clock: tuple(round(1e3 * us) for us in each)}, total={}) for each in phases_us]


@pytest.mark.parametrize(
    ("shortest_us", "runs"), [(500, 1), (50, 1), (49.9, 4), (40, 4), (25, 4), (24, 8), (3, 64), (0.05, 1024), (0, 1024)]
)
def test_the_shortest_phase_is_run_until_it_takes_100_microseconds(shortest_us: float, runs: int):
    assert runs_needed(steps((shortest_us, 700.0))) == runs


def test_the_fastest_of_the_first_steps_counts():
    """The first one loads kernels."""
    assert runs_needed(steps((4_000.0, 700.0), (26.0, 700.0), (30.0, 700.0))) == 4


def test_on_an_accelerator_the_time_of_the_device_counts():
    (step,) = steps((30.0,), clock=ClockName.DEVICE)
    step.phases[ClockName.ENQUEUE] = (1_000,)

    assert runs_needed([step]) == 4


def test_without_a_look_nothing_is_run_in_a_row():
    assert runs_needed([]) == 1
