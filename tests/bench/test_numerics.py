"""Errors of attention against float64, on heads picked by their cost."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from lone_attention import attention_task
from windtunnel.bench import numerics as numerics_module
from windtunnel.bench.build import build_workload
from windtunnel.bench.numerics import find_errors
from windtunnel.errors import UnsupportedError
from windtunnel.spec.cell import Cell


def run(cell: Cell) -> Mapping[str, Tensor]:
    workload = build_workload(cell)
    workload.reset()
    for phase in workload.phases:
        phase.run()
    assert workload.tensors is not None
    return workload.tensors()


@pytest.mark.parametrize("mask", ["full", "causal", "window:7"])
@pytest.mark.parametrize("num_kv_heads", [None, 2, 1])
def test_sound_results_are_as_near_as_their_format(num_kv_heads: int | None, mask: str):
    cell = attention_task(num_kv_heads=num_kv_heads, mask=mask).cell

    errors = find_errors(cell, run(cell))

    assert [error.tensor for error in errors] == ["O", "dQ", "dK", "dV"]
    assert all(0 < error.relative_error < 1e-6 for error in errors)


@pytest.mark.parametrize(
    ("batch_size", "num_kv_heads", "num_heads_compared"), [(2, 4, 2), (2, 2, 4), (2, 1, 8), (1, 1, 4), (1, 4, 2)]
)
def test_the_query_heads_of_the_first_and_the_last_key_head_are_compared(
    batch_size: int, num_kv_heads: int, num_heads_compared: int
):
    cell = attention_task(batch_size=batch_size, num_heads=4, num_kv_heads=num_kv_heads).cell

    errors = find_errors(cell, run(cell))

    assert {error.num_heads for error in errors} == {num_heads_compared}


@pytest.mark.parametrize("tensor", ["O", "dQ", "dK", "dV"])
@pytest.mark.parametrize("place", [0, -1])
def test_an_error_in_a_compared_head_is_that_of_its_tensor(tensor: str, place: int):
    """Doubled in one of two heads, it is off by about 1 / sqrt(2)."""
    cell = attention_task().cell
    tensors = dict(run(cell))
    tensors[tensor] = tensors[tensor].clone()
    tensors[tensor][place, place] *= 2

    errors = {error.tensor: error.relative_error for error in find_errors(cell, tensors)}

    assert 0.5 < errors.pop(tensor) < 0.9
    assert max(errors.values()) < 1e-6


def test_rounded_inputs_are_taken_as_exact():
    """Else their rounding would be in the error of float32 arithmetic on them."""
    cell = attention_task(precision="bf16", attention="flash-eager").cell

    errors = find_errors(cell, run(cell))

    assert all(1e-4 < error.relative_error < 2e-2 for error in errors)


def test_forward_alone_has_the_error_of_its_output():
    cell = attention_task(workload="attention_forward").cell

    assert [error.tensor for error in find_errors(cell, run(cell))] == ["O"]


def test_a_result_that_is_zero_has_no_relative_error():
    """A query that sees one key gives neither dQ nor dK."""
    cell = attention_task(context_length=1).cell

    assert [error.tensor for error in find_errors(cell, run(cell))] == ["O", "dV"]


@pytest.mark.parametrize(("budget", "num_heads"), [(2.0, 2), (1.9, 1), (1.0, 1)])
def test_as_many_key_heads_are_compared_as_the_budget_holds(
    budget: float, num_heads: int, monkeypatch: pytest.MonkeyPatch
):
    cell = attention_task(context_length=32, d_head=8).cell
    one_head = 6 * 2 * 8 * 32 * 32 // 2
    monkeypatch.setitem(numerics_module.FLOPS_BUDGET, "cpu", budget * one_head)

    errors = find_errors(cell, run(cell))

    assert {error.num_heads for error in errors} == {num_heads}


def test_a_key_head_that_costs_more_than_the_budget_is_refused(monkeypatch: pytest.MonkeyPatch):
    cell = attention_task().cell
    tensors = run(cell)
    monkeypatch.setitem(numerics_module.FLOPS_BUDGET, "cpu", 1e3)

    with pytest.raises(UnsupportedError, match=r"^one key head in float64 takes 5\.2e\+04 FLOPs, more than 1e\+03$"):
        find_errors(cell, tensors)


def test_results_that_are_not_finite_have_no_finite_error():
    cell = attention_task().cell
    tensors = dict(run(cell))
    tensors["dV"] = torch.full_like(tensors["dV"], float("nan"))

    errors = {error.tensor: error.relative_error for error in find_errors(cell, tensors)}

    assert errors["dV"] != errors["dV"]
