"""FlashAttention-2 as tiles of PyTorch operations: the algorithm for reading and for any device, not for speed."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from windtunnel.attention.autocast import as_autocast
from windtunnel.attention.backend import Backend
from windtunnel.attention.checks import check_inputs
from windtunnel.spec.abilities import ABILITIES

Q_TILE = 256
K_TILE = 256
"""Rows of queries and of keys in one product: enough work for a GPU to hide the launch of each operation."""


class FlashAttention2Eager(torch.autograd.Function):
    """Attention that keeps O and the log-sum-exp L of each row, and computes scores anew in backward.

    Source: Dao 2023 (arXiv:2307.08691), algorithms 1 and 2.
    """

    @classmethod
    def apply(
        cls,
        q: Float[Tensor, "*lead queries d_head"],
        k: Float[Tensor, "*kv_lead keys d_head"],
        v: Float[Tensor, "*kv_lead keys d_head"],
        is_causal: bool = False,
        window: int | None = None,
    ) -> Float[Tensor, "*lead queries d_head"]:
        """Return O in the dtype of `q`.

        From four axes on the third last one counts heads, of which `k` and `v` may have fewer (grouped queries).
        Scores, statistics and sums over tiles are in float32 for half types. Under autocast the inputs are cast to
        its dtype, so that backward finds the scores that forward found.

        Raises:
            SpecError: The inputs do not fit each other, a head is wider than 256, or a query would see no key.
        """
        return super().apply(q, k, v, is_causal, window)  # torch's own takes no keywords

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_causal: bool, window: int | None) -> Tensor:
        """Compute O, and save it with L (natural log, in the shape of `q` without its last axis) for backward."""
        q, k, v = as_autocast(q, k, v)
        check_inputs(q, k, v, is_causal=is_causal, window=window)
        o, L = _forward(_by_key_head(q, k), *_with_heads(k, v), is_causal=is_causal, window=window)
        o, L = o.reshape(q.shape), L.reshape(q.shape[:-1])
        ctx.save_for_backward(q, k, v, o, L)
        ctx.is_causal, ctx.window = is_causal, window
        return o

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dO: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Compute dQ, dK and dV, each tile of scores once."""
        q, k, v, o, L = ctx.saved_tensors
        D = (dO.to(L.dtype) * o.to(L.dtype)).sum(-1)
        by_head = (_by_key_head(tensor, k) for tensor in (q, dO, L[..., None], D[..., None]))
        dq, dk, dv = _backward(*by_head, *_with_heads(k, v), is_causal=ctx.is_causal, window=ctx.window)
        return dq.reshape(q.shape), dk.reshape(k.shape), dv.reshape(v.shape), None, None


def _forward(
    q: Float[Tensor, "*lead kv_heads groups queries d_head"],
    k: Float[Tensor, "*lead kv_heads keys d_head"],
    v: Float[Tensor, "*lead kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None,
) -> tuple[Float[Tensor, "*lead kv_heads groups queries d_head"], Float[Tensor, "*lead kv_heads groups queries 1"]]:
    """Return O and L, query tile by query tile, by a softmax that is corrected as larger scores are found."""
    groups, num_queries = q.shape[-3:-1]
    exact = _statistics_dtype(q.dtype)
    o = torch.empty_like(q, memory_format=torch.contiguous_format)
    L = torch.empty((*q.shape[:-1], 1), dtype=exact, device=q.device)
    for rows in _tiles(0, num_queries, Q_TILE):
        q_tile = _rows(q, rows)  # [*lead, kv_heads, groups * rows, d_head]
        sums = torch.zeros(q_tile.shape, dtype=exact, device=q.device)
        largest = torch.full((*q_tile.shape[:-1], 1), float("-inf"), dtype=exact, device=q.device)
        total = torch.zeros_like(largest)
        for columns in _visible_tiles(rows, k.shape[-2], is_causal=is_causal, window=window):
            scores = _scores(q_tile, k[..., columns, :], rows, columns, groups, is_causal=is_causal, window=window)
            found = torch.maximum(largest, scores.amax(-1, keepdim=True))
            # A row that has seen no key so far has no largest score: -inf - -inf would be NaN.
            shift = found.masked_fill(found.isneginf(), 0.0)
            P = torch.exp(scores - shift)
            correction = torch.exp(largest - shift)
            total = total * correction + P.sum(-1, keepdim=True)
            sums = sums * correction + P.to(v.dtype) @ v[..., columns, :]
            largest = found
        _write_rows(o, rows, (sums / total).to(o.dtype))
        _write_rows(L, rows, largest + total.log())
    return o, L


def _backward(
    q: Float[Tensor, "*lead kv_heads groups queries d_head"],
    dO: Float[Tensor, "*lead kv_heads groups queries d_head"],
    L: Float[Tensor, "*lead kv_heads groups queries 1"],
    D: Float[Tensor, "*lead kv_heads groups queries 1"],
    k: Float[Tensor, "*lead kv_heads keys d_head"],
    v: Float[Tensor, "*lead kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None,
) -> tuple[
    Float[Tensor, "*lead kv_heads groups queries d_head"],
    Float[Tensor, "*lead kv_heads keys d_head"],
    Float[Tensor, "*lead kv_heads keys d_head"],
]:
    """Return dQ, dK and dV; D holds the sums of dO * O over each row."""
    groups, num_queries, d_head = q.shape[-3:]
    scale = d_head**-0.5
    dtype, exact = q.dtype, L.dtype
    dk, dv = (torch.zeros(k.shape, dtype=exact, device=k.device) for _ in range(2))
    dq = torch.empty_like(q, memory_format=torch.contiguous_format)
    for rows in _tiles(0, num_queries, Q_TILE):
        q_tile, dO_tile, L_tile, D_tile = (_rows(tensor, rows) for tensor in (q, dO, L, D))
        dq_tile = torch.zeros(q_tile.shape, dtype=exact, device=q.device)
        for columns in _visible_tiles(rows, k.shape[-2], is_causal=is_causal, window=window):
            k_tile, v_tile = k[..., columns, :], v[..., columns, :]
            scores = _scores(q_tile, k_tile, rows, columns, groups, is_causal=is_causal, window=window)
            P = torch.exp(scores - L_tile)
            dP = (dO_tile @ v_tile.mT).to(exact)
            dS = (P * (dP - D_tile) * scale).to(dtype)
            dv[..., columns, :] += P.to(dtype).mT @ dO_tile
            dk[..., columns, :] += dS.mT @ q_tile
            dq_tile += dS @ k_tile
        _write_rows(dq, rows, dq_tile.to(dtype))
    return dq, dk.to(k.dtype), dv.to(v.dtype)


def _scores(
    q_tile: Float[Tensor, "*lead rows d_head"],
    k_tile: Float[Tensor, "*lead columns d_head"],
    rows: slice,
    columns: slice,
    groups: int,
    *,
    is_causal: bool,
    window: int | None,
) -> Float[Tensor, "*lead rows columns"]:
    """Return the scores of one tile in the dtype of the statistics, -inf where a query does not see a key."""
    scores = (q_tile @ k_tile.mT).to(_statistics_dtype(q_tile.dtype)) * q_tile.shape[-1] ** -0.5
    hidden = _hidden(rows, columns, is_causal=is_causal, window=window, device=q_tile.device)
    return scores if hidden is None else scores.masked_fill_(hidden.repeat(groups, 1), float("-inf"))


def _hidden(
    rows: slice, columns: slice, *, is_causal: bool, window: int | None, device: torch.device
) -> Bool[Tensor, "rows columns"] | None:
    """Return where the queries of a tile do not see its keys, or None where they see all of them."""
    is_past_diagonal = is_causal and columns.stop - 1 > rows.start
    is_before_window = window is not None and columns.start <= rows.stop - 1 - window
    if not (is_past_diagonal or is_before_window):
        return None
    query = torch.arange(rows.start, rows.stop, device=device)[:, None]
    key = torch.arange(columns.start, columns.stop, device=device)
    hidden = key > query
    return hidden if window is None else hidden | (key <= query - window)


def _visible_tiles(rows: slice, num_keys: int, *, is_causal: bool, window: int | None) -> Iterator[slice]:
    """Yield the tiles of keys of which some query in `rows` sees some key."""
    begin = 0 if window is None else max(0, rows.start - window + 1)
    end = min(num_keys, rows.stop) if is_causal else num_keys
    return _tiles(begin, end, K_TILE)


def _tiles(begin: int, end: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` from `begin` to `end`; the last one may be shorter."""
    return (slice(start, min(start + size, end)) for start in range(begin, end, size))


def _by_key_head(
    x: Float[Tensor, "*lead queries width"], k: Float[Tensor, "*kv_lead keys d_head"]
) -> Float[Tensor, "*lead_by_head groups queries width"]:
    """Return `x` with its heads sorted by the key head that they share."""
    if x.ndim == 2:
        return x[None, None]
    return x.unflatten(-3, (k.shape[-3], -1))


def _with_heads(*keys: Float[Tensor, "*kv_lead keys d_head"]) -> Iterator[Float[Tensor, "*lead kv_heads keys d_head"]]:
    return (x[None] if x.ndim == 2 else x for x in keys)


def _rows(x: Float[Tensor, "*lead groups queries width"], rows: slice) -> Float[Tensor, "*lead rows width"]:
    """Return these rows of all heads of a group under one another: one product with their key head takes them all."""
    return x[..., rows, :].flatten(-3, -2)


def _write_rows(
    into: Float[Tensor, "*lead groups queries width"], rows: slice, values: Float[Tensor, "*lead rows width"]
) -> None:
    into[..., rows, :] = values.unflatten(-2, (into.shape[-3], -1))


def _statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def attend(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None = None,
) -> Float[Tensor, "batch heads queries d_head"]:
    """Attend with `FlashAttention2Eager`."""
    return FlashAttention2Eager.apply(q, k, v, is_causal, window)


BACKEND = Backend(attend=attend, abilities=ABILITIES["flash-eager"])
