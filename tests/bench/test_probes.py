"""Steps run in three ways on a device with a time of its own, played by a fake."""

from collections import Counter
from itertools import islice
from random import Random
from statistics import median

import pytest
import torch

from accelerator import DEVICE, Accelerator
from factory import make_task
from windtunnel.bench import probes as probes_module
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.clock import CudaClock
from windtunnel.bench.loop import StepError
from windtunnel.bench.probes import MOST_ROUNDS, can_probe, draw_rounds, probe_steps, time_growth
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import ClockName, ColdCause, Probe, ProbeName, Status

LAUNCH_NS = 1_000


class Spinning(Accelerator):
    """An accelerator that can spin, and whose allocator has a cache."""

    def __init__(self) -> None:
        super().__init__(launch_ns=LAUNCH_NS, host_ns=0)
        self.spun: list[int] = []
        self.is_cache_empty = False

    def spin(self, cycles: int) -> None:
        """Spin at 1 GHz: a device that is slower than the fastest spins for longer than was asked."""
        self.spun.append(cycles)
        self.launch(cycles)

    def empty_cache(self) -> None:
        self.is_cache_empty = True


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Spinning:
    accelerator = Spinning()
    monkeypatch.setattr(probes_module, "time", accelerator.play(monkeypatch))
    monkeypatch.setattr(torch.cuda, "_sleep", accelerator.spin)
    monkeypatch.setattr(torch.cuda, "empty_cache", accelerator.empty_cache)
    return accelerator


def make_workload(accelerator: Spinning, *kernels_ns: int) -> Workload:
    """Return a step of two phases, each of which launches all of these kernels."""

    def run() -> None:
        for nanoseconds in kernels_ns:
            accelerator.launch(nanoseconds)

    phases = tuple(Phase(name=name, run=run) for name in ("forward", "backward"))
    return Workload(phases=phases, total="step", reset=lambda: None, fault=lambda: None)


def probe(accelerator: Spinning, *kernels_ns: int, seconds: float = 1.0) -> dict[tuple[str, str], Probe]:
    probes = probe_steps(
        make_workload(accelerator, *kernels_ns),
        CudaClock(DEVICE, num_phases=2, num_steps=1),
        DEVICE,
        enqueue_seconds=1e-4,
        seconds=seconds,
        seed=0,
    )
    return {(probe.name, probe.clock): probe for probe in probes}


HOST, DEVICE_CLOCK = ClockName.HOST, ClockName.DEVICE
PLAIN, SYNCHRONISED, QUEUED = ProbeName


def test_a_device_faster_than_its_host_waits_in_a_plain_step_and_not_in_a_queued_one(accelerator: Spinning):
    """Twenty kernels of 100 ns, launched 1 µs apart, the last of them done 100 ns after its launch."""
    probes = probe(accelerator, *[100] * 10)

    assert set(probes[PLAIN, DEVICE_CLOCK].nanoseconds) == {20 * LAUNCH_NS + 100}
    assert set(probes[QUEUED, DEVICE_CLOCK].nanoseconds) == {20 * 100}


def test_a_device_slower_than_its_host_gains_only_the_first_launch_from_a_queue(accelerator: Spinning):
    probes = probe(accelerator, *[50_000] * 10)

    plain, queued = probes[PLAIN, DEVICE_CLOCK].nanoseconds, probes[QUEUED, DEVICE_CLOCK].nanoseconds
    assert set(queued) == {20 * 50_000}
    assert set(plain) == {20 * 50_000 + LAUNCH_NS}


def test_waiting_after_each_phase_costs_what_could_have_been_launched_meanwhile(accelerator: Spinning):
    probes = probe(accelerator, 50_000)

    assert set(probes[PLAIN, HOST].nanoseconds) == {2 * 50_000 + LAUNCH_NS}
    assert set(probes[SYNCHRONISED, HOST].nanoseconds) == {2 * 50_000 + 2 * LAUNCH_NS}


def test_the_spin_lasts_longer_than_the_host_takes_to_launch_a_step(accelerator: Spinning):
    """On a device of 3 GHz, the fastest there can be: 1.5 times the given 100 µs, or the 2 µs seen, and 1 ms."""
    probe(accelerator, 100)

    assert accelerator.spun[0] == round(3e9 * 1.15e-3)
    assert set(accelerator.spun[1:]) == {round(3e9 * 1.003e-3)}


def test_the_hosts_time_of_a_queued_step_is_left_out_as_it_holds_the_spin(accelerator: Spinning):
    probes = probe(accelerator, 100)

    assert (QUEUED, HOST) not in probes
    assert {(name, clock) for name, clock in probes if clock != HOST} == {
        (name, clock) for name in ProbeName for clock in (DEVICE_CLOCK, ClockName.ENQUEUE)
    }


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 3), (1.0, MOST_ROUNDS), (4.2e-3 * 4.5, 5)])
def test_rounds_end_with_the_time_but_not_before_the_third_nor_after_the_eighth(
    accelerator: Spinning, seconds: float, rounds: int
):
    """A round takes 3.2 ms of spinning and 0.9 to 1.2 ms of steps."""
    probes = probe(accelerator, *[10_000] * 18, seconds=seconds)

    assert {len(probe.nanoseconds) for probe in probes.values()} == {rounds}


def test_each_way_has_each_place_once_in_every_three_rounds():
    rounds = list(islice(draw_rounds(Random(1)), 30))

    for block in (rounds[begin : begin + 3] for begin in range(0, 30, 3)):
        assert all(Counter(places) == Counter(ProbeName) for places in zip(*block, strict=True))
        assert all(Counter(order) == Counter(ProbeName) for order in block)


def test_the_order_of_rounds_is_drawn():
    orders = Counter(islice(draw_rounds(Random(1)), 300))

    assert len(orders) == 6


def test_a_step_that_fails_says_in_which_phase(accelerator: Spinning, monkeypatch: pytest.MonkeyPatch):
    def fail(cycles: int) -> None:
        raise RuntimeError("CUDA error: no spin")

    monkeypatch.setattr(torch.cuda, "_sleep", fail)

    with pytest.raises(StepError) as raised:
        probe(accelerator, 100)

    assert str(raised.value.__cause__) == "CUDA error: no spin"


def test_the_allocators_cache_is_emptied_before_the_step_and_after_its_reset(accelerator: Spinning):
    seen: list[bool] = []

    def allocate() -> None:
        accelerator.launch(500_000 if accelerator.is_cache_empty else 1_000)

    workload = Workload(
        phases=(Phase(name="forward", run=allocate),),
        total="forward",
        reset=lambda: seen.append(accelerator.is_cache_empty),
        fault=lambda: None,
    )

    seconds = time_growth(workload, CudaClock(DEVICE, num_phases=1, num_steps=1))

    assert seen == [False, True]
    assert seconds == pytest.approx(501e-6)


def test_only_work_that_is_queued_can_be_probed():
    assert can_probe(DEVICE)
    assert not can_probe(torch.device("cpu"))


@pytest.mark.gpu
def test_a_gpu_runs_every_way_and_waits_for_its_host_least_when_work_is_queued():
    """A step of tiny kernels, which a host cannot launch as fast as the device runs them."""
    task = make_task(workload="train_step", warmup=0, steps=5, device="cuda:0")

    record, _ = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None)

    times = {(probe.name, probe.clock): median(probe.nanoseconds) for probe in record.probes}
    assert (record.status, record.warnings) == (Status.OK, ())
    assert times[QUEUED, DEVICE_CLOCK] < times[PLAIN, DEVICE_CLOCK]
    assert times[SYNCHRONISED, HOST] > times[PLAIN, DEVICE_CLOCK]
    assert ColdCause.ALLOCATOR in record.cold_causes
