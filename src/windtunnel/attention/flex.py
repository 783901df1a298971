"""FlexAttention of torch: a kernel generated for a mask that is given as a function of two positions."""

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from windtunnel.attention.backend import HALF, Attend, Backend, HeadSizes
from windtunnel.attention.own_code import with_own_code


def make_backend() -> Backend:
    """Return FlexAttention with compiled code of its own, compiled for each shape when it is called.

    It needs heads of 16 numbers on CUDA for its products; with more than 256 its tiles overflow shared memory.
    """
    return Backend(
        attend=_make_attend(),
        dtypes={"cpu": (torch.float32, *HALF), "cuda": (torch.float32, *HALF)},
        d_heads={"cuda": HeadSizes(least=16, most=256)},
        forward_only=("cpu",),
        is_compiled=True,
        least_capability=(8, 0),
    )


def _make_attend() -> Attend:
    """Return attention that keeps the block masks it has made.

    A block mask is made in the first call with its mask and lengths, which is never timed. That takes memory of
    queries * keys booleans for a moment.
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
    is_visible = _is_past if window is None else _is_within(window)
    return create_block_mask(is_visible, B=None, H=None, Q_LEN=queries, KV_LEN=keys, device=device)


def _is_past(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    return query >= key


def _is_within(window: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    def is_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return is_visible
