"""The phases of attention alone: what lives when, and what runs."""

from windtunnel.cost.compiled_scores import CompiledScores
from windtunnel.cost.materialised import Materialised
from windtunnel.cost.program import Program, attending_of
from windtunnel.cost.sizes import AttentionSizes, attention_sizes_of
from windtunnel.cost.tape import Component, Held, Tape
from windtunnel.spec.cell import Cell


def attention_program_of(cell: Cell) -> Program:
    """Return the program of a step of attention alone: Q, K, V and dO are given, O and the gradients are kept.

    Raises:
        UnsupportedError: The attention backend has no closed form.
    """
    sizes, attends = attention_sizes_of(cell), attending_of(cell)
    trains = cell.workload == "attention_forward_backward"
    inputs = _inputs(sizes, trains=trains)
    forward = Tape(inputs, pinned=frozenset(inputs))
    attends.forward(forward, sizes, keeps=trains)
    phases = {"forward": forward.stretch()}
    if trains:
        backward = Tape(forward.held, pinned=frozenset(inputs))
        attends.backward(backward, sizes)
        phases["backward"] = backward.stretch()
    return Program(
        resident={Component.INPUTS: sum(held.num_bytes for held in inputs.values())},
        phases=phases,
        saved_of_block={name: held for name, held in forward.held.items() if name not in inputs} if trains else {},
        cut_bytes=_matrix(sizes) if trains and isinstance(attends, Materialised) else 0,
        trial_bytes=_matrix(sizes) if trains and isinstance(attends, CompiledScores) else 0,
    )


def _matrix(sizes: AttentionSizes) -> int:
    """Return one matrix of scores, which either backend needs beyond its peak for a reason of its own.

    Eager: the block of the scores is freed after forward and then cut for the first gradient, dV, since the allocator
    takes the smallest free block that is large enough; what is left is too small for dP. Compiled: the first run tries
    kernels on a copy of what they change in place, which torch makes on the host where the device has no room.

    Source: get_free_block of c10/cuda/CUDACachingAllocator.cpp; CachingAutotuner of torch/_inductor/runtime/
    triton_heuristics.py; where searches on an H200 ended.
    """
    return sizes.scores(sizes.element_bytes).num_bytes


def _inputs(sizes: AttentionSizes, *, trains: bool) -> dict[str, Held]:
    inputs = {"q": sizes.queries, "k": sizes.keys, "v": sizes.keys}
    return inputs | {"do": sizes.queries} if trains else inputs
