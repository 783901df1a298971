"""What a built model is made of: the values at the start, their dtypes, their seed."""

import math

import pytest
import torch
from torch import Tensor

from windtunnel.attention import eager
from windtunnel.models.transformer import Transformer, build_model
from windtunnel.spec.model import ModelSpec

SPEC = ModelSpec(name="tiny", d_model=64, d_ff=65, num_layers=8, num_heads=4, num_kv_heads=2, vocab_size=301)


def build(*, seed: int = 0, dtype: torch.dtype = torch.float32, context_length: int = 5) -> Transformer:
    return build_model(
        SPEC, eager.attend, context_length=context_length, device=torch.device("cpu"), dtype=dtype, seed=seed
    )


def all_ending(model: Transformer, *ends: str) -> Tensor:
    """Return the values of all parameters with these ends of their names."""
    return torch.cat([p.detach().flatten() for name, p in model.named_parameters() if name.endswith(ends)])


def test_the_same_seed_gives_the_same_weights():
    first, second = build(seed=3).state_dict(), build(seed=3).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights():
    first, second = build(seed=3), build(seed=4)

    assert not torch.equal(all_ending(first, "head.weight"), all_ending(second, "head.weight"))


def test_the_global_random_state_is_not_touched():
    before = torch.get_rng_state()

    build()

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_all_weights_have_the_dtype_that_was_asked_for(dtype: torch.dtype):
    model = build(dtype=dtype)

    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_rotation_tables_are_in_float32_whatever_the_weights_are(dtype: torch.dtype):
    model = build(dtype=dtype)

    assert {name: buffer.dtype for name, buffer in model.named_buffers()} == {
        "cos": torch.float32,
        "signed_sin": torch.float32,
    }


def test_every_value_is_on_the_device():
    model = build()

    tensors = [*model.parameters(), *model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_every_parameter_can_be_trained():
    model = build(dtype=torch.bfloat16)

    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("ends", "std"),
    [
        (("embedding.weight",), 0.02),
        (("head.weight",), 0.02),
        (("q_proj.weight", "k_proj.weight", "v_proj.weight"), 0.02),
        (("gate_proj.weight", "up_proj.weight"), 0.02),
        (("o_proj.weight",), 0.02 / math.sqrt(2 * 8)),
        (("down_proj.weight",), 0.02 / math.sqrt(2 * 8)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_weights_start_normal_with_the_published_spread(ends: tuple[str, ...], std: float):
    """What writes to the residual stream starts smaller by sqrt(2 * layers)."""
    values = all_ending(build(), *ends)

    standard_error = std / math.sqrt(2 * values.numel())
    assert values.std().item() == pytest.approx(std, abs=5 * standard_error)
    assert values.mean().item() == pytest.approx(0, abs=5 * std / math.sqrt(values.numel()))


def test_norms_start_at_one():
    values = all_ending(build(), "norm.weight")

    assert values.numel() == (2 * 8 + 1) * 64
    assert (values == 1).all()


def test_the_weights_do_not_depend_on_the_context_length():
    """So the cells of one size along the context axis measure the same model."""
    first, second = build(context_length=1).state_dict(), build(context_length=7).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_rotation_tables_are_not_stored_with_the_weights():
    assert not {"cos", "signed_sin"} & set(build().state_dict())
