"""The forward pass of FlashAttention-2 (Dao 2023, arXiv:2307.08691, algorithm 1)."""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from windtunnel.kernels.blocks import (
    LN2,
    LOG2E,
    Launch,
    describe_rows,
    head_base,
    is_visible,
    key_ranges,
    load_rows,
    row_base,
    store_tile,
)
from windtunnel.kernels.tiles import Tile, pad_d_head


@triton.jit
def _attend_to_keys(
    acc,
    m,
    total,
    q,
    K,
    V,
    k_strides,
    v_strides,
    m0,
    first,
    last,
    num_keys,
    window,
    scale2,
    D_HEAD: tl.constexpr,
    D_TILE: tl.constexpr,
    Q_TILE: tl.constexpr,
    K_TILE: tl.constexpr,
    IS_CAUSAL: tl.constexpr,
    KEYS_FIT: tl.constexpr,
    IS_EDGE: tl.constexpr,
    PRECISION: tl.constexpr,
    DESCRIBED: tl.constexpr,
):
    """Go on with the online softmax over keys first … last - 1; only edge tiles are masked."""
    queries = tl.arange(0, Q_TILE)
    keys = tl.arange(0, K_TILE)
    for n0 in tl.range(first, last, K_TILE):  # pyright: ignore[reportGeneralTypeIssues]  # only in Triton
        k = load_rows(K, k_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT or not IS_EDGE, DESCRIBED)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        if IS_EDGE:
            visible = is_visible(m0, n0, queries[:, None], keys[None, :], num_keys, window, IS_CAUSAL, KEYS_FIT)
            scores = tl.where(visible, scores, float("-inf"))
        # Maxima are kept scaled. Were `m * scale2` subtracted from what it was rounded to, in one instruction, alpha
        # would not be 1 where the maximum stays, and the first of 512 tiles would weigh up to 1e-4 more than the last.
        m_new = tl.maximum(m, tl.max(scores, 1) * scale2)
        # In a window a row may see none of the first tiles: -inf less -inf would be NaN.
        m_shift = tl.where(m_new == float("-inf"), 0.0, m_new) if IS_EDGE and window is not None else m_new
        p = tl.exp2(scores * scale2 - m_shift[:, None])
        alpha = tl.exp2(m - m_shift)
        total = total * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None]
        v = load_rows(V, v_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT or not IS_EDGE, DESCRIBED)
        acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
        m = m_new
    return acc, m, total


@triton.jit
def forward_kernel(
    Q,
    K,
    V,
    O,
    L,
    q_strides,
    k_strides,
    v_strides,
    o_strides,
    num_heads,
    group_size,
    num_queries,
    num_keys,
    window,
    scale,
    D_HEAD: tl.constexpr,
    D_TILE: tl.constexpr,
    Q_TILE: tl.constexpr,
    K_TILE: tl.constexpr,
    IS_CAUSAL: tl.constexpr,
    QUERIES_FIT: tl.constexpr,
    KEYS_FIT: tl.constexpr,
    PRECISION: tl.constexpr,
    DESCRIBED: tl.constexpr,
):
    """Compute Q_TILE rows of O and L of one head."""
    num_tiles = tl.cdiv(num_queries, Q_TILE)
    tile = tl.program_id(0) % num_tiles
    if IS_CAUSAL:
        tile = num_tiles - 1 - tile  # longest first, or the last to start would finish alone
    head = tl.program_id(0) // num_tiles % num_heads
    batch = tl.program_id(0) // num_tiles // num_heads
    m0 = tile * Q_TILE
    queries = tl.arange(0, Q_TILE)
    columns = tl.arange(0, D_TILE)
    num_rows = num_queries - m0
    K = head_base(K, k_strides, batch, head // group_size)
    K = describe_rows(K, k_strides, num_keys, D_HEAD, D_TILE, K_TILE, DESCRIBED)
    V = head_base(V, v_strides, batch, head // group_size)
    V = describe_rows(V, v_strides, num_keys, D_HEAD, D_TILE, K_TILE, DESCRIBED)
    Q = head_base(Q, q_strides, batch, head)
    Q = describe_rows(Q, q_strides, num_queries, D_HEAD, D_TILE, Q_TILE, DESCRIBED)
    q = load_rows(Q, q_strides, m0, num_queries, D_HEAD, D_TILE, Q_TILE, QUERIES_FIT, DESCRIBED)
    scale2 = scale * LOG2E  # exponentials to base 2 cost one instruction
    acc = tl.zeros([Q_TILE, D_TILE], tl.float32)
    m = tl.full([Q_TILE], float("-inf"), tl.float32)  # the row's largest score, to base 2
    total = tl.zeros([Q_TILE], tl.float32)
    first, first_full, last_full, last = key_ranges(m0, num_queries, num_keys, window, Q_TILE, K_TILE, IS_CAUSAL)
    if window is not None:
        acc, m, total = _attend_to_keys(
            acc, m, total, q, K, V, k_strides, v_strides, m0, first, tl.minimum(first_full, last), num_keys, window,
            scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, True, PRECISION, DESCRIBED,
        )  # fmt: skip
    acc, m, total = _attend_to_keys(
        acc, m, total, q, K, V, k_strides, v_strides, m0, first_full, last_full, num_keys, window,
        scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, False, PRECISION, DESCRIBED,
    )  # fmt: skip
    if IS_CAUSAL or not KEYS_FIT:
        acc, m, total = _attend_to_keys(
            acc, m, total, q, K, V, k_strides, v_strides, m0, tl.maximum(first_full, last_full), last, num_keys, window,
            scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, True, PRECISION, DESCRIBED,
        )  # fmt: skip
    o_base = row_base(head_base(O, o_strides, batch, head), o_strides, m0)
    store_tile(o_base, o_strides, acc / total[:, None], queries, columns, num_rows, D_HEAD, D_TILE, QUERIES_FIT)
    lse = (m + tl.log2(total)) * LN2
    L += (tl.cast(batch, tl.int64) * num_heads + head) * num_queries + m0
    if QUERIES_FIT:
        tl.store(L + queries, lse)
    else:
        tl.store(L + queries, lse, mask=queries < num_rows)


def forward_launch(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    O: Float[Tensor, "batch heads queries d_head"],  # as in the paper
    L: Float[Tensor, "batch heads queries"],
    *,
    is_causal: bool,
    window: int | None,
    tile: Tile,
) -> Launch:
    """Return the launch that fills `O` and `L`; inputs of any strides, `L` contiguous."""
    batch_size, num_heads, num_queries, d_head = q.shape
    num_keys = k.shape[2]
    return Launch(
        kernel=forward_kernel,
        grid=(-(-num_queries // tile.q_tile) * batch_size * num_heads,),
        arguments=(
            q, k, v, O, L, q.stride(), k.stride(), v.stride(), O.stride(),
            num_heads, num_heads // k.shape[1], num_queries, num_keys, window, d_head**-0.5,
        ),
        constants={
            "D_HEAD": d_head,
            "D_TILE": pad_d_head(d_head),
            "Q_TILE": tile.q_tile,
            "K_TILE": tile.k_tile,
            "IS_CAUSAL": is_causal,
            "QUERIES_FIT": num_queries % tile.q_tile == 0,
            "KEYS_FIT": num_keys % tile.k_tile == 0,
            "PRECISION": tile.precision,
            "DESCRIBED": tile.is_described,
            "num_warps": tile.num_warps,
            "num_stages": tile.num_stages,
        },
    )  # fmt: skip


def flash_forward(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None,
    tile: Tile,
) -> tuple[Float[Tensor, "batch heads queries d_head"], Float[Tensor, "batch heads queries"]]:
    """Attend, and keep only what backward needs: O, and L, the log-sum-exp of each row.

    Scores, statistics and sums are float32; P is rounded to the dtype of `v` for its product. With `is_causal`,
    query i sees keys 0 … i, and with a window only the last `window` of them.

    Returns:
        O in dtype and layout of `q`, and L in float32, natural logarithm.

    Cost: 4 * batch * heads * queries * keys * d_head FLOPs, about half of it when causal.
    Source: Dao 2023 (arXiv:2307.08691), algorithm 1.
    """
    O = torch.empty_like(q)
    L = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    forward_launch(q, k, v, O, L, is_causal=is_causal, window=window, tile=tile).run()
    return O, L
