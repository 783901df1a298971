"""Which tile each kernel takes, by architecture, dtype, mask and head size."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from windtunnel.errors import UnsupportedError


class Tile(NamedTuple):
    """How one kernel is cut: rows of queries and keys a step, warps a program, tiles in flight.

    `precision` is how float32 operands are multiplied, and is of no effect for others: "ieee" in float32, "bf16x6" in
    six bfloat16 products with the error of float32, "tf32x3" in three TF32 products with two to three times that error,
    "tf32" in one. `is_described` says that tiles are read through
    descriptors, by Hopper's copy engine, instead of through a pointer for each 16 bytes.
    """

    q_tile: int
    k_tile: int
    num_warps: int
    num_stages: int
    precision: str = "tf32"
    is_described: bool = False


class Tiles(NamedTuple):
    """The tiles of the three kernels."""

    forward: Tile
    dq: Tile
    dkdv: Tile


def _described(q_tile: int, k_tile: int, num_warps: int, num_stages: int, precision: str = "tf32") -> Tile:
    return Tile(q_tile, k_tile, num_warps, num_stages, precision, is_described=True)


def pad_d_head(d_head: int) -> int:
    """Return the power of two that a head is padded to: tensor cores take no fewer than 16 columns."""
    return max(16, 1 << (d_head - 1).bit_length())


_SM_80_HALF = {
    16: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    32: Tiles(Tile(128, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    64: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(32, 64, 4, 3)),
    128: Tiles(Tile(128, 64, 8, 3), Tile(64, 64, 4, 2), Tile(64, 64, 8, 2)),
    256: Tiles(Tile(64, 32, 8, 2), Tile(64, 16, 4, 2), Tile(16, 64, 8, 2)),
}
_SM_80_FLOAT32 = {
    16: Tiles(Tile(64, 32, 4, 2, "tf32x3"), Tile(32, 32, 4, 2, "tf32x3"), Tile(32, 32, 4, 2, "tf32x3")),
    32: Tiles(Tile(64, 32, 4, 2, "tf32x3"), Tile(32, 32, 4, 2, "tf32x3"), Tile(16, 32, 4, 2, "tf32x3")),
    64: Tiles(Tile(64, 32, 8, 2, "tf32x3"), Tile(32, 32, 4, 2, "tf32x3"), Tile(32, 32, 4, 2, "tf32x3")),
    128: Tiles(Tile(32, 32, 8, 1, "tf32x3"), Tile(32, 32, 8, 1, "tf32x3"), Tile(32, 32, 8, 1, "tf32x3")),
    256: Tiles(Tile(32, 16, 8, 1, "ieee"), Tile(16, 16, 8, 1, "tf32x3"), Tile(16, 32, 8, 1, "ieee")),
}
_SM_90_HALF_FULL = {
    16: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    32: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    64: Tiles(Tile(64, 64, 4, 3), Tile(128, 64, 8, 3), Tile(64, 64, 4, 3)),
    128: Tiles(Tile(128, 64, 8, 3), Tile(128, 64, 8, 3), Tile(32, 64, 4, 3)),
    256: Tiles(Tile(128, 64, 8, 2), Tile(128, 32, 8, 2), Tile(32, 64, 8, 2)),
}
_SM_90_HALF_CAUSAL = {
    16: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    32: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 2)),
    64: Tiles(Tile(64, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 64, 4, 3)),
    128: Tiles(Tile(128, 64, 8, 3), Tile(128, 64, 8, 3), Tile(64, 128, 8, 2)),
    256: Tiles(Tile(128, 64, 8, 2), Tile(128, 32, 8, 2), Tile(32, 64, 8, 1)),
}
_SM_90_FLOAT32 = {
    16: Tiles(Tile(128, 64, 8, 2, "bf16x6"), Tile(64, 32, 4, 2, "bf16x6"), Tile(32, 64, 4, 2, "bf16x6")),
    32: Tiles(Tile(64, 32, 4, 2, "bf16x6"), Tile(64, 64, 4, 2, "bf16x6"), Tile(32, 64, 4, 2, "bf16x6")),
    64: Tiles(Tile(128, 32, 8, 2, "bf16x6"), Tile(64, 32, 4, 2, "bf16x6"), Tile(32, 128, 8, 2, "bf16x6")),
    128: Tiles(Tile(64, 32, 4, 2, "bf16x6"), Tile(128, 32, 8, 1, "bf16x6"), Tile(32, 128, 8, 1, "bf16x6")),
    256: Tiles(Tile(32, 16, 8, 1, "ieee"), Tile(16, 16, 8, 1, "bf16x6"), Tile(16, 32, 8, 1, "ieee")),
}
_SM_100_HALF = {
    16: Tiles(Tile(128, 64, 4, 3), Tile(128, 64, 4, 2), Tile(64, 128, 8, 2)),
    32: Tiles(Tile(128, 64, 4, 3), Tile(128, 64, 4, 2), Tile(64, 128, 8, 2)),
    64: Tiles(Tile(128, 64, 4, 3), Tile(128, 64, 4, 2), Tile(64, 128, 8, 2)),
    128: Tiles(Tile(128, 64, 8, 3), Tile(128, 64, 8, 2), Tile(64, 128, 8, 2)),
    256: Tiles(Tile(128, 32, 8, 3), Tile(128, 32, 8, 2), Tile(32, 64, 8, 2)),
}
_SM_100_FLOAT32 = {
    16: Tiles(Tile(64, 32, 8, 2, "tf32x3"), Tile(64, 32, 8, 2, "tf32x3"), Tile(32, 64, 8, 2, "tf32x3")),
    32: Tiles(Tile(64, 32, 8, 2, "tf32x3"), Tile(64, 32, 8, 2, "tf32x3"), Tile(32, 64, 8, 2, "tf32x3")),
    64: Tiles(Tile(64, 32, 8, 2, "tf32x3"), Tile(64, 32, 8, 2, "tf32x3"), Tile(32, 64, 8, 2, "tf32x3")),
    128: Tiles(Tile(32, 32, 8, 1, "tf32x3"), Tile(32, 16, 8, 2, "tf32x3"), Tile(16, 32, 8, 1, "tf32x3")),
    256: Tiles(Tile(32, 16, 8, 1, "ieee"), Tile(16, 16, 8, 1, "tf32x3"), Tile(16, 32, 8, 1, "ieee")),
}

_SM_90_HALF_DESCRIBED_FULL = {
    64: Tiles(_described(64, 128, 4, 2), _described(64, 64, 4, 2), _described(64, 64, 4, 3)),
    128: Tiles(_described(64, 64, 4, 3), _described(128, 64, 8, 3), _described(64, 64, 4, 2)),
    256: Tiles(_described(128, 64, 8, 2), _described(128, 32, 8, 2), Tile(32, 64, 8, 2)),
}
_SM_90_HALF_DESCRIBED_CAUSAL = {
    64: Tiles(Tile(64, 64, 4, 3), _described(64, 64, 4, 2), _described(64, 64, 4, 3)),
    128: Tiles(_described(64, 64, 4, 3), _described(128, 64, 8, 3), _described(64, 64, 4, 2)),
    256: Tiles(_described(128, 64, 8, 2), _described(128, 32, 8, 2), Tile(32, 64, 8, 1)),
}
_SM_90_FLOAT32_DESCRIBED = {
    16: Tiles(_described(64, 64, 4, 2, "bf16x6"), _described(64, 32, 4, 2, "bf16x6"), Tile(32, 64, 4, 2, "bf16x6")),
    32: Tiles(_described(64, 64, 4, 2, "bf16x6"), _described(64, 32, 4, 2, "bf16x6"), Tile(32, 64, 4, 2, "bf16x6")),
    64: Tiles(_described(64, 32, 4, 2, "bf16x6"), _described(64, 32, 4, 2, "bf16x6"), Tile(32, 128, 8, 2, "bf16x6")),
    128: Tiles(_described(128, 32, 8, 2, "bf16x6"), Tile(128, 32, 8, 1, "bf16x6"), Tile(32, 128, 8, 1, "bf16x6")),
}

TILES: Mapping[tuple[str, str, str], Mapping[int, Tiles]] = {
    ("sm_80", "half", "full"): _SM_80_HALF,
    ("sm_80", "half", "causal"): _SM_80_HALF,
    ("sm_80", "float32", "full"): _SM_80_FLOAT32,
    ("sm_80", "float32", "causal"): _SM_80_FLOAT32,
    ("sm_90", "half", "full"): _SM_90_HALF_FULL,
    ("sm_90", "half", "causal"): _SM_90_HALF_CAUSAL,
    ("sm_90", "float32", "full"): _SM_90_FLOAT32,
    ("sm_90", "float32", "causal"): _SM_90_FLOAT32,
    ("sm_100", "half", "full"): _SM_100_HALF,
    ("sm_100", "half", "causal"): _SM_100_HALF,
    ("sm_100", "float32", "full"): _SM_100_FLOAT32,
    ("sm_100", "float32", "causal"): _SM_100_FLOAT32,
}
"""Tiles by padded d_head, for each architecture, kind of dtype and mask. `benchmarks/tiles.py` searches for them.

sm_80 and sm_100 were chosen by what they compile to: no spills where there are any without, most rows of queries.
"""


DESCRIBED_TILES: Mapping[tuple[str, str, str], Mapping[int, Tiles]] = {
    ("sm_90", "half", "full"): _SM_90_HALF_DESCRIBED_FULL,
    ("sm_90", "half", "causal"): _SM_90_HALF_DESCRIBED_CAUSAL,
    ("sm_90", "float32", "full"): _SM_90_FLOAT32_DESCRIBED,
    ("sm_90", "float32", "causal"): _SM_90_FLOAT32_DESCRIBED,
}
"""Tiles for tensors that can be described, where they are faster than those of `TILES`, which take any layout."""


def architecture_row(capability: tuple[int, int]) -> str:
    """Return the architecture whose tiles a GPU takes: the nearest one below with as much shared memory.

    8.x, and 12.x, which has the shared memory (99 KiB) and the kind of tensor cores of 8.6: sm_80, whose tiles are
    small enough for these. 9.x: sm_90. 10.x and 11.x: sm_100.

    Raises:
        UnsupportedError: The GPU is older than 8.0.
    """
    major = capability[0]
    if major < 8:
        raise UnsupportedError(
            f"compute capability {major}.{capability[1]} is not supported by the flash kernels; they need 8.0 or later"
        )
    if major == 8 or major >= 12:
        return "sm_80"
    return "sm_90" if major == 9 else "sm_100"


def tiles_for(
    capability: tuple[int, int],
    dtype: torch.dtype,
    d_head: int,
    *,
    is_causal: bool,
    allows_tf32: bool,
    can_describe: bool,
) -> Tiles:
    """Return the tiles of the table's row for a GPU, as `architecture_row` names it.

    `can_describe` says whether the tensors lie in memory as the copy engine needs it.

    Raises:
        UnsupportedError: The GPU is older than 8.0.
    """
    kind = "float32" if dtype == torch.float32 else "half"
    mask = "causal" if is_causal else "full"
    row, width = (architecture_row(capability), kind, mask), pad_d_head(d_head)
    tiles = TILES[row][width]
    if can_describe:
        tiles = DESCRIBED_TILES.get(row, {}).get(width, tiles)
    if kind == "float32" and allows_tf32:
        return Tiles(*(tile._replace(precision="tf32") for tile in tiles))
    return tiles
