"""FLOPs of a step of the reference model: forward, backward, recomputation, optimizer."""

from typing import Literal

from windtunnel.cost.parameters import block_matrix_entries, num_matrices
from windtunnel.spec.attention import parse_mask
from windtunnel.spec.checkpoint import parse_checkpoint
from windtunnel.spec.model import ModelSpec

Pairs = Literal["square", "visible"]
"""Which pairs of a query and a key count: the whole square, or those that the causal mask lets through."""

ADAMW_FLOPS = 16
"""Additions, products, divisions and roots of AdamW for a parameter: 2 decay, 3 and 4 moments, 7 update."""


def forward_flops(model: ModelSpec, *, batch_size: int, context_length: int, pairs: Pairs = "square") -> int:
    """Count the FLOPs of the matrix products of one forward pass; a multiply and an add are two.

    Each weight matrix costs 2 FLOPs an entry and token; scores and weighted sum cost 4·T·d a token and layer.
    The whole T x T square is counted also where the mask is causal: that is what `eager` computes, and it
    keeps rates comparable between backends. `visible` counts the T·(T + 1)/2 pairs that a kernel which skips hidden
    keys must compute. Grouped queries share key heads but no products: only the projections get smaller. Norms,
    rotations, softmax and the embedding look-up are left out.

    Source: the counting of Kaplan et al. 2020 (arXiv:2001.08361), section 2.1, with the attention term kept.
    """
    head = 2 * batch_size * context_length * model.d_model * model.vocab_size
    block = _block_flops(model, batch_size=batch_size, context_length=context_length, pairs=pairs)
    return model.num_layers * block + head


def backward_flops(model: ModelSpec, *, batch_size: int, context_length: int, pairs: Pairs = "square") -> int:
    """Count the FLOPs of backward: twice forward.

    Each product C = A·B has two gradients of its own cost, dA = dC·Bᵀ and dB = Aᵀ·dC. The products with weights and
    both products of attention are all of this kind; the scores that a flash kernel computes once more are not counted.
    """
    return 2 * forward_flops(model, batch_size=batch_size, context_length=context_length, pairs=pairs)


def recomputation_flops(
    model: ModelSpec, checkpoint: str, *, batch_size: int, context_length: int, keeps_attention: bool
) -> int:
    """Count the FLOPs that checkpointing computes a second time.

    `every:N` computes each block again, but the last product of each group, whose result nothing needs: torch stops a
    recomputation where the last tensor is saved. `ffn` computes the first matrices of each feed-forward layer again.
    `selective` keeps the products with weights; scores and weighted sum are computed again, unless attention is an
    operator of its own, which is kept (`keeps_attention`).

    Source: Chen et al. 2016 (arXiv:1604.06174): one more forward; `torch.utils.checkpoint`, early stop.

    Raises:
        ValueError: There is no such checkpoint.
    """
    way = parse_checkpoint(checkpoint)
    matrix = 2 * batch_size * context_length * model.d_model * model.d_ff
    match way.kind:
        case "none":
            return 0
        case "ffn":
            return model.num_layers * (num_matrices(model) - 1) * matrix
        case "selective":
            attended = 4 * batch_size * context_length**2 * model.d_model
            return 0 if keeps_attention else model.num_layers * attended
        case "every":
            groups = -(-model.num_layers // (way.num_blocks or model.num_layers))
            block = _block_flops(model, batch_size=batch_size, context_length=context_length, pairs="square")
            return model.num_layers * block - groups * matrix


def optimizer_flops(parameters: int) -> int:
    """Count the arithmetic of one AdamW update; no matrix product is in it, and its traffic hides it."""
    return ADAMW_FLOPS * parameters


def _block_flops(model: ModelSpec, *, batch_size: int, context_length: int, pairs: Pairs) -> int:
    weights = 2 * batch_size * context_length * block_matrix_entries(model)
    mask = parse_mask("full" if pairs == "square" else "causal")
    attended = mask.pairs(queries=context_length, keys=context_length)
    return weights + 4 * batch_size * attended * model.d_model
