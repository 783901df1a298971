"""Memory by phase, in a pass of its own."""

import gc
import warnings

import pytest
import torch

from lone_attention import attention_task
from windtunnel.bench.build import build_workload
from windtunnel.bench.loop import StepError
from windtunnel.bench.memory import MemoryMeter
from windtunnel.bench.phase_memory import read_phase_memory
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import PhaseMemory

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
LENGTH, D_HEAD, HEADS = 40, 8, 8  # of a batch of 2 with 4 heads
OF_QUERIES, SCORES, ROWS = 4 * HEADS * LENGTH * D_HEAD, 4 * HEADS * LENGTH**2, 4 * HEADS * LENGTH


def read(**fields: object) -> tuple[PhaseMemory, ...]:
    cell = attention_task(context_length=LENGTH, d_head=D_HEAD, **fields).cell
    return read_phase_memory(build_workload(cell), MemoryMeter(CPU))


def test_flash_attention_keeps_inputs_output_and_log_sum_exp():
    forward, backward = read(attention="flash-eager")

    assert forward.saved_bytes == 4 * OF_QUERIES + ROWS
    assert backward.saved_bytes is None


def test_eager_attention_keeps_its_probabilities():
    """And Q scaled, K, V; P twice is the same storage once. The mask is in booleans."""
    forward, _ = read(attention="eager")

    assert forward.saved_bytes == 3 * OF_QUERIES + SCORES + LENGTH**2


def test_forward_without_gradients_keeps_nothing():
    (forward,) = read(workload="attention_forward")

    assert forward.saved_bytes == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash-eager"])
def test_no_tensor_of_the_cell_outlives_it(attention: str):
    """A graph whose output is kept as it is holds itself, where Python's collector does not see it."""
    read(attention=attention)
    gc.collect()

    shape = (2, 4, LENGTH, D_HEAD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated objects that isinstance touches
        alive = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and thing.shape == shape]
    assert alive == []


def test_a_cpu_has_no_count_of_its_own():
    assert {(phase.allocated_bytes, phase.peak_bytes) for phase in read()} == {(None, None)}


class Allocator:
    """The counts of a CUDA device, played."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = self.peak = 0
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: self.held)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.peak)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(self, "peak", self.held))

    def take(self, num_bytes: int) -> None:
        self.held += num_bytes
        self.peak = max(self.peak, self.held)


def make_workload(allocator: Allocator, *phases: tuple[str, tuple[int, ...]]) -> Workload:
    def phase(name: str, steps: tuple[int, ...]) -> Phase:
        return Phase(name=name, run=lambda: [allocator.take(num_bytes) for num_bytes in steps] and None)

    start = allocator.held
    return Workload(
        phases=tuple(phase(*each) for each in phases),
        total="step",
        reset=lambda: setattr(allocator, "held", start),
        fault=lambda: None,
    )


def test_each_phase_has_its_own_peak_beyond_what_was_there_before_the_cell(monkeypatch: pytest.MonkeyPatch):
    allocator = Allocator(monkeypatch)
    allocator.take(1_000)
    meter = MemoryMeter(CUDA)
    allocator.take(100)  # the inputs
    workload = make_workload(allocator, ("forward", (50, -20)), ("backward", (10, -40)))

    levels = [(phase.allocated_bytes, phase.peak_bytes) for phase in read_phase_memory(workload, meter)]

    assert levels == [(130, 150), (100, 140)]


def test_a_phase_that_fails_is_named():
    workload = Workload(
        phases=(Phase(name="forward", run=lambda: 1 / 0),), total="forward", reset=lambda: None, fault=lambda: None
    )

    with pytest.raises(StepError, match="forward"):
        read_phase_memory(workload, MemoryMeter(CPU))


def test_what_is_set_apart_is_in_no_level(monkeypatch: pytest.MonkeyPatch):
    allocator = Allocator(monkeypatch)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: {})
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: allocator.peak)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), {"total_memory": 9_999}))
    meter = MemoryMeter(CUDA)
    allocator.take(500)

    meter.set_apart(500)
    allocator.take(30)
    meter.mark_built()
    allocator.take(7)

    memory = meter.read()
    assert (memory.built_bytes, memory.peak_bytes, memory.peak_reserved_bytes) == (30, 37, 37)
