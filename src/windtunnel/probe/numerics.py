"""How far the numbers of a step are from those of the same step in a wider format."""

from math import isfinite

import torch
from torch import Tensor

from windtunnel.records.precision_look import TensorNumbers


def tensor_numbers(
    name: str, found: Tensor, expected: Tensor, *, product_dtype: torch.dtype, scale: float = 1.0
) -> TensorNumbers:
    """Compare a tensor with the same one of the reference step.

    Args:
        name: What the record calls it.
        found: The tensor as the step left it, `scale` times too large.
        expected: That of the reference, on any device.
        product_dtype: The format of matrix products in this step, in which `found` may have been made.
        scale: What the loss was multiplied by.
    """
    exact = expected.to(found.device, torch.float64)
    finite = found.isfinite()
    dtype = _made_in(found, finite, product_dtype)
    error = (found.to(torch.float64) / scale - exact).norm().item()
    norm = exact.norm().item()
    is_known = norm > 0 and isfinite(error) and isfinite(norm)
    return TensorNumbers(
        name=name,
        relative_error=error / norm if is_known else None,
        dtype=str(dtype).removeprefix("torch."),
        size=found.numel(),
        zeros=_count((found == 0) & (exact != 0)),
        subnormal=_count((found != 0) & (found.abs() < torch.finfo(dtype).tiny)),
        not_finite=_count(~finite & exact.isfinite()),
    )


def _made_in(found: Tensor, finite: Tensor, product_dtype: torch.dtype) -> torch.dtype:
    """Return the product's format where it holds every value: a float32 gradient of a half product has only such."""
    if product_dtype.itemsize >= found.dtype.itemsize:
        return found.dtype
    values = found[finite]
    has_all = bool((values.to(product_dtype).to(found.dtype) == values).all())
    return product_dtype if has_all and bool((values != 0).any()) else found.dtype


def _count(mask: Tensor) -> int:
    return int(mask.sum().item())
