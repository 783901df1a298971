"""Every backend of the table that runs on a CPU computes the formula, forward and backward."""

import itertools
import math
from functools import cache

import pytest
import torch
from torch import Tensor

from windtunnel.attention.backend import Attend, load_backend
from windtunnel.spec.tables import ATTENTION_BACKENDS

BACKENDS = {name: load_backend(name) for name in ATTENTION_BACKENDS}
ON_CPU = [name for name, backend in BACKENDS.items() if "cpu" in backend.dtypes]
ROUNDED = [
    pytest.param(name, dtype, id=f"{name}-{str(dtype).removeprefix('torch.')}")
    for name in ON_CPU
    for dtype in BACKENDS[name].dtypes["cpu"]
    if dtype != torch.float64
]

SHAPES = (
    (1, 1, 1, 1, 2),
    (2, 2, 2, 1, 4),
    (5, 5, 6, 2, 6),
    (17, 17, 3, 3, 10),
    (33, 33, 4, 4, 16),
    (5, 3, 2, 2, 8),
    (1, 7, 3, 1, 2),
    (3, 65, 2, 1, 32),
)
"""Queries, keys, heads, key heads, d_head."""

PARTS = ("O", "dQ", "dK", "dV")

over_shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
over_masks = pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])


def formula(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
    """Softmax(Q·Kᵀ / sqrt(d_head)) · V, written out in the dtype of the inputs."""
    groups = q.shape[1] // k.shape[1]
    heads = []
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // groups].mT / math.sqrt(q.shape[-1])
        if is_causal:
            queries, keys = torch.arange(q.shape[2]), torch.arange(k.shape[2])
            scores = torch.where(keys[None, :] > queries[:, None], float("-inf"), scores)
        heads.append(torch.softmax(scores, dim=-1) @ v[:, head // groups])
    return torch.stack(heads, dim=1)


def draw(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw Q, K, V and dO, already rounded to `dtype`."""
    queries, keys, heads, kv_heads, d_head = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    k, v = normal(2, kv_heads, keys, d_head), normal(2, kv_heads, keys, d_head)
    return normal(2, heads, queries, d_head), k, v, normal(2, heads, queries, d_head)


def run(attend: Attend, inputs: tuple[Tensor, ...], dtype: torch.dtype, *, is_causal: bool) -> dict[str, Tensor]:
    """Return O and the gradients of sum(O * dO), computed in `dtype`."""
    q, k, v = (tensor.to(dtype, copy=True).requires_grad_() for tensor in inputs[:3])
    o = attend(q, k, v, is_causal=is_causal)
    gradients = torch.autograd.grad(o, (q, k, v), inputs[3].to(dtype))
    return dict(zip(PARTS, (o.detach(), *gradients), strict=True))


@cache
def exact(shape: tuple[int, ...], dtype: torch.dtype, *, is_causal: bool) -> dict[str, Tensor]:
    """Return the formula's result in float64, for inputs rounded to `dtype`."""
    return run(formula, draw(shape, dtype), torch.float64, is_causal=is_causal)


@cache
def error_budget(dtype: torch.dtype) -> dict[str, float]:
    """Return for each part twice the plain formula's own largest relative error, and one rounding of the result.

    The largest over all shapes: over the few numbers of one shape it would be a matter of luck.
    """
    budget = dict.fromkeys(PARTS, torch.finfo(dtype).eps)
    for shape, is_causal in itertools.product(SHAPES, (False, True)):
        found = run(formula, draw(shape, dtype), dtype, is_causal=is_causal)
        for part, error in relative_errors(found, exact(shape, dtype, is_causal=is_causal)).items():
            budget[part] = max(budget[part], 2 * error + torch.finfo(dtype).eps)
    return budget


def relative_errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest error of each part, in units of the part's largest value."""
    return {
        part: ((found[part].double() - value).abs().max() / value.abs().max().clamp(min=1e-30)).item()
        for part, value in expected.items()
    }


@pytest.mark.parametrize(("name", "dtype"), ROUNDED)
@over_shapes
@over_masks
def test_errors_are_within_twice_those_of_the_plain_formula(
    name: str, dtype: torch.dtype, shape: tuple[int, ...], is_causal: bool
):
    budget = error_budget(dtype)

    found = run(BACKENDS[name].attend, draw(shape, dtype), dtype, is_causal=is_causal)

    for part, error in relative_errors(found, exact(shape, dtype, is_causal=is_causal)).items():
        assert error <= budget[part], part


@pytest.mark.parametrize("name", ON_CPU)
@over_shapes
@over_masks
def test_float64_is_exact_up_to_the_order_of_sums(name: str, shape: tuple[int, ...], is_causal: bool):
    found = run(BACKENDS[name].attend, draw(shape, torch.float64), torch.float64, is_causal=is_causal)

    for part, error in relative_errors(found, exact(shape, torch.float64, is_causal=is_causal)).items():
        assert error <= 1e-14, part


@pytest.mark.parametrize(("name", "dtype"), ROUNDED)
def test_the_result_has_the_dtype_of_the_queries(name: str, dtype: torch.dtype):
    q, k, v, _ = draw((3, 3, 2, 1, 4), dtype)

    o = BACKENDS[name].attend(q, k, v, is_causal=True)

    assert o.dtype == dtype


@pytest.mark.parametrize("name", ON_CPU)
def test_the_inputs_stay_as_they_are(name: str):
    inputs = draw((5, 5, 2, 1, 4), torch.float32)
    copies = [tensor.clone() for tensor in inputs]

    run(BACKENDS[name].attend, inputs, torch.float32, is_causal=True)

    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, copies, strict=True))
