"""What all flash kernels do with a tile: load it, store it, say which of its scores count; and how one is launched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs

from windtunnel.errors import UnsupportedError
from windtunnel.spec.attention import MAX_D_HEAD

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)

IS_INTERPRETED = knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on CPU tensors (TRITON_INTERPRET=1 when triton was imported)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A kernel with all that one launch of it takes."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[object, ...]
    constants: Mapping[str, object]

    def run(self) -> None:
        """Launch on the current stream; the first time, compile before.

        A kernel that makes descriptors keeps them in memory that Triton asks its allocator for. It has none until one
        is set, in each thread anew, and backward runs in a thread of its own.
        """
        if self.constants.get("DESCRIBED"):
            triton.set_allocator(_allocate)
        self.kernel[self.grid](*self.arguments, **self.constants)

    def compile(self) -> Any:  # Triton's CompiledKernel has no public type
        """Compile for the current target without a launch, and return Triton's compiled kernel."""
        return self.kernel.warmup(*self.arguments, grid=self.grid, **self.constants)


def _allocate(size: int, alignment: int, stream: int | None) -> Tensor:
    """Return memory of torch's allocator, whose blocks are aligned to 512 bytes, on the current device."""
    return torch.empty(size, dtype=torch.int8, device="cuda")


def can_describe(*tensors: Tensor) -> bool:
    """Whether Hopper's copy engine reads tiles of these tensors: numbers side by side, rows and heads 16 bytes aligned.

    It checks all edges itself and needs no registers for addresses. Other layouts are read through pointers.
    """
    return all(
        tensor.stride(-1) == 1
        and tensor.stride(-2) > 0
        and tensor.data_ptr() % 16 == 0
        and all(stride * tensor.element_size() % 16 == 0 for stride in tensor.stride()[:-1])
        for tensor in tensors
    )


def check_strides(**tensors: Tensor) -> None:
    """Refuse layouts in which an offset inside one tile passes 32 bits.

    Raises:
        UnsupportedError: Two neighbouring rows or columns lie too far apart.
    """
    for name, tensor in tensors.items():
        if (tensor.stride(-2) + tensor.stride(-1)) * MAX_D_HEAD >= 2**31:
            raise UnsupportedError(
                f"{name} has strides {tensor.stride()}; rows and columns may lie at most {2**31 // MAX_D_HEAD} "
                f"elements apart: call {name}.contiguous() first"
            )


@triton.jit
def load_tile(
    base, strides, rows, columns, num_rows, D_HEAD: tl.constexpr, D_TILE: tl.constexpr, ROWS_FIT: tl.constexpr
):
    """Load [rows, columns] from `base` on; zeros from row `num_rows` and from column `D_HEAD` on."""
    pointers = base + rows[:, None] * strides[2] + columns[None, :] * strides[3]
    if ROWS_FIT and D_HEAD == D_TILE:
        tile = tl.load(pointers)
    elif ROWS_FIT:
        tile = tl.load(pointers, mask=columns[None, :] < D_HEAD, other=0.0)
    elif D_HEAD == D_TILE:
        tile = tl.load(pointers, mask=rows[:, None] < num_rows, other=0.0)
    else:
        tile = tl.load(pointers, mask=(rows[:, None] < num_rows) & (columns[None, :] < D_HEAD), other=0.0)
    return tile


@triton.jit
def store_tile(
    base, strides, tile, rows, columns, num_rows, D_HEAD: tl.constexpr, D_TILE: tl.constexpr, ROWS_FIT: tl.constexpr
):
    """Store what `load_tile` would load, in the dtype of `base`."""
    pointers = base + rows[:, None] * strides[2] + columns[None, :] * strides[3]
    tile = tile.to(base.dtype.element_ty)
    if ROWS_FIT and D_HEAD == D_TILE:
        tl.store(pointers, tile)
    elif ROWS_FIT:
        tl.store(pointers, tile, mask=columns[None, :] < D_HEAD)
    elif D_HEAD == D_TILE:
        tl.store(pointers, tile, mask=rows[:, None] < num_rows)
    else:
        tl.store(pointers, tile, mask=(rows[:, None] < num_rows) & (columns[None, :] < D_HEAD))


@triton.jit
def head_base(pointer, strides, batch, head):
    """Return where a head begins, in 64 bits."""
    return pointer + tl.cast(batch, tl.int64) * strides[0] + tl.cast(head, tl.int64) * strides[1]


@triton.jit
def row_base(base, strides, row):
    """Return where a row of a head begins, in 64 bits: a long sequence passes 2**31 elements."""
    return base + tl.cast(row, tl.int64) * strides[2]


@triton.jit
def describe_rows(
    base, strides, num_rows, D_HEAD: tl.constexpr, D_TILE: tl.constexpr, ROWS: tl.constexpr, DESCRIBED: tl.constexpr
):
    """Return what `load_rows` loads tiles of ROWS rows from: a descriptor of a head, or its address."""
    return (
        tl.make_tensor_descriptor(
            base,
            [num_rows, D_HEAD],  # pyright: ignore[reportArgumentType]  # numbers become tensors only in Triton
            [strides[2], 1],  # pyright: ignore[reportArgumentType]  # these too
            [ROWS, D_TILE],
        )
        if DESCRIBED
        else base
    )


@triton.jit
def load_rows(
    source,
    strides,
    first,
    num_rows,
    D_HEAD: tl.constexpr,
    D_TILE: tl.constexpr,
    ROWS: tl.constexpr,
    ROWS_FIT: tl.constexpr,
    DESCRIBED: tl.constexpr,
):
    """Load rows first … first + ROWS - 1 of a head; zeros from row `num_rows` and from column D_HEAD on."""
    if DESCRIBED:
        tile = source.load([first, 0])
    else:
        base = row_base(source, strides, first)
        tile = load_tile(
            base, strides, tl.arange(0, ROWS), tl.arange(0, D_TILE), num_rows - first, D_HEAD, D_TILE, ROWS_FIT
        )
    return tile


@triton.jit
def key_ranges(m0, num_queries, num_keys, window, Q_TILE: tl.constexpr, K_TILE: tl.constexpr, IS_CAUSAL: tl.constexpr):
    """Return the first key, the first and last of the tiles that all queries see whole, and the last key.

    The queries are m0 … m0 + Q_TILE - 1. All but the last are multiples of K_TILE; masks are needed only outside
    [first_full, last_full).
    """
    first = 0
    first_full = 0
    last = num_keys
    last_full = num_keys // K_TILE * K_TILE
    if IS_CAUSAL:
        last = tl.minimum(num_keys, tl.minimum(num_queries, m0 + Q_TILE))
        last_full = tl.minimum(num_keys, m0 + 1) // K_TILE * K_TILE
    if window is not None:
        first = tl.maximum(0, m0 - window + 1) // K_TILE * K_TILE
        first_full = tl.cdiv(tl.maximum(0, m0 + Q_TILE - window), K_TILE) * K_TILE
    return first, first_full, last_full, last


@triton.jit
def is_visible(m0, n0, queries, keys, num_keys, window, IS_CAUSAL: tl.constexpr, KEYS_FIT: tl.constexpr):
    """Say of each score of a tile whether it counts; `queries` is a column and `keys` a row of indices in the tile.

    The distance of the two tiles is one number, so a score costs one comparison for each edge of the mask.
    """
    if IS_CAUSAL:
        visible = (m0 - n0) + queries >= keys
        if window is not None:
            visible = visible & ((m0 - n0 - window) + queries < keys)
        if not KEYS_FIT:
            visible = visible & (keys < num_keys - n0)
    else:
        visible = (keys < num_keys - n0) & (queries >= 0)
    return visible
