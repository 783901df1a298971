"""What attention and its gradients are in float64, and how far from it a result lies."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_SCORES_BYTES = 2**27
"""Rows are taken together until their scores fill this; at the peak there are about five such blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradients:
    """O and the gradients of sum(O * dO)."""

    o: Float[Tensor, "batch heads queries d_head"]
    dq: Float[Tensor, "batch heads queries d_head"]
    dk: Float[Tensor, "batch kv_heads keys d_head"]
    dv: Float[Tensor, "batch kv_heads keys d_head"]


@torch.no_grad()
def reference(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    do: Float[Tensor, "batch heads queries d_head"],
    *,
    is_causal: bool,
    window: int | None = None,
) -> Gradients:
    """Return O, dQ, dK and dV in float64, computed in blocks of whole rows on the device of the inputs.

    Memory grows with queries + keys. For some heads only, pass slices: key heads, and all query heads that share them.
    Each query must see a key.

    Cost: 10 * batch * heads * queries * keys * d_head FLOPs in float64, about half when causal.
    Source: Vaswani et al. 2017 (arXiv:1706.03762), equation 1, and its derivatives.
    """
    kv_heads, num_keys = k.shape[1:3]
    q, k, v, do = (x.double() for x in (q, k, v, do))
    q, do = (x.unflatten(1, (kv_heads, -1)) for x in (q, do))  # [batch, kv_heads, groups, queries, d_head]
    k, v = k[:, :, None], v[:, :, None]
    o, dq, dk, dv = (torch.zeros_like(x) for x in (q, q, k, v))
    num_heads = q.shape[0] * q.shape[1] * q.shape[2]
    block = max(1, _SCORES_BYTES // (8 * num_heads * num_keys))
    scale = q.shape[-1] ** -0.5
    key = torch.arange(num_keys, device=q.device)
    for first in range(0, q.shape[3], block):
        rows = slice(first, min(first + block, q.shape[3]))
        seen = slice(0, min(num_keys, rows.stop) if is_causal else num_keys)
        scores = scale * q[..., rows, :] @ k[..., seen, :].mT
        if is_causal:
            distance = torch.arange(rows.start, rows.stop, device=q.device)[:, None] - key[seen]
            is_visible = distance >= 0 if window is None else (distance >= 0) & (distance < window)
            scores.masked_fill_(~is_visible, float("-inf"))
        P = torch.softmax(scores, dim=-1)
        o[..., rows, :] = P @ v[..., seen, :]
        dP = do[..., rows, :] @ v[..., seen, :].mT
        dS = scale * P * (dP - (P * dP).sum(-1, keepdim=True))
        dq[..., rows, :] = dS @ k[..., seen, :]
        dk[..., seen, :] += (dS.mT @ q[..., rows, :]).sum(2, keepdim=True)
        dv[..., seen, :] += (P.mT @ do[..., rows, :]).sum(2, keepdim=True)
    return Gradients(o=o.flatten(1, 2), dq=dq.flatten(1, 2), dk=dk[:, :, 0], dv=dv[:, :, 0])


def relative_error(x: Float[Tensor, "*shape"], ref: Float[Tensor, "*shape"]) -> float:
    """Return the norm of `x - ref` over the norm of `ref`, both over all elements in float64."""
    ref = ref.double()
    return ((x.double() - ref).norm() / ref.norm()).item()
