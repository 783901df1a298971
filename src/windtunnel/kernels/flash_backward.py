"""The backward pass of FlashAttention-2 in two kernels, without atomics: the same bits each time.

Scores are computed twice, once for dQ and once for dK and dV, so it costs 7 products a tile instead of 5. In return
no kernel adds into memory that another one writes.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from windtunnel.kernels.blocks import (
    LOG2E,
    Launch,
    describe_rows,
    head_base,
    is_visible,
    key_ranges,
    load_rows,
    load_tile,
    row_base,
    store_tile,
)
from windtunnel.kernels.tiles import Tile, Tiles, pad_d_head


@triton.jit
def _add_keys_to_dq(
    dq,
    q,
    do,
    lse2,
    delta,
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
    """Add dS · K of keys first … last - 1 to dQ; only edge tiles are masked."""
    queries = tl.arange(0, Q_TILE)
    keys = tl.arange(0, K_TILE)
    for n0 in tl.range(first, last, K_TILE):  # pyright: ignore[reportGeneralTypeIssues]  # only in Triton
        k = load_rows(K, k_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT or not IS_EDGE, DESCRIBED)
        v = load_rows(V, v_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT or not IS_EDGE, DESCRIBED)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        p = tl.exp2(scores * scale2 - lse2[:, None])
        if IS_EDGE:
            visible = is_visible(m0, n0, queries[:, None], keys[None, :], num_keys, window, IS_CAUSAL, KEYS_FIT)
            p = tl.where(visible, p, 0.0)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        ds = (p * (dp - delta[:, None])).to(k.dtype)
        dq = tl.dot(ds, k, dq, input_precision=PRECISION)
    return dq


@triton.jit
def dq_kernel(
    Q,
    K,
    V,
    O,
    L,
    dO,
    dQ,
    LSE2,
    DELTA,
    q_strides,
    k_strides,
    v_strides,
    o_strides,
    do_strides,
    dq_strides,
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
    """Compute Q_TILE rows of dQ of one head, and of the two numbers a row that the other kernel needs."""
    num_tiles = tl.cdiv(num_queries, Q_TILE)
    tile = tl.program_id(0) % num_tiles
    if IS_CAUSAL:
        tile = num_tiles - 1 - tile
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
    o_base = row_base(head_base(O, o_strides, batch, head), o_strides, m0)
    o = load_tile(o_base, o_strides, queries, columns, num_rows, D_HEAD, D_TILE, QUERIES_FIT)
    do_base = row_base(head_base(dO, do_strides, batch, head), do_strides, m0)
    do = load_tile(do_base, do_strides, queries, columns, num_rows, D_HEAD, D_TILE, QUERIES_FIT)
    delta = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    row = (tl.cast(batch, tl.int64) * num_heads + head) * num_queries + m0
    if QUERIES_FIT:
        lse2 = tl.load(L + row + queries) * LOG2E
        tl.store(LSE2 + row + queries, lse2)
        tl.store(DELTA + row + queries, delta)
    else:
        lse2 = tl.load(L + row + queries, mask=queries < num_rows, other=0.0) * LOG2E
        tl.store(LSE2 + row + queries, lse2, mask=queries < num_rows)
        tl.store(DELTA + row + queries, delta, mask=queries < num_rows)
    q_base = row_base(head_base(Q, q_strides, batch, head), q_strides, m0)
    q = load_tile(q_base, q_strides, queries, columns, num_rows, D_HEAD, D_TILE, QUERIES_FIT)
    scale2 = scale * LOG2E
    dq = tl.zeros([Q_TILE, D_TILE], tl.float32)
    first, first_full, last_full, last = key_ranges(m0, num_queries, num_keys, window, Q_TILE, K_TILE, IS_CAUSAL)
    if window is not None:
        dq = _add_keys_to_dq(
            dq, q, do, lse2, delta, K, V, k_strides, v_strides, m0, first, tl.minimum(first_full, last), num_keys,
            window, scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, True, PRECISION, DESCRIBED,
        )  # fmt: skip
    dq = _add_keys_to_dq(
        dq, q, do, lse2, delta, K, V, k_strides, v_strides, m0, first_full, last_full, num_keys,
        window, scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, False, PRECISION, DESCRIBED,
    )  # fmt: skip
    if IS_CAUSAL or not KEYS_FIT:
        dq = _add_keys_to_dq(
            dq, q, do, lse2, delta, K, V, k_strides, v_strides, m0, tl.maximum(first_full, last_full), last, num_keys,
            window, scale2, D_HEAD, D_TILE, Q_TILE, K_TILE, IS_CAUSAL, KEYS_FIT, True, PRECISION, DESCRIBED,
        )  # fmt: skip
    dq_base = row_base(head_base(dQ, dq_strides, batch, head), dq_strides, m0)
    store_tile(dq_base, dq_strides, dq * scale, queries, columns, num_rows, D_HEAD, D_TILE, QUERIES_FIT)


@triton.jit
def dkdv_kernel(
    Q,
    K,
    V,
    dO,
    dK,
    dV,
    LSE2,
    DELTA,
    q_strides,
    k_strides,
    v_strides,
    do_strides,
    dk_strides,
    dv_strides,
    num_kv_heads,
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
    """Compute K_TILE rows of dK and dV of one key head, over all query heads of its group.

    Scores are transposed, [keys, queries], so that P and dS are operands of the products as they are. There is one
    loop, with a branch for edge tiles: with a loop of their own ptxas puts every wgmma in series (C7515).
    """
    num_tiles = tl.cdiv(num_keys, K_TILE)
    tile = tl.program_id(0) % num_tiles  # the first has most queries where causal, so this is longest first
    kv_head = tl.program_id(0) // num_tiles % num_kv_heads
    batch = tl.program_id(0) // num_tiles // num_kv_heads
    n0 = tile * K_TILE
    queries = tl.arange(0, Q_TILE)
    keys = tl.arange(0, K_TILE)
    columns = tl.arange(0, D_TILE)
    num_rows = num_keys - n0
    K = head_base(K, k_strides, batch, kv_head)
    K = describe_rows(K, k_strides, num_keys, D_HEAD, D_TILE, K_TILE, DESCRIBED)
    k = load_rows(K, k_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT, DESCRIBED)
    V = head_base(V, v_strides, batch, kv_head)
    V = describe_rows(V, v_strides, num_keys, D_HEAD, D_TILE, K_TILE, DESCRIBED)
    v = load_rows(V, v_strides, n0, num_keys, D_HEAD, D_TILE, K_TILE, KEYS_FIT, DESCRIBED)
    scale2 = scale * LOG2E
    dk = tl.zeros([K_TILE, D_TILE], tl.float32)
    dv = tl.zeros([K_TILE, D_TILE], tl.float32)
    first = 0
    last = num_queries
    if IS_CAUSAL:
        first = n0 // Q_TILE * Q_TILE
        if window is not None:
            last = tl.minimum(num_queries, n0 + K_TILE - 1 + window)
    for member in range(group_size):
        head = kv_head * group_size + member
        row = (tl.cast(batch, tl.int64) * (num_kv_heads * group_size) + head) * num_queries
        q_head = head_base(Q, q_strides, batch, head)
        q_head = describe_rows(q_head, q_strides, num_queries, D_HEAD, D_TILE, Q_TILE, DESCRIBED)
        do_head = head_base(dO, do_strides, batch, head)
        do_head = describe_rows(do_head, do_strides, num_queries, D_HEAD, D_TILE, Q_TILE, DESCRIBED)
        for m0 in tl.range(first, last, Q_TILE):  # pyright: ignore[reportGeneralTypeIssues]  # only in Triton
            left = num_queries - m0
            q = load_rows(q_head, q_strides, m0, num_queries, D_HEAD, D_TILE, Q_TILE, QUERIES_FIT, DESCRIBED)
            do = load_rows(do_head, do_strides, m0, num_queries, D_HEAD, D_TILE, Q_TILE, QUERIES_FIT, DESCRIBED)
            if QUERIES_FIT:
                lse2 = tl.load(LSE2 + row + m0 + queries)
                delta = tl.load(DELTA + row + m0 + queries)
            else:
                # +inf makes P zero after the last query.
                lse2 = tl.load(LSE2 + row + m0 + queries, mask=queries < left, other=float("inf"))
                delta = tl.load(DELTA + row + m0 + queries, mask=queries < left, other=0.0)
            scores = tl.dot(k, tl.trans(q), input_precision=PRECISION)  # [keys, queries]
            p = tl.exp2(scores * scale2 - lse2[None, :])
            if IS_CAUSAL:
                # In float32 the branch costs hundreds of spilled registers, the mask next to nothing.
                is_edge = (m0 < n0 + K_TILE - 1) | (Q.dtype.element_ty == tl.float32)
                if window is not None:
                    is_edge = is_edge | (m0 + Q_TILE > n0 + window)
                if is_edge:
                    visible = is_visible(m0, n0, queries[None, :], keys[:, None], num_keys, window, True, True)
                    p = tl.where(visible, p, 0.0)
            dv = tl.dot(p.to(do.dtype), do, dv, input_precision=PRECISION)
            dp = tl.dot(v, tl.trans(do), input_precision=PRECISION)
            ds = (p * (dp - delta[None, :])).to(q.dtype)
            dk = tl.dot(ds, q, dk, input_precision=PRECISION)
    dk_base = row_base(head_base(dK, dk_strides, batch, kv_head), dk_strides, n0)
    store_tile(dk_base, dk_strides, dk * scale, keys, columns, num_rows, D_HEAD, D_TILE, KEYS_FIT)
    dv_base = row_base(head_base(dV, dv_strides, batch, kv_head), dv_strides, n0)
    store_tile(dv_base, dv_strides, dv, keys, columns, num_rows, D_HEAD, D_TILE, KEYS_FIT)


def _constants(q: Tensor, k: Tensor, tile: Tile, *, is_causal: bool) -> dict[str, object]:
    return {
        "D_HEAD": q.shape[-1],
        "D_TILE": pad_d_head(q.shape[-1]),
        "Q_TILE": tile.q_tile,
        "K_TILE": tile.k_tile,
        "IS_CAUSAL": is_causal,
        "QUERIES_FIT": q.shape[2] % tile.q_tile == 0,
        "KEYS_FIT": k.shape[2] % tile.k_tile == 0,
        "PRECISION": tile.precision,
        "DESCRIBED": tile.is_described,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }


def dq_launch(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    O: Float[Tensor, "batch heads queries d_head"],  # as in the paper
    L: Float[Tensor, "batch heads queries"],
    dO: Float[Tensor, "batch heads queries d_head"],
    dQ: Float[Tensor, "batch heads queries d_head"],
    rows: Float[Tensor, "2 batch heads queries"],
    *,
    is_causal: bool,
    window: int | None,
    tile: Tile,
) -> Launch:
    """Return the launch that fills `dQ`, and `rows` with L to base 2 and rowsum(O * dO)."""
    batch_size, num_heads, num_queries, d_head = q.shape
    return Launch(
        kernel=dq_kernel,
        grid=(-(-num_queries // tile.q_tile) * batch_size * num_heads,),
        arguments=(
            q, k, v, O, L, dO, dQ, rows[0], rows[1],
            q.stride(), k.stride(), v.stride(), O.stride(), dO.stride(), dQ.stride(),
            num_heads, num_heads // k.shape[1], num_queries, k.shape[2], window, d_head**-0.5,
        ),
        constants=_constants(q, k, tile, is_causal=is_causal),
    )  # fmt: skip


def dkdv_launch(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    dO: Float[Tensor, "batch heads queries d_head"],
    dK: Float[Tensor, "batch kv_heads keys d_head"],
    dV: Float[Tensor, "batch kv_heads keys d_head"],
    rows: Float[Tensor, "2 batch heads queries"],
    *,
    is_causal: bool,
    window: int | None,
    tile: Tile,
) -> Launch:
    """Return the launch that fills `dK` and `dV`, after the one of `dq_launch` has filled `rows`."""
    batch_size, num_kv_heads, num_keys, d_head = k.shape
    return Launch(
        kernel=dkdv_kernel,
        grid=(-(-num_keys // tile.k_tile) * batch_size * num_kv_heads,),
        arguments=(
            q, k, v, dO, dK, dV, rows[0], rows[1],
            q.stride(), k.stride(), v.stride(), dO.stride(), dK.stride(), dV.stride(),
            num_kv_heads, q.shape[1] // num_kv_heads, q.shape[2], num_keys, window, d_head**-0.5,
        ),
        constants=_constants(q, k, tile, is_causal=is_causal),
    )  # fmt: skip


def flash_backward(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    O: Float[Tensor, "batch heads queries d_head"],  # as in the paper
    L: Float[Tensor, "batch heads queries"],
    dO: Float[Tensor, "batch heads queries d_head"],
    *,
    is_causal: bool,
    window: int | None,
    tiles: Tiles,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV in dtype and layout of their inputs, from what `flash_forward` returned.

    Statistics and sums are float32; P and dS are rounded to the dtype of the inputs for their products.

    Cost: 14 * batch * heads * queries * keys * d_head FLOPs (10 would do without the second look at the scores),
    about half of it when causal; 8 bytes a row beside the gradients.
    Source: Dao 2023 (arXiv:2307.08691), algorithm 2, its loop over both kinds of tiles taken apart.
    """
    dQ, dK, dV = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    rows = torch.empty((2, *L.shape), dtype=torch.float32, device=q.device)
    dq_launch(q, k, v, O, L, dO, dQ, rows, is_causal=is_causal, window=window, tile=tiles.dq).run()
    dkdv_launch(q, k, v, dO, dK, dV, rows, is_causal=is_causal, window=window, tile=tiles.dkdv).run()
    return dQ, dK, dV
