"""The float64 reference is what autograd makes of the formula, in blocks that do not matter."""

import pytest
import torch
from torch import Tensor

from attending import PARTS, Case, attend_with_gradients, draw, formula, with_masks
from windtunnel.attention import reference as room
from windtunnel.attention.reference import reference, relative_error

CASES = with_masks(
    Case(queries=7, keys=7, heads=4, kv_heads=2, batch=2),
    Case(queries=5, keys=9),
    Case(queries=9, keys=5),
    windows=(1, 6),
)


def parts(case: Case, *inputs: Tensor) -> dict[str, Tensor]:
    found = reference(*inputs, is_causal=case.is_causal, window=case.window)
    return {part: getattr(found, part) for part in PARTS}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_it_is_the_derivative_of_the_formula_for_any_block(monkeypatch: pytest.MonkeyPatch, case: Case, rows: int):
    monkeypatch.setattr(room, "_SCORES_BYTES", 8 * rows * case.batch * case.heads * case.keys)
    inputs = draw(case, torch.float64)

    found = parts(case, *inputs)

    for part, expected in attend_with_gradients(formula, case, inputs).items():
        torch.testing.assert_close(found[part], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_in_float64_whatever_the_inputs(dtype: torch.dtype):
    case = Case(queries=3, keys=3)

    found = parts(case, *draw(case, dtype))

    assert {tensor.dtype for tensor in found.values()} == {torch.float64}


def test_some_heads_alone_are_the_same_as_among_all():
    case = Case(queries=5, keys=5, heads=4, kv_heads=2, is_causal=True)
    q, k, v, do = draw(case, torch.float64)
    whole = parts(case, q, k, v, do)

    some = parts(case, q[:, 2:], k[:, 1:], v[:, 1:], do[:, 2:])

    assert torch.equal(some["o"], whole["o"][:, 2:])
    assert torch.equal(some["dk"], whole["dk"][:, 1:])


def test_the_relative_error_is_a_share_of_the_norm():
    assert relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)


def test_no_error_is_zero():
    x = torch.ones(3, dtype=torch.bfloat16)

    assert relative_error(x, x.double()) == 0.0
