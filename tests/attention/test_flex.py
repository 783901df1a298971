"""The block masks of FlexAttention are those that torch makes, without looking at each query and key."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from windtunnel.attention.flex import _block_mask

CPU = torch.device("cpu")
LENGTHS = ((1, 1), (128, 128), (129, 129), (300, 100), (127, 500), (641, 639))
WINDOWS = (None, 1, 127, 128, 129, 256, 257, 1000)


def fields(mask: BlockMask) -> list[object]:
    """Return all that a kernel reads, tensors as lists with their dtype; the function of two positions apart."""
    return [(field.dtype, field.tolist()) if isinstance(field, Tensor) else field for field in mask.as_tuple()[:-1]]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("queries", "keys"), LENGTHS)
def test_a_block_mask_is_the_one_that_torch_finds_query_by_query(queries: int, keys: int, window: int | None):
    mask = _block_mask(queries, keys, window, CPU)

    reach = window or queries

    def is_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor):  # called with tensors that hold others
        return (key <= query) & (key > query - reach)

    expected = create_block_mask(is_visible, B=None, H=None, Q_LEN=queries, KV_LEN=keys, device="cpu")
    assert fields(mask) == fields(expected)


def test_a_block_mask_of_a_long_sequence_is_small():
    mask = _block_mask(131_072, 131_072, None, CPU)

    assert sum(tensor.nbytes for tensor in mask.as_tuple() if isinstance(tensor, Tensor)) < 2**26
