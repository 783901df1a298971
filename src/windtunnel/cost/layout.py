"""Many devices: how a layout shares out memory, and what each device must send."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from windtunnel.cost.memory import MemoryPrediction
from windtunnel.cost.parameters import block_matrix_entries, parameter_count
from windtunnel.cost.tape import Component
from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

LAYOUTS = ("none", "ddp", "zero1", "fsdp")
LayoutKind = Literal["none", "ddp", "zero1", "fsdp"]

_GATHERED_BLOCKS = 2
"""Blocks whose weights FSDP holds whole at a time: the one that runs and the one that is fetched ahead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a step is spread over devices, each with a batch of its own.

    - `ddp`: each device holds all, and averages its gradients with the others.
    - `zero1`: as ddp, but each holds a share of the optimizer's state, updates that share of the weights, and sends it.
    - `fsdp`: each holds a share of weights, gradients and state; the weights of a block are gathered when it runs.
    """

    kind: LayoutKind = "none"
    world_size: int = 1


def make_layout(kind: str, world_size: int) -> Layout:
    """Return a layout.

    Raises:
        SpecError: There is no such layout, or it is impossible with so many devices.
    """
    if kind not in LAYOUTS:
        raise SpecError(unknown_name("parallel", kind, LAYOUTS))
    if world_size < 1:
        raise SpecError(f"world-size is {world_size}; allowed: a whole number from 1")
    if kind == "none" and world_size > 1:
        raise SpecError(
            f"world-size is {world_size}, and nothing says how the step is spread over so many devices: "
            f"give --parallel, one of {', '.join(LAYOUTS[1:])}"
        )
    if kind != "none" and world_size == 1:
        raise SpecError(f"parallel {kind!r} spreads a step over several devices: give --world-size from 2")
    return Layout(kind=kind, world_size=world_size)


def check_layout(cell: Cell, layout: Layout) -> None:
    """Say why a cell cannot be laid out so.

    Raises:
        SpecError: It has nothing to share out, or would not notice.
    """
    if layout.kind == "none":
        return
    if isinstance(cell.model, OwnModel):
        raise SpecError(
            f"parallel {layout.kind!r} needs the weights of the model, which are not known of one of your own"
        )
    if cell.is_attention:
        raise SpecError(f"parallel {layout.kind!r} is of whole models; attention alone has no weights: leave it out")
    if cell.workload == "forward" and layout.kind != "fsdp":
        raise SpecError(
            f"parallel {layout.kind!r} has no effect on forward, which sends nothing: leave it out, or use fsdp"
        )
    if layout.kind == "zero1" and cell.workload != "train_step":
        raise SpecError(f"parallel 'zero1' shares out the optimizer, and {cell.workload!r} has none: use train_step")


def wire_bytes(cell: Cell, layout: Layout) -> Mapping[str, int]:
    """Return what each device sends in each phase of a step, with rings; as much comes in.

    Gathering or scattering Ψ bytes among n devices sends Ψ·(n - 1)/n from each, and an all-reduce is one of both. With
    Ψ the bytes of all weights: DDP all-reduces gradients, 2·Ψ·(n - 1)/n; ZeRO-1 reduces and scatters gradients in
    backward and gathers weights after the update, the same in all; FSDP gathers weights in forward and again in
    backward, and scatters gradients: 3·Ψ·(n - 1)/n. Weights and gradients are sent in the format of the weights.

    Source: Patarasuk & Yuan 2009 (doi 10.1016/j.jpdc.2008.09.002) for rings; Rajbhandari et al. 2020
    (arXiv:1910.02054), section 7, for the stages.

    Raises:
        SpecError: The cell cannot be laid out so.
    """
    check_layout(cell, layout)
    if layout.kind == "none":
        return {}
    shared = _weight_bytes(cell) * (layout.world_size - 1) // layout.world_size
    trains = cell.workload != "forward"
    match layout.kind:
        case "ddp":
            return {"backward": 2 * shared}
        case "zero1":
            return {"backward": shared, "optimizer": shared}
        case "fsdp":
            return {"forward": shared} | ({"backward": 2 * shared} if trains else {})


def laid_out(cell: Cell, layout: Layout, memory: MemoryPrediction) -> MemoryPrediction:
    """Return the memory of one of the devices.

    DDP keeps a copy of all gradients in the buckets that it sends. ZeRO-1 holds one share of the optimizer's state
    besides. FSDP holds a share of weights, gradients and state, and whole weights of two blocks at a time, in backward
    also the whole gradients of one. Activations are those of the device's own batch.

    Raises:
        SpecError: The cell cannot be laid out so.
    """
    check_layout(cell, layout)
    if layout.kind == "none":
        return memory
    components = {name: _shared(cell, layout, name, parts) for name, parts in memory.components.items()}
    change = 0
    if memory.before_backward_bytes is not None:
        before = memory.components["loss"]
        change = sum(_shared(cell, layout, "loss", before).values()) - sum(before.values())
    return replace(
        memory,
        phases={name: sum(parts.values()) for name, parts in components.items()},
        components=components,
        before_backward_bytes=memory.before_backward_bytes and memory.before_backward_bytes + change,
    )


def _shared(cell: Cell, layout: Layout, phase: str, parts: Mapping[str, int]) -> Mapping[str, int]:
    sharded: tuple[Component, ...] = ()
    weights = _weight_bytes(cell)
    extra = 0
    if layout.kind in {"ddp", "zero1"}:
        extra = weights if phase in {"backward", "optimizer"} else 0
        sharded = (Component.OPTIMIZER,) if layout.kind == "zero1" else ()
    else:
        sharded = (Component.PARAMETERS, Component.GRADIENTS, Component.OPTIMIZER, Component.ROUNDING)
        block = _block_bytes(cell)
        extra = {"forward": _GATHERED_BLOCKS, "backward": _GATHERED_BLOCKS + 1}.get(phase, 0) * block
    shared = {name: size // layout.world_size if name in sharded else size for name, size in parts.items()}
    return shared | ({Component.COMMUNICATION.value: extra} if extra else {})


def _weight_bytes(cell: Cell) -> int:
    assert isinstance(cell.model, ModelSpec)
    return parameter_count(cell.model) * DTYPE_BYTES[PRECISIONS[cell.precision].weights]


def _block_bytes(cell: Cell) -> int:
    assert isinstance(cell.model, ModelSpec)
    return block_matrix_entries(cell.model) * DTYPE_BYTES[PRECISIONS[cell.precision].weights]
