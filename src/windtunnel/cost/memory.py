"""The memory of a step before it runs: the peak of each phase and what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost.allocator import handed_out
from windtunnel.cost.attention_program import attention_program_of
from windtunnel.cost.parameters import tensor_sizes
from windtunnel.cost.program import Program, program_of
from windtunnel.cost.tape import Component, add
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

HOPPER_WORKSPACE_BYTES = 32 * 2**20
"""What torch gives to each cuBLAS handle on a Hopper GPU: CUBLAS_WORKSPACE_CONFIG of :4096:8 in its place."""
WORKSPACE_BYTES = 4096 * 1024 * 2 + 16 * 1024 * 8
"""The same on other GPUs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPrediction:
    """Bytes that the allocator will have handed out, weights and all.

    Attributes:
        phases: The most of each phase, in the order of the phases.
        components: What the most of each phase is made of; parts of 0 are left out.
        before_backward_bytes: What is held when backward begins; None where there is none.
    """

    phases: Mapping[str, int]
    components: Mapping[str, Mapping[str, int]]
    before_backward_bytes: int | None

    @property
    def peak_bytes(self) -> int:
        """The most of the whole step."""
        return max(self.phases.values())

    @property
    def peak_phase(self) -> str:
        """The phase that holds the most."""
        return max(self.phases, key=lambda name: self.phases[name])


def predict_memory(
    cell: Cell, *, optimizer: str = "adamw", workspace_bytes: int = HOPPER_WORKSPACE_BYTES
) -> MemoryPrediction:
    """Return what `cell` will hold at the peak of each phase.

    The step is played operation by operation, as PyTorch 2.11 to 2.13 runs it eagerly on CUDA, and each tensor lives as
    long as there (`windtunnel.cost.tape`). Only what a kernel allocates for itself is not followed. A device `cpu` has
    no workspace and no rounding, but is taken to have the operators of CUDA: on a CPU the norm is made of several
    operations, which keep more.

    Args:
        cell: What is measured; its checkpointing counts.
        optimizer: Which optimizer a training step has, of `OPTIMIZER_STATES`.
        workspace_bytes: What each cuBLAS handle holds. There is one in forward, and one more in the thread of backward.

    Raises:
        UnsupportedError: The attention backend or torch.compile leaves what is kept to a compiler: no closed form.
    """
    if cell.is_attention:
        program, rounding = attention_program_of(cell), 0
    else:
        program, rounding = program_of(cell, optimizer=optimizer), _rounding(cell)
    on_cuda = cell.device != "cpu"
    return _played(program, workspace_bytes=workspace_bytes * on_cuda, rounding=rounding * on_cuda)


def _played(program: Program, *, workspace_bytes: int, rounding: int) -> MemoryPrediction:
    level = add(program.resident, {Component.ROUNDING: rounding, Component.WORKSPACE: workspace_bytes})
    components: dict[str, Mapping[str, int]] = {}
    before: int | None = None
    for name, stretch in program.phases.items():
        if name == "backward":
            before = sum(level.values())
            level = add(level, {Component.WORKSPACE: workspace_bytes})
        most = add(level, stretch.peak)
        components[name] = {part.value: most[part] for part in Component if most.get(part)}
        level = add(level, stretch.end)
    return MemoryPrediction(
        phases={name: sum(parts.values()) for name, parts in components.items()},
        components=components,
        before_backward_bytes=before,
    )


def _rounding(cell: Cell) -> int:
    """Return what the allocator adds to the weights."""
    assert isinstance(cell.model, ModelSpec)
    entry_bytes = DTYPE_BYTES[PRECISIONS[cell.precision].weights]
    return sum(
        count * (handed_out(entries * entry_bytes) - entries * entry_bytes)
        for entries, count in tensor_sizes(cell.model).items()
    )
