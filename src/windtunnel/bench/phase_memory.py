"""Memory by phase: a step that is run for this alone, after the samples."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from windtunnel.bench.loop import StepError
from windtunnel.bench.memory import MemoryMeter
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.record import PhaseMemory


def read_phase_memory(workload: Workload, meter: MemoryMeter) -> tuple[PhaseMemory, ...]:
    """Run one step with a look at its memory after each phase, then its first phase again to see what autograd keeps.

    Workspaces of libraries (cuBLAS) are in the bytes held, as the phase that needs them first takes them.

    Raises:
        StepError: A phase failed.
    """
    workload.reset()
    levels: list[tuple[int, int] | None] = []
    for phase in workload.phases:
        meter.begin_phase()
        _run(phase)
        levels.append(meter.end_phase())
    saved = _saved_bytes(workload)
    workload.reset()
    return tuple(
        PhaseMemory(
            phase=phase.name,
            allocated_bytes=level[0] if level else None,
            peak_bytes=level[1] if level else None,
            saved_bytes=saved if phase is workload.phases[0] else None,
        )
        for phase, level in zip(workload.phases, levels, strict=True)
    )


def _saved_bytes(workload: Workload) -> int:
    """Return what the first phase keeps for the ones that follow."""
    workload.reset()
    with _seeing_saved() as storages:
        _run(workload.phases[0])
    return sum(storages.values())


@contextmanager
def _seeing_saved() -> Iterator[dict[int, int]]:
    """Note the storages that autograd keeps, by address: all of them live until backward."""
    storages: dict[int, int] = {}

    def see(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output kept as it is would hold its own graph: a cycle that no collector sees

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        yield storages


def _run(phase: Phase) -> None:
    try:
        phase.run()
    except Exception as error:
        raise StepError(phase.name) from error
