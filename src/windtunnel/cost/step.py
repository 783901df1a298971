"""Parameters, matrix-product FLOPs and least bytes of one step of the reference model."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost.attending import is_operator
from windtunnel.cost.attention import attention_bytes, attention_flops
from windtunnel.cost.flops import backward_flops, forward_flops, recomputation_flops
from windtunnel.cost.layout import ONE_DEVICE, Layout
from windtunnel.cost.parameters import OPTIMIZER_STATES, parameter_count
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one step must do and hold, whatever machine runs it.

    `flops` counts the matrix products of each phase; a phase without any (loss, optimizer) is not in it. What
    checkpointing computes again in backward is not in it either but in `recomputed_flops`: it is no progress, and rates
    that are compared with a peak leave it out.
    `least_bytes` names what one device must hold of its share of the step, at some moment of it, whatever computes
    attention and whatever is computed again; activations come on top.
    """

    parameters: int
    flops: Mapping[str, int]
    least_bytes: Mapping[str, int]
    recomputed_flops: int = 0

    @property
    def step_flops(self) -> int:
        """FLOPs of the whole step."""
        return sum(self.flops.values())

    @property
    def floor_bytes(self) -> int:
        """The least memory that the step needs: all that it must hold at once.

        Of logits and gradients it is the larger: logits are freed before there are gradients of all weights.
        """
        least = self.least_bytes
        return sum(least.values()) - min(least.get("logits", 0), least.get("gradients", 0))


def cost_of(cell: Cell, *, optimizer: str = "adamw", layout: Layout = ONE_DEVICE) -> Cost | None:
    """Return the cost of one step of `cell`, of attention alone by `attention_flops`; None for a user's own model.

    The matrix products of attention count with the whole square of queries and keys in a model, and with what the mask
    lets through in attention alone. Parameters and FLOPs do not depend on the layout: each device computes a whole step
    with a batch of its own.
    """
    if isinstance(cell.model, AttentionSpec):
        return attention_cost(cell, cell.model)
    if isinstance(cell.model, OwnModel):
        return None  # no formula knows what is inside
    batch_size, context_length = cell.batch_size, cell.context_length
    forward = forward_flops(cell.model, batch_size=batch_size, context_length=context_length)
    backward = backward_flops(cell.model, batch_size=batch_size, context_length=context_length)
    trains = cell.workload != "forward"
    parameters = parameter_count(cell.model)
    precision = PRECISIONS[cell.precision]
    weight_bytes = parameters * DTYPE_BYTES[precision.weights]
    least = {
        "parameters": layout.of_weights(weight_bytes),
        "logits": batch_size * context_length * cell.model.vocab_size * precision.product_bytes,
    }
    if trains:
        least["gradients"] = layout.of_weights(weight_bytes)
    if cell.workload == "train_step":
        least["optimizer"] = OPTIMIZER_STATES[optimizer] * layout.of_update(weight_bytes)
    if layout.has_buckets:
        least["communication"] = weight_bytes
    return Cost(
        parameters=parameters,
        flops={"forward": forward, "backward": backward} if trains else {"forward": forward},
        least_bytes=least,
        recomputed_flops=recomputation_flops(
            cell.model,
            cell.checkpoint,
            batch_size=batch_size,
            context_length=context_length,
            keeps_attention=is_operator(cell.attention),
        ),
    )


def attention_cost(cell: Cell, shape: AttentionSpec) -> Cost:
    """Return the cost of one step of a cell of attention alone with this shape."""
    trains = cell.workload == "attention_forward_backward"
    batch_size, seq_len = cell.batch_size, cell.context_length
    element_bytes = PRECISIONS[cell.precision].product_bytes
    return Cost(
        parameters=0,
        flops=attention_flops(shape, batch_size=batch_size, seq_len=seq_len, trains=trains),
        least_bytes=attention_bytes(
            shape, batch_size=batch_size, seq_len=seq_len, element_bytes=element_bytes, trains=trains
        ),
    )
