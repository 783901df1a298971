"""Inputs of an autograd function become what torch's own operators would make of them under autocast."""

import pytest
import torch

from windtunnel.attention.autocast import as_autocast

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)


def test_under_autocast_all_but_float64_and_whole_numbers_are_cast():
    with torch.autocast("cpu", torch.bfloat16):
        found = as_autocast(*(torch.ones(1, dtype=dtype) for dtype in DTYPES))

    half = torch.bfloat16
    assert [tensor.dtype for tensor in found] == [torch.float64, half, half, half, torch.int64]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_without_autocast_tensors_stay_what_they_are(device: str):
    tensors = tuple(torch.ones(1, dtype=dtype, device=device) for dtype in DTYPES)

    assert as_autocast(*tensors) == tensors
