"""Parameters, matrix-product FLOPs and resident bytes of one step of the reference model."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost.attention import attention_bytes, attention_flops
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

ADAMW_STATES = 2
"""AdamW keeps a first and a second moment for each parameter, in the dtype of the parameter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one step must do and hold, whatever machine runs it.

    `flops` counts the matrix products of each phase; a phase without any (loss, optimizer) is not in it.
    `resident_bytes` names what stays on the device during the whole step; activations come on top.
    """

    parameters: int
    flops: Mapping[str, int]
    resident_bytes: Mapping[str, int]

    @property
    def step_flops(self) -> int:
        """FLOPs of the whole step."""
        return sum(self.flops.values())

    @property
    def floor_bytes(self) -> int:
        """The least memory that the step needs: all that is resident, without any activation."""
        return sum(self.resident_bytes.values())


def parameter_count(model: ModelSpec) -> int:
    """Count the parameters: embedding and head V·d each, a block 2d² + 2d·d_kv + n·d·d_ff + 2d, a last norm d.

    d_kv is the width of all key heads together: d_model, or less with grouped queries. n is 3 with SwiGLU, else 2. A
    head that shares the weights of the embedding has none of its own.
    """
    d, d_kv = model.d_model, model.kv_heads * model.d_head
    block = 2 * d * d + 2 * d * d_kv + model.num_ff_matrices * d * model.d_ff + 2 * d
    return (1 if model.is_tied else 2) * model.vocab_size * d + model.num_layers * block + d


def forward_flops(model: ModelSpec, *, batch_size: int, context_length: int) -> int:
    """Count the FLOPs of the matrix products of one forward pass; a multiply and an add are two.

    Each weight matrix costs 2 FLOPs an entry and token; scores and weighted sum cost 4·T·d a token and layer.
    The whole T x T square is counted also where the mask is causal: that is what `eager` computes, and it
    keeps rates comparable between backends. Norms, rotations, softmax and the embedding look-up are left out.

    Source: the counting of Kaplan et al. 2020 (arXiv:2001.08361), section 2.1, with the attention term kept.
    """
    d, d_kv, tokens = model.d_model, model.kv_heads * model.d_head, batch_size * context_length
    block = 2 * d * d + 2 * d * d_kv + model.num_ff_matrices * d * model.d_ff
    weights = model.num_layers * block + d * model.vocab_size
    attention = 4 * context_length * d * model.num_layers
    return tokens * (2 * weights + attention)


def cost_of(cell: Cell) -> Cost | None:
    """Return the cost of one step of `cell`, of attention alone by `attention_flops`; None for a user's own model.

    Backward of a model is twice forward: each product C = A·B has two gradients of its cost, dA = dC·Bᵀ and dB = Aᵀ·dC.
    """
    if isinstance(cell.model, AttentionSpec):
        return attention_cost(cell, cell.model)
    if isinstance(cell.model, OwnModel):
        return None  # no formula knows what is inside
    forward = forward_flops(cell.model, batch_size=cell.batch_size, context_length=cell.context_length)
    trains = cell.workload != "forward"
    parameters = parameter_count(cell.model)
    precision = PRECISIONS[cell.precision]
    weight_bytes = parameters * DTYPE_BYTES[precision.weights]
    logit_bytes = precision.product_bytes
    resident = {
        "parameters": weight_bytes,
        "logits": cell.batch_size * cell.context_length * cell.model.vocab_size * logit_bytes,
    }
    if trains:
        resident["gradients"] = weight_bytes
    if cell.workload == "train_step":
        resident["optimizer"] = ADAMW_STATES * weight_bytes
    return Cost(
        parameters=parameters,
        flops={"forward": forward, "backward": 2 * forward} if trains else {"forward": forward},
        resident_bytes=resident,
    )


def attention_cost(cell: Cell, shape: AttentionSpec) -> Cost:
    """Return the cost of one step of a cell of attention alone with this shape."""
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
