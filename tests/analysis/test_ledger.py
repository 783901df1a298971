"""Where a step's time goes, from records whose times are known."""

from dataclasses import replace

import pytest

from factory import CPU, make_processes, make_record, make_row, make_row_of, make_task
from windtunnel.analysis.ledger import enqueue_share, launch_bound_share, ledger_of, synchronising_penalty
from windtunnel.analysis.results import Row
from windtunnel.records.record import ClockName, Probe, ProbeName, Record, Samples


def series(phase: str, clock: ClockName, *milliseconds: float) -> Samples:
    return Samples(phase=phase, clock=clock, nanoseconds=tuple(round(1e6 * value) for value in milliseconds))


def trained(*samples: Samples, device: str = "cuda:0") -> Row:
    """Return a training step with these samples beside those of phases of 3, 1, 5 and 0.5 ms in each of two steps."""
    clock = ClockName.HOST if device == "cpu" else ClockName.DEVICE
    phases = {"forward": 3.0, "loss": 1.0, "backward": 5.0, "optimizer": 0.5}
    of_phases = (series(phase, clock, value, value) for phase, value in phases.items())
    return make_row(make_record(make_task(workload="train_step", device=device), samples=(*of_phases, *samples)))


def probed(**milliseconds: tuple[float, ...]) -> Record:
    """Return a record with probes: plain and synchronised on the host's clock, queued and plain on the device's."""
    plain = milliseconds["plain"]
    probes = (
        (ProbeName.PLAIN, ClockName.HOST, plain),
        (ProbeName.PLAIN, ClockName.DEVICE, plain),
        (ProbeName.SYNCHRONISED, ClockName.HOST, milliseconds.get("synchronised", plain)),
        (ProbeName.QUEUED, ClockName.DEVICE, milliseconds.get("queued", plain)),
    )
    return make_record(
        make_task(device="cuda:0"),
        probes=tuple(
            Probe(name=name, clock=clock, nanoseconds=tuple(round(1e6 * value) for value in values))
            for name, clock, values in probes
        ),
    )


def test_phases_and_residual_add_up_to_the_whole_step():
    ledger = ledger_of(trained(series("step", ClockName.HOST, 10.0, 10.4)))

    assert ledger.whole == pytest.approx(10.2e-3)
    assert ledger.in_phases == pytest.approx(9.5e-3)
    assert ledger.residual == pytest.approx(0.7e-3)
    assert ledger.residual_fraction == pytest.approx(0.7 / 10.2)
    assert ledger.phase_clock == ClockName.DEVICE


@pytest.mark.parametrize(("whole", "is_large"), [(9.58, False), (9.7, True), (9.3, True)])
def test_a_residual_above_one_percent_is_large_in_either_direction(whole: float, is_large: bool):
    assert ledger_of(trained(series("step", ClockName.HOST, whole, whole))).is_residual_large == is_large


def test_the_device_has_a_ledger_of_its_own():
    row = trained(series("step", ClockName.HOST, 12.0, 12.0), series("step", ClockName.DEVICE, 9.6, 9.6))

    ledger = ledger_of(row, ClockName.DEVICE)

    assert (ledger.whole, ledger.residual) == (pytest.approx(9.6e-3), pytest.approx(0.1e-3))


def test_on_a_cpu_phases_and_whole_are_on_the_hosts_clock():
    ledger = ledger_of(trained(series("step", ClockName.HOST, 10.0, 10.0), device="cpu"))

    assert (ledger.phase_clock, ledger.residual) == (ClockName.HOST, pytest.approx(0.5e-3))


def test_a_clock_that_there_is_not_has_no_ledger():
    row = trained(series("step", ClockName.HOST, 10.0, 10.0), device="cpu")

    assert ledger_of(row, ClockName.DEVICE) is None


def test_a_step_of_one_phase_has_a_residual_where_two_clocks_timed_it():
    both = (series("forward", ClockName.HOST, 10.0, 10.0), series("forward", ClockName.DEVICE, 9.0, 9.0))
    row = make_row(make_record(make_task(device="cuda:0"), samples=both))

    assert ledger_of(row).residual == pytest.approx(1e-3)
    assert ledger_of(row, ClockName.DEVICE) is None


def test_a_step_of_one_phase_has_no_ledger_on_one_clock():
    assert ledger_of(make_row(make_record(make_task()), CPU)) is None


def test_the_ledger_of_several_processes_is_of_all_their_samples():
    row = make_row_of(*make_processes([10.0, 10.0], [16.0, 16.0], workload="train_step", device="cpu"), environment=CPU)

    ledger = ledger_of(row)

    assert ledger.whole == pytest.approx(13e-3)
    assert ledger.phases["backward"] == pytest.approx(0.6 * 13e-3)


def test_a_row_without_samples_has_no_ledger():
    record = make_record(make_task(workload="train_step"), samples=())

    assert ledger_of(make_row(record)) is None


def test_the_share_of_enqueueing_is_of_the_whole_step():
    row = trained(series("step", ClockName.HOST, 10.0, 10.0), series("step", ClockName.ENQUEUE, 4.0, 4.0))

    assert enqueue_share(row) == pytest.approx(0.4)
    assert enqueue_share(trained(series("step", ClockName.HOST, 10.0), device="cpu")) is None


DRIFT = tuple(10.0 * 1.02**round_ for round_ in range(8))
"""A device that gets slower by 2 % from round to round."""


def test_the_penalty_of_synchronising_is_that_within_rounds():
    penalty = synchronising_penalty(probed(plain=DRIFT, synchronised=tuple(1.1 * value for value in DRIFT)))

    assert penalty.value == pytest.approx(0.1, abs=1e-4)
    assert (penalty.low, penalty.high) == (pytest.approx(0.1, abs=1e-4), pytest.approx(0.1, abs=1e-4))
    assert penalty.rounds == 8


def test_the_interval_of_the_penalty_holds_the_values_of_most_rounds():
    factors = (1.08, 1.09, 1.1, 1.1, 1.1, 1.11, 1.12, 1.3)
    synchronised = tuple(factor * value for factor, value in zip(factors, DRIFT, strict=True))

    penalty = synchronising_penalty(probed(plain=DRIFT, synchronised=synchronised))

    assert 0.08 < penalty.low < 0.1 < penalty.high < 0.22


def test_the_launch_bound_share_is_what_a_full_queue_saves():
    share = launch_bound_share(probed(plain=DRIFT, queued=tuple(0.75 * value for value in DRIFT)))

    assert share.value == pytest.approx(0.25, abs=1e-4)
    assert share.low <= share.value <= share.high


def test_a_step_that_a_full_queue_makes_no_faster_is_not_launch_bound():
    share = launch_bound_share(probed(plain=DRIFT, queued=tuple(1.01 * value for value in DRIFT)))

    assert (share.value, share.low, share.high) == (0.0, 0.0, 0.0)


def test_three_rounds_have_no_interval():
    share = launch_bound_share(probed(plain=(10.0, 10.0, 10.0), queued=(5.0, 5.0, 5.0)))

    assert (share.value, share.low, share.high) == (pytest.approx(0.5), None, None)


def test_a_record_without_probes_has_no_shares():
    record = replace(probed(plain=DRIFT), probes=())

    assert synchronising_penalty(record) is None
    assert launch_bound_share(record) is None
