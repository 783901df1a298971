"""The phases of attention alone: what lives when, and what runs."""

from windtunnel.cost.attending import attending
from windtunnel.cost.program import Program
from windtunnel.cost.sizes import AttentionSizes, attention_sizes_of
from windtunnel.cost.tape import Component, Held, Tape
from windtunnel.spec.cell import Cell


def attention_program_of(cell: Cell) -> Program:
    """Return the program of a step of attention alone: Q, K, V and dO are given, O and the gradients are kept.

    Raises:
        UnsupportedError: The attention backend has no closed form.
    """
    sizes, attends = attention_sizes_of(cell), attending(cell.attention)
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
    )


def _inputs(sizes: AttentionSizes, *, trains: bool) -> dict[str, Held]:
    inputs = {"q": sizes.queries, "k": sizes.keys, "v": sizes.keys}
    return inputs | {"do": sizes.queries} if trains else inputs
