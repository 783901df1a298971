"""Matrix-product FLOPs and unavoidable bytes of attention alone."""

from collections.abc import Mapping

from windtunnel.spec.attention import AttentionSpec, parse_mask

FORWARD_PRODUCTS = 2
"""S = Q·Kᵀ and O = P·V."""
BACKWARD_PRODUCTS = 5
"""S again, dP = dO·Vᵀ, dV = Pᵀ·dO, dQ = dS·K and dK = dSᵀ·Q."""


def attention_flops(shape: AttentionSpec, *, batch_size: int, seq_len: int, trains: bool) -> Mapping[str, int]:
    """Count the FLOPs of the matrix products by phase; a multiply and an add are two.

    A product costs 2·d for each head and each pair of a query and a key that the mask lets through: 4·B·H·S²·d forward
    where it is full, about half of that where it is causal. Backward is 2.5 times forward, also for a backend that
    does not compute S again or computes more twice: rates of backends then compare as their times do.

    Source: Dao 2023 (arXiv:2307.08691), section 4.1.
    """
    pairs = parse_mask(shape.mask).pairs(queries=seq_len, keys=seq_len)
    product = 2 * batch_size * shape.num_heads * pairs * shape.d_head
    forward = {"forward": FORWARD_PRODUCTS * product}
    return forward | {"backward": BACKWARD_PRODUCTS * product} if trains else forward


def attention_bytes(
    shape: AttentionSpec, *, batch_size: int, seq_len: int, element_bytes: int, trains: bool
) -> Mapping[str, int]:
    """Return the bytes that no backend can do without: inputs, O, and for backward dO, gradients, log-sum-exp."""
    of_queries = batch_size * shape.num_heads * seq_len * shape.d_head * element_bytes
    of_keys = batch_size * shape.kv_heads * seq_len * shape.d_head * element_bytes
    forward = {"inputs": of_queries + 2 * of_keys, "output": of_queries}
    if not trains:
        return forward
    return {
        "inputs": 2 * of_queries + 2 * of_keys,  # dO is one
        "output": of_queries,
        "gradients": of_queries + 2 * of_keys,
        "log-sum-exp": 4 * batch_size * shape.num_heads * seq_len,
    }


def score_matrix_bytes(shape: AttentionSpec, *, batch_size: int, seq_len: int, element_bytes: int) -> int:
    """Return the bytes of one queries x keys matrix of all heads: what eager attention holds several of."""
    return batch_size * shape.num_heads * seq_len * seq_len * element_bytes
