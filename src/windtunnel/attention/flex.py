"""FlexAttention of torch: a kernel generated for a mask that is given as a function of two positions."""

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from windtunnel.attention.backend import Attend, Backend
from windtunnel.attention.own_code import with_own_code
from windtunnel.spec.abilities import ABILITIES

BLOCK = 128
"""Queries and keys of a block: torch's own default for masks."""


def make_backend() -> Backend:
    """Return FlexAttention with compiled code of its own, compiled for each shape when it is called."""
    return Backend(attend=_make_attend(), abilities=ABILITIES["flex"])


def _make_attend() -> Attend:
    """Return attention that keeps the block masks it has made.

    A block mask is made in the first call with its mask and lengths, which is never timed.
    """
    compiled = torch.compile(with_own_code(_attend_blocks), dynamic=False, fullgraph=True)
    block_mask = cache(_block_mask)

    def attend(
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
        window: int | None = None,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Attend with the compiled kernel; blocks that no query sees are skipped."""
        blocks = block_mask(q.shape[2], k.shape[2], window, q.device) if is_causal else None
        return compiled(q, k, v, blocks)

    return attend


def _attend_blocks(q: Tensor, k: Tensor, v: Tensor, blocks: BlockMask | None) -> Tensor:
    o = flex_attention(q, k, v, block_mask=blocks, enable_gqa=k.shape[1] != q.shape[1])
    assert isinstance(o, Tensor)
    return o


def _block_mask(queries: int, keys: int, window: int | None, device: torch.device) -> BlockMask:
    """Return the causal mask by blocks, from the distances at their corners.

    torch's `create_block_mask` looks at each query and key instead: queries * keys booleans and more, 17 GB and more
    for 131,072.
    """
    first_query, first_key = (torch.arange(0, length, BLOCK, device=device) for length in (queries, keys))
    last_query, last_key = (first_query + BLOCK - 1)[:, None], first_key + BLOCK - 1
    furthest, nearest = last_query - first_key, first_query[:, None] - last_key  # [query blocks, key blocks]
    reach = max(queries, keys) if window is None else window
    is_whole = (nearest >= 0) & (furthest < reach) & (last_query < queries) & (last_key < keys)
    nearest_there = first_query[:, None] - last_key.clamp(max=keys - 1)
    is_seen = (last_query.clamp(max=queries - 1) >= first_key) & (nearest_there < reach)
    return BlockMask.from_kv_blocks(
        *_in_order(is_seen & ~is_whole),
        *_in_order(is_whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=_is_past if window is None else _is_within(window),
        seq_lengths=(queries, keys),
    )


def _in_order(blocks: Bool[Tensor, "query_blocks key_blocks"]) -> tuple[Tensor, Tensor]:
    """Return for each row how many blocks there are, and all indices with these first; for every head of the batch."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], order.int()[None, None]


def _is_past(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return query >= key


def _is_within(window: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    def is_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return is_visible
