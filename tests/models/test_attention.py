"""The model with one attention is the model with another: the same loss, the same gradients."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor

from windtunnel.attention.backend import load_backend
from windtunnel.models.transformer import build_model
from windtunnel.spec.model import ModelSpec

CONTEXT_LENGTH = 300
"""More than a tile of any of them."""


def loss_and_gradients(name: str, device: torch.device, *, num_kv_heads: int, dtype: torch.dtype) -> dict[str, Tensor]:
    spec = ModelSpec(
        name="tiny", d_model=128, d_ff=96, num_layers=2, num_heads=4, num_kv_heads=num_kv_heads, vocab_size=101
    )
    model = build_model(
        spec, load_backend(name).attend, context_length=CONTEXT_LENGTH, device=device, dtype=dtype, seed=0
    )
    generator = torch.Generator(device).manual_seed(1)
    tokens = torch.randint(101, (2, CONTEXT_LENGTH + 1), generator=generator, device=device)
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


@pytest.mark.parametrize("name", ["flash-eager"])
@pytest.mark.parametrize("num_kv_heads", [4, 2], ids=["each", "grouped"])
def test_a_step_with_flash_attention_is_a_step_with_eager_attention(name: str, num_kv_heads: int):
    cpu = torch.device("cpu")
    expected = loss_and_gradients("eager", cpu, num_kv_heads=num_kv_heads, dtype=torch.float32)

    found = loss_and_gradients(name, cpu, num_kv_heads=num_kv_heads, dtype=torch.float32)

    for part, tensor in found.items():
        torch.testing.assert_close(tensor, expected[part], rtol=1e-4, atol=1e-6, msg=part)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["flash-eager", "flash-triton"])
@pytest.mark.parametrize("num_kv_heads", [4, 2], ids=["each", "grouped"])
def test_a_step_in_bfloat16_on_a_gpu_is_one_with_eager_attention(name: str, num_kv_heads: int):
    """Within a few roundings: eager attention itself is as far from float32."""
    cuda = torch.device("cuda", 0)
    expected = loss_and_gradients("eager", cuda, num_kv_heads=num_kv_heads, dtype=torch.bfloat16)

    found = loss_and_gradients(name, cuda, num_kv_heads=num_kv_heads, dtype=torch.bfloat16)

    for part, tensor in found.items():
        share = (tensor.double() - expected[part].double()).norm() / expected[part].double().norm()
        assert share < 0.05, part
