"""The memory of a step before it runs: the peak of each phase and what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from windtunnel.cost.allocator import handed_out
from windtunnel.cost.cell_program import cell_program
from windtunnel.cost.layout import ONE_DEVICE, Layout
from windtunnel.cost.parameters import tensor_sizes
from windtunnel.cost.program import Program
from windtunnel.cost.tape import Component, Kind, add
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

HOPPER_WORKSPACE_BYTES = 32 * 2**20
"""What torch gives to each cuBLAS handle on a Hopper GPU: CUBLAS_WORKSPACE_CONFIG of :4096:8 in its place."""
WORKSPACE_BYTES = 4096 * 1024 * 2 + 16 * 1024 * 8
"""The same on other GPUs."""

_NEW_THREADS = {"forward", "backward"}
"""Phases that begin a thread, which has a cuBLAS handle of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPrediction:
    """Bytes that the allocator will have handed out, weights and all.

    Attributes:
        phases: The most of each phase, in the order of the phases.
        components: What the most of each phase is made of; parts of 0 are left out.
        before_backward_bytes: What is held when backward begins; None where there is none.
        saved_of_block: What one block keeps for backward where nothing is computed again, by name, the largest first;
            without copies of weights. Of attention alone, what that keeps. Empty where there is no backward.
        cut_bytes: What the device must have besides, as a free block of that size is in part in use.
        trial_bytes: What the first run of compiled code takes besides where the device has room. Code that asks the
            device for room does not see a limit of PyTorch's allocator, so that it must be there under such a limit.
    """

    phases: Mapping[str, int]
    components: Mapping[str, Mapping[str, int]]
    before_backward_bytes: int | None
    saved_of_block: Mapping[str, int]
    cut_bytes: int = 0
    trial_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        """The most of the whole step."""
        return max(self.phases.values())

    @property
    def needed_bytes(self) -> int:
        """What the device must have for it."""
        return self.peak_bytes + self.cut_bytes

    @property
    def needed_under_limit_bytes(self) -> int:
        """What a limit of PyTorch's allocator on a larger device must leave for it."""
        return self.needed_bytes + self.trial_bytes

    @property
    def peak_phase(self) -> str:
        """The phase that holds the most."""
        return max(self.phases, key=lambda name: self.phases[name])


def predict_memory(
    cell: Cell,
    *,
    optimizer: str = "adamw",
    workspace_bytes: int = HOPPER_WORKSPACE_BYTES,
    layout: Layout = ONE_DEVICE,
) -> MemoryPrediction:
    """Return what `cell` will hold at the peak of each phase, on one of the devices over which it is spread.

    The step is played operation by operation, as PyTorch 2.11 to 2.13 runs it eagerly on CUDA, and each tensor lives as
    long as there (`windtunnel.cost.tape`). Only what a kernel allocates for itself is not followed. A device `cpu` has
    no workspace, no rounding and nothing beyond the peak, but is taken to have the operators of CUDA: on a CPU the norm
    is made of several operations, which keep more.

    Args:
        cell: What is measured; its checkpointing counts.
        optimizer: Which optimizer a training step has, of `parameters.OPTIMIZER_STATES`.
        workspace_bytes: What each cuBLAS handle holds. There is one in forward, and one more in the thread of backward;
            none where a phase has no products of its own, as fused attention alone.
        layout: How the step is spread over devices. What a device holds besides, as buffers of NCCL, is not in it.

    Raises:
        SpecError: The cell cannot be laid out so.
        UnsupportedError: The attention backend or torch.compile leaves what is kept to a compiler: no closed form.
    """
    program = cell_program(cell, optimizer, layout)
    rounding = 0 if cell.is_attention else _rounding(cell, layout)
    on_cuda = cell.device != "cpu"
    played = _played(program, workspace_bytes=workspace_bytes * on_cuda, rounding=rounding * on_cuda)
    return replace(played, cut_bytes=program.cut_bytes * on_cuda, trial_bytes=program.trial_bytes * on_cuda)


def _played(program: Program, *, workspace_bytes: int, rounding: int) -> MemoryPrediction:
    level = add(program.resident, {Component.ROUNDING: rounding})
    components: dict[str, Mapping[str, int]] = {}
    before: int | None = None
    for name, stretch in program.phases.items():
        if name == "backward":
            before = sum(level.values())
        if name in _NEW_THREADS and any(one.kind is Kind.PRODUCT for one in stretch.operations):
            level = add(level, {Component.WORKSPACE: workspace_bytes})
        most = add(level, stretch.peak)
        components[name] = {part.value: most[part] for part in Component if most.get(part)}
        level = add(level, stretch.end)
    return MemoryPrediction(
        phases={name: sum(parts.values()) for name, parts in components.items()},
        components=components,
        before_backward_bytes=before,
        saved_of_block={
            name: held.num_bytes
            for name, held in sorted(program.saved_of_block.items(), key=lambda item: -item[1].num_bytes)
        },
    )


def _rounding(cell: Cell, layout: Layout) -> int:
    """Return what the allocator adds to the weights that a device keeps."""
    assert isinstance(cell.model, ModelSpec)
    entry_bytes = DTYPE_BYTES[PRECISIONS[cell.precision].weights]
    kept = {layout.of_weights(entries * entry_bytes): count for entries, count in tensor_sizes(cell.model).items()}
    return sum(count * (handed_out(num_bytes) - num_bytes) for num_bytes, count in kept.items())
