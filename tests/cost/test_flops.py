"""FLOPs in closed form against torch's own counter, exactly."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from live_bytes import attend_fused, build, make_cell
from windtunnel.cost.flops import backward_flops, forward_flops, optimizer_flops, recomputation_flops
from windtunnel.cost.parameters import parameter_count, tensor_count, tensor_sizes
from windtunnel.cost.program import program_of
from windtunnel.cost.step import cost_of
from windtunnel.cost.tape import Kind
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import NAMED_SIZES, ModelSpec

VARIANTS = list(itertools.product(["swiglu", "gelu", "relu"], [None, 2, 1], [False, True]))


def _sdpa_for_cpu(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


COUNTER = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _sdpa_for_cpu}
"""What the counter does not know: it counts 0 for attention of a CPU."""


def counted(cell: Cell, attend: Any = None) -> dict[str, int]:
    """Count a step with torch's counter."""
    model, tokens, targets, autocast = build(cell, attend)
    with FlopCounterMode(display=False, custom_mapping=COUNTER) as forward, autocast:
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}


@pytest.mark.parametrize(("activation", "num_kv_heads", "is_tied"), VARIANTS)
def test_flops_are_those_of_the_counter_for_every_variant(activation: str, num_kv_heads: int | None, is_tied: bool):
    for precision in ("fp32", "bf16"):
        cell = make_cell(precision=precision, activation=activation, num_kv_heads=num_kv_heads, is_tied=is_tied)

        assert cost_of(cell).flops == counted(cell)


def test_with_the_repaired_counter_attention_of_a_cpu_counts_too():
    cell = make_cell(attention="sdpa")

    assert cost_of(cell).flops["forward"] == counted(cell)["forward"]


@pytest.mark.parametrize("checkpoint", ["every:1", "every:2", "every:3", "ffn", "selective"])
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_recomputation_is_that_of_the_counter(checkpoint: str, activation: str):
    for num_layers in (3, 4):
        cell = make_cell(checkpoint=checkpoint, activation=activation, num_layers=num_layers)
        cost = cost_of(cell)

        assert cost.flops["backward"] + cost.recomputed_flops == counted(cell)["backward"]
        assert cost.flops == cost_of(cell.model_copy(update={"checkpoint": "none"})).flops


def test_selective_checkpointing_computes_no_product_again_where_attention_is_an_operator():
    cell = make_cell(checkpoint="selective", attention="sdpa-flash", precision="bf16")

    assert cost_of(cell).recomputed_flops == 0


@pytest.mark.parametrize("checkpoint", ["none", "every:2", "ffn", "selective"])
@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_the_operations_of_a_step_have_the_flops_of_the_formula(checkpoint: str, num_kv_heads: int | None):
    cell = make_cell(checkpoint=checkpoint, num_kv_heads=num_kv_heads, num_layers=4)
    cost, phases = cost_of(cell), program_of(cell).phases

    flops = {name: sum(one.count * one.flops for one in stretch.operations) for name, stretch in phases.items()}

    assert flops["forward"] == cost.flops["forward"]
    assert flops["backward"] == cost.flops["backward"] + cost.recomputed_flops
    assert flops["loss"] == 0


def test_a_kernel_that_skips_hidden_keys_does_half_of_the_attention():
    model, length = NAMED_SIZES["small"], 64
    square, visible = (
        forward_flops(model, batch_size=2, context_length=length, pairs=pairs) for pairs in ("square", "visible")
    )
    attention = 4 * 2 * length**2 * model.d_model * model.num_layers

    assert square - visible == attention * (length - 1) // (2 * length)
    assert backward_flops(model, batch_size=2, context_length=length, pairs="visible") == 2 * visible


def test_a_fused_attention_computes_five_products_backward():
    cell = make_cell(attention="flash-triton", context_length=64)
    phases = program_of(cell).phases

    flops = {
        name: sum(one.count * one.flops for one in stretch.operations if one.kind is Kind.ATTENTION)
        for name, stretch in phases.items()
    }

    assert flops["backward"] == 2.5 * flops["forward"]


@pytest.mark.parametrize(("activation", "num_kv_heads", "is_tied"), VARIANTS)
def test_parameters_and_their_tensors_are_those_of_the_model(activation: str, num_kv_heads: int | None, is_tied: bool):
    cell = make_cell(activation=activation, num_kv_heads=num_kv_heads, is_tied=is_tied)
    assert isinstance(cell.model, ModelSpec)
    parameters = list(build(cell)[0].parameters())

    assert parameter_count(cell.model) == sum(parameter.numel() for parameter in parameters)
    assert tensor_count(cell.model) == len(parameters)
    assert sum(entries * count for entries, count in tensor_sizes(cell.model).items()) == parameter_count(cell.model)


def test_attention_that_torch_cannot_keep_is_computed_again():
    model = NAMED_SIZES["small"]
    again = recomputation_flops(model, "selective", batch_size=1, context_length=128, keeps_attention=False)

    assert again == 4 * 128**2 * model.d_model * model.num_layers


def test_an_optimizer_step_is_small_beside_a_forward():
    model = NAMED_SIZES["2.7B"]

    assert optimizer_flops(parameter_count(model)) < forward_flops(model, batch_size=4, context_length=128) / 50


def test_a_fused_step_has_the_same_flops_as_an_eager_one():
    fused, eager = (cost_of(make_cell(attention=attention)) for attention in ("flash-triton", "eager"))

    assert fused.flops == eager.flops
    assert counted(make_cell(attention="eager"))["forward"] > counted(make_cell(), attend_fused)["forward"]
