"""The feed-forward part of a block: gated with three matrices, or plain with two."""

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from jaxtyping import Float
from torch import Tensor, nn

from windtunnel.spec.model import ModelSpec


class GatedFeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)). Source: Shazeer 2020 (arXiv:2002.05202)."""

    def __init__(self, spec: ModelSpec) -> None:
        """Make the three matrices."""
        super().__init__()
        self.gate_proj = nn.Linear(spec.d_model, spec.d_ff, bias=False)
        self.up_proj = nn.Linear(spec.d_model, spec.d_ff, bias=False)
        self.down_proj = nn.Linear(spec.d_ff, spec.d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Return what the feed-forward layer adds to the residual stream."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class PlainFeedForward(nn.Module):
    """down(activation(up(x))), as in Vaswani et al. 2017 (arXiv:1706.03762), equation 2, without biases."""

    def __init__(self, spec: ModelSpec, activation: Callable[[Tensor], Tensor]) -> None:
        """Make the two matrices."""
        super().__init__()
        self.activation = activation
        self.up_proj = nn.Linear(spec.d_model, spec.d_ff, bias=False)
        self.down_proj = nn.Linear(spec.d_ff, spec.d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Return what the feed-forward layer adds to the residual stream."""
        return self.down_proj(self.activation(self.up_proj(x)))


def make_feed_forward(spec: ModelSpec) -> nn.Module:
    """Return the layer with the activation of `spec`; gelu is x·Φ(x) itself, without the approximation by tanh."""
    match spec.activation:
        case "swiglu":
            return GatedFeedForward(spec)
        case "gelu":
            return PlainFeedForward(spec, F.gelu)
        case "relu":
            return PlainFeedForward(spec, F.relu)
