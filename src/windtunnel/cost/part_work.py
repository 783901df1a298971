"""What each part of a model must do in one step, where a closed form knows it: FLOPs of products, bytes of passes."""

from collections.abc import Mapping

from windtunnel.cost.program import program_of
from windtunnel.errors import UnsupportedError
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.spec.own_model import OwnModel

PhaseAndPart = tuple[str, str]
"""A phase and a part of the model, by the names that profiles use."""

SOFTMAX_FLOPS = 5
"""Of one entry of a softmax: compare, subtract, exponential, add, divide."""

_BACKWARD = 2
_FUSED_BACKWARD = 2.5
"""A fused kernel keeps no scores and computes them once more. Source: Dao 2023 (arXiv:2307.08691), section 4.1."""


def product_flops(cell: Cell) -> Mapping[PhaseAndPart, int]:
    """Return the FLOPs of the matrix products of each phase and part; a multiply and an add are two.

    The whole square of queries and keys counts, as in `forward_flops`, whose sum these are in forward. Empty for a
    model of the user's own; of backward nothing is said where checkpointing computes parts again there.
    """
    model = cell.model
    if isinstance(model, OwnModel | AttentionSpec):
        return {}
    tokens = cell.batch_size * cell.context_length
    d_kv = model.kv_heads * model.d_head
    square = 2 * tokens * cell.context_length * model.d_model * model.num_layers
    forward = {
        "attention projections": 4 * tokens * model.d_model * (model.d_model + d_kv) * model.num_layers,
        "scores": square,
        "weighted sum": square,
        "fused attention": 2 * square,
        "feed-forward": 2 * tokens * model.d_model * model.d_ff * model.num_ff_matrices * model.num_layers,
        "head": 2 * tokens * model.d_model * model.vocab_size,
    }
    found = {("forward", part): flops for part, flops in forward.items()}
    if cell.workload != "forward" and cell.checkpoint == NO_CHECKPOINT:
        for part, flops in forward.items():
            found["backward", part] = int((_FUSED_BACKWARD if part == "fused attention" else _BACKWARD) * flops)
    return found


def softmax_flops(cell: Cell) -> int | None:
    """Return the FLOPs of the softmax of scores in one forward pass; None for a model of the user's own.

    The whole square counts, as it does for the products beside it.
    """
    model = cell.model
    if isinstance(model, OwnModel | AttentionSpec):
        return None
    return SOFTMAX_FLOPS * cell.batch_size * model.num_heads * cell.context_length**2 * model.num_layers


def pass_bytes(cell: Cell) -> Mapping[PhaseAndPart, int]:
    """Return what the softmax of scores and the optimizer must read and write, by phase and part.

    Empty where the step has no closed form.
    """
    try:
        program = program_of(cell)
    except UnsupportedError:
        return {}
    named = {("forward", "softmax"): "softmax", ("backward", "softmax"): "softmax backward"}
    found: dict[PhaseAndPart, int] = {}
    for (phase, part), name in named.items():
        if phase in program.phases:
            operations = program.phases[phase].operations
            found[phase, part] = sum(one.count * one.bytes_moved for one in operations if one.name == name)
    if "optimizer" in program.phases:
        update = program.phases["optimizer"].operations
        found["optimizer", "optimizer"] = sum(one.count * one.bytes_moved for one in update)
    return {key: moved for key, moved in found.items() if moved}
