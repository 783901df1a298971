"""Parameters, matrix-product FLOPs and resident bytes of one step of the reference model."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost.attending import is_operator
from windtunnel.cost.attention import attention_bytes, attention_flops
from windtunnel.cost.flops import backward_flops, forward_flops, recomputation_flops
from windtunnel.cost.parameters import parameter_count
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

ADAMW_STATES = 2
"""AdamW keeps a first and a second moment for each parameter, in the dtype of the parameter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one step must do and hold, whatever machine runs it.

    `flops` counts the matrix products of each phase; a phase without any (loss, optimizer) is not in it. What
    checkpointing computes again in backward is not in it either but in `recomputed_flops`: it is no progress, and rates
    that are compared with a peak leave it out.
    `resident_bytes` names what stays on the device during the whole step; activations come on top.
    """

    parameters: int
    flops: Mapping[str, int]
    resident_bytes: Mapping[str, int]
    recomputed_flops: int = 0

    @property
    def step_flops(self) -> int:
        """FLOPs of the whole step."""
        return sum(self.flops.values())

    @property
    def floor_bytes(self) -> int:
        """The least memory that the step needs: all that is resident, without any activation."""
        return sum(self.resident_bytes.values())


def cost_of(cell: Cell) -> Cost:
    """Return the cost of one step of `cell`, of attention alone by `attention_flops`.

    The matrix products of attention count with the whole square of queries and keys in a model, and with what the mask
    lets through in attention alone.
    """
    if isinstance(cell.model, AttentionSpec):
        return _attention_cost(cell, cell.model)
    batch_size, context_length = cell.batch_size, cell.context_length
    forward = forward_flops(cell.model, batch_size=batch_size, context_length=context_length)
    backward = backward_flops(cell.model, batch_size=batch_size, context_length=context_length)
    trains = cell.workload != "forward"
    parameters = parameter_count(cell.model)
    precision = PRECISIONS[cell.precision]
    weight_bytes = parameters * DTYPE_BYTES[precision.weights]
    resident = {
        "parameters": weight_bytes,
        "logits": batch_size * context_length * cell.model.vocab_size * precision.product_bytes,
    }
    if trains:
        resident["gradients"] = weight_bytes
    if cell.workload == "train_step":
        resident["optimizer"] = ADAMW_STATES * weight_bytes
    return Cost(
        parameters=parameters,
        flops={"forward": forward, "backward": backward} if trains else {"forward": forward},
        resident_bytes=resident,
        recomputed_flops=recomputation_flops(
            cell.model,
            cell.checkpoint,
            batch_size=batch_size,
            context_length=context_length,
            keeps_attention=is_operator(cell.attention),
        ),
    )


def _attention_cost(cell: Cell, shape: AttentionSpec) -> Cost:
    trains = cell.workload == "attention_forward_backward"
    batch_size, seq_len = cell.batch_size, cell.context_length
    element_bytes = PRECISIONS[cell.precision].product_bytes
    return Cost(
        parameters=0,
        flops=attention_flops(shape, batch_size=batch_size, seq_len=seq_len, trains=trains),
        resident_bytes=attention_bytes(
            shape, batch_size=batch_size, seq_len=seq_len, element_bytes=element_bytes, trains=trains
        ),
    )
