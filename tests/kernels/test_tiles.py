"""Which tiles a GPU takes; what they compile to is in test_compiled.py."""

import pytest
import torch

from windtunnel.errors import UnsupportedError
from windtunnel.kernels.tiles import DESCRIBED_TILES, TILES, architecture_row, pad_d_head, tiles_for
from windtunnel.spec.attention import MAX_D_HEAD


@pytest.mark.parametrize(
    ("capability", "row"),
    [
        ((8, 0), "sm_80"),
        ((8, 6), "sm_80"),
        ((8, 9), "sm_80"),
        ((9, 0), "sm_90"),
        ((10, 0), "sm_100"),
        ((10, 3), "sm_100"),
        ((11, 0), "sm_100"),
        ((12, 0), "sm_80"),
    ],
)
def test_a_gpu_takes_the_tiles_of_the_nearest_architecture_with_as_much_shared_memory(
    capability: tuple[int, int], row: str
):
    assert architecture_row(capability) == row


def test_a_gpu_that_is_too_old_is_refused():
    with pytest.raises(UnsupportedError, match=r"compute capability 7\.5 is not supported by the flash kernels"):
        architecture_row((7, 5))


@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (10, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("can_describe", [False, True])
def test_the_table_has_tiles_for_every_head_size(
    capability: tuple[int, int], dtype: torch.dtype, is_causal: bool, can_describe: bool
):
    for d_head in range(1, MAX_D_HEAD + 1):
        tiles = tiles_for(capability, dtype, d_head, is_causal=is_causal, allows_tf32=False, can_describe=can_describe)

        assert all(min(tile.q_tile, tile.k_tile) >= 16 for tile in tiles)
        assert can_describe or not any(tile.is_described for tile in tiles)


def test_only_hopper_reads_through_descriptors():
    described = {
        key
        for table in (TILES, DESCRIBED_TILES)
        for key, by_d in table.items()
        if any(tile.is_described for tiles in by_d.values() for tile in tiles)
    }

    assert {architecture for architecture, _, _ in described} == {"sm_90"}


@pytest.mark.parametrize(("d_head", "padded"), [(1, 16), (16, 16), (17, 32), (80, 128), (128, 128), (129, 256)])
def test_heads_are_padded_to_a_power_of_two(d_head: int, padded: int):
    assert pad_d_head(d_head) == padded


def test_float32_is_not_multiplied_in_tf32_unless_allowed():
    """Triton's own default is TF32, with an error 1,000 times larger."""
    float32 = [tile for key, by_d in TILES.items() if key[1] == "float32" for tiles in by_d.values() for tile in tiles]

    assert {tile.precision for tile in float32} <= {"ieee", "tf32x3", "bf16x6"}


def test_tf32_is_used_where_torch_is_allowed_to():
    tiles = tiles_for((9, 0), torch.float32, 64, is_causal=True, allows_tf32=True, can_describe=False)

    assert {tile.precision for tile in tiles} == {"tf32"}
