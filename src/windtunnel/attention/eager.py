"""Attention that materialises its scores: the baseline that every published table starts from."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from windtunnel.attention.backend import Backend
from windtunnel.spec.abilities import ABILITIES


def attend(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None = None,
) -> Float[Tensor, "batch heads queries d_head"]:
    """Attend with one product, one softmax, one product; keeps P for backward.

    Grouped key heads are repeated, so they cost as much as full ones.

    Cost: 4 * batch * heads * queries * keys * d_head FLOPs, causal or not.
    Source: Vaswani et al. 2017 (arXiv:1706.03762), equation 1.
    """
    if k.shape[1] != q.shape[1]:
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    # Scaling Q instead of the scores saves a pass over queries * keys elements.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [batch, heads, queries, keys]
    if is_causal:
        # In place: the product's gradient does not need it.
        scores = scores.masked_fill_(hidden_keys(*scores.shape[-2:], window=window, device=q.device), float("-inf"))
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def hidden_keys(queries: int, keys: int, *, window: int | None, device: torch.device) -> Bool[Tensor, "queries keys"]:
    """Return where a query does not see a key: after it, and before the last `window` up to it."""
    future = torch.ones(queries, keys, dtype=torch.bool, device=device).triu_(1)
    return future if window is None else future.logical_or_(torch.ones_like(future).tril_(-window))


BACKEND = Backend(attend=attend, abilities=ABILITIES["eager"])
