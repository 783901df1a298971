"""The reference decoder: RMSNorm before each part, RoPE, SwiGLU, no biases, an output head of its own."""

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from jaxtyping import Float, Int
from torch import Tensor, nn

from windtunnel.attention.backend import Attend
from windtunnel.models.recomputation import Run, recomputation_of, run_once
from windtunnel.spec.checkpoint import Checkpoint
from windtunnel.spec.model import ModelSpec

NORM_EPSILON = 1e-5
INIT_STD = 0.02

NOTHING_AGAIN = Checkpoint(kind="none")


class Attention(nn.Module):
    """Causal self-attention with rotated queries and keys, by a backend of choice."""

    def __init__(self, spec: ModelSpec, attend: Attend) -> None:
        """Make the four projections; `attend` does the rest."""
        super().__init__()
        self.d_head = spec.d_head
        self.attend = attend
        self.q_proj = nn.Linear(spec.d_model, spec.d_model, bias=False)
        self.k_proj = nn.Linear(spec.d_model, spec.kv_heads * spec.d_head, bias=False)
        self.v_proj = nn.Linear(spec.d_model, spec.kv_heads * spec.d_head, bias=False)
        self.o_proj = nn.Linear(spec.d_model, spec.d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        cos: Float[Tensor, "seq d_head"],
        signed_sin: Float[Tensor, "seq d_head"],
    ) -> Float[Tensor, "batch seq d_model"]:
        """Return what attention adds to the residual stream."""
        q = rotate(self._heads(self.q_proj(x)), cos, signed_sin)
        k = rotate(self._heads(self.k_proj(x)), cos, signed_sin)
        o = self.attend(q, k, self._heads(self.v_proj(x)), is_causal=True)
        return self.o_proj(o.transpose(1, 2).flatten(2))

    def _heads(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch heads seq d_head"]:
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)), or down(activation(up(x))). Source: Shazeer 2020 (arXiv:2002.05202)."""

    def __init__(self, spec: ModelSpec) -> None:
        """Make the three matrices, or two."""
        super().__init__()
        self.activation = spec.activation
        if spec.activation == "swiglu":
            self.gate_proj = nn.Linear(spec.d_model, spec.d_ff, bias=False)
        self.up_proj = nn.Linear(spec.d_model, spec.d_ff, bias=False)
        self.down_proj = nn.Linear(spec.d_ff, spec.d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Return what the feed-forward layer adds to the residual stream."""
        if self.activation == "swiglu":
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        activate = F.gelu if self.activation == "gelu" else F.relu
        return self.down_proj(activate(self.up_proj(x)))


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, spec: ModelSpec, attend: Attend, *, run_feed_forward: Run = run_once) -> None:
        """Make both parts and their norms."""
        super().__init__()
        self.run_feed_forward = run_feed_forward
        self.attention_norm = nn.RMSNorm(spec.d_model, eps=NORM_EPSILON)
        self.attention = Attention(spec, attend)
        self.feed_forward_norm = nn.RMSNorm(spec.d_model, eps=NORM_EPSILON)
        self.feed_forward = FeedForward(spec)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        cos: Float[Tensor, "seq d_head"],
        signed_sin: Float[Tensor, "seq d_head"],
    ) -> Float[Tensor, "batch seq d_model"]:
        """Return the residual stream after this layer."""
        x = x + self.attention(self.attention_norm(x), cos, signed_sin)
        return x + self.run_feed_forward(self._feed_forward, x)

    def _feed_forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        return self.feed_forward(self.feed_forward_norm(x))


def _run_blocks(
    blocks: Sequence[Block],
    x: Float[Tensor, "batch seq d_model"],
    cos: Float[Tensor, "seq d_head"],
    signed_sin: Float[Tensor, "seq d_head"],
) -> Float[Tensor, "batch seq d_model"]:
    for block in blocks:
        x = block(x, cos, signed_sin)
    return x


class Transformer(nn.Module):
    """Tokens to logits. Make it with `build_model`, which initialises it on its device."""

    cos: Tensor
    signed_sin: Tensor

    def __init__(
        self, spec: ModelSpec, attend: Attend, *, context_length: int, checkpoint: Checkpoint = NOTHING_AGAIN
    ) -> None:
        """Make the layers without values; `context_length` bounds the sequences that can be rotated."""
        super().__init__()
        self.spec = spec
        self.context_length = context_length
        self.embedding = nn.Embedding(spec.vocab_size, spec.d_model)
        recomputation = recomputation_of(checkpoint, num_layers=spec.num_layers)
        blocks = [Block(spec, attend, run_feed_forward=recomputation.run_feed_forward) for _ in range(spec.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self._run = recomputation.run_blocks
        self._parts = [  # the last one may be smaller
            partial(_run_blocks, blocks[first : first + recomputation.num_blocks])
            for first in range(0, spec.num_layers, recomputation.num_blocks)
        ]
        self.final_norm = nn.RMSNorm(spec.d_model, eps=NORM_EPSILON)
        self.head = nn.Linear(spec.d_model, spec.vocab_size, bias=False)
        for name in ("cos", "signed_sin"):
            self.register_buffer(name, torch.empty(context_length, spec.d_head), persistent=False)

    def forward(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq vocab"]:
        """Return the logits of the next token at every position."""
        seq_len, dtype = tokens.shape[1], self._product_dtype(tokens.device.type)
        # Cast once here instead of in every layer; the tables themselves stay in float32.
        cos, signed_sin = self.cos[:seq_len].to(dtype), self.signed_sin[:seq_len].to(dtype)
        x = self.embedding(tokens)
        for part in self._parts:
            x = self._run(part, x, cos, signed_sin)
        return self.head(self.final_norm(x))

    def _product_dtype(self, device_type: str) -> torch.dtype:
        """Return the dtype in which projections hand over queries and keys."""
        if torch.is_autocast_enabled(device_type):
            return torch.get_autocast_dtype(device_type)
        return self.head.weight.dtype

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights from a normal distribution and fill the rotation tables.

        The two projections that write to the residual stream get a standard deviation smaller by
        sqrt(2 * num_layers), so that the stream does not grow with depth.
        Source: Radford et al. 2019 (GPT-2), section 2.3.
        """
        residual_std = INIT_STD / math.sqrt(2 * self.spec.num_layers)
        for name, parameter in self.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            else:
                std = residual_std if name.endswith(("o_proj.weight", "down_proj.weight")) else INIT_STD
                parameter.normal_(0.0, std, generator=generator)
        cos, signed_sin = rotation_tables(
            self.context_length, self.spec.d_head, theta=self.spec.rope_theta, device=self.cos.device
        )
        self.cos.copy_(cos)
        self.signed_sin.copy_(signed_sin)


def rotation_tables(
    context_length: int, d_head: int, *, theta: float, device: torch.device
) -> tuple[Float[Tensor, "seq d_head"], Float[Tensor, "seq d_head"]]:
    """Return cos and signed sin of the angles position * theta^(-2i / d_head), for pairs (i, i + d_head/2).

    The sine of the first half carries the minus sign of the rotation, so that `rotate` needs no negation.
    Angles are computed in float64: position 100,000 in float32 has lost the fast pairs.
    Source: Su et al. 2021 (arXiv:2104.09864), equation 34, with halves for neighbours as in GPT-NeoX and Llama.
    """
    positions = torch.arange(context_length, dtype=torch.float64, device=device)
    exponents = torch.arange(0, d_head, 2, dtype=torch.float64, device=device) / d_head
    angles = positions[:, None] * theta**-exponents  # [seq, d_head / 2]
    cos, sin = angles.cos().float(), angles.sin().float()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(
    x: Float[Tensor, "batch heads seq d_head"],
    cos: Float[Tensor, "seq d_head"],
    signed_sin: Float[Tensor, "seq d_head"],
) -> Float[Tensor, "batch heads seq d_head"]:
    """Rotate each pair (i, i + d_head/2) by the angle of its position, in three kernels."""
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos, swapped, signed_sin)


def build_model(
    spec: ModelSpec,
    attend: Attend,
    *,
    context_length: int,
    device: torch.device,
    dtype: torch.dtype,
    seed: int,
    checkpoint: Checkpoint = NOTHING_AGAIN,
) -> Transformer:
    """Return an initialised model whose values never were anywhere but on `device`.

    The same seed gives the same weights on the same device type; the global random state is not touched.
    """
    with torch.device("meta"):
        model = Transformer(spec, attend, context_length=context_length, checkpoint=checkpoint)
    for module in model.modules():  # weights only: the rotation tables stay in float32
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.to(dtype)))
    model = model.to_empty(device=device)
    if spec.is_tied:
        model.head.weight = model.embedding.weight
    model.initialise(torch.Generator(device).manual_seed(seed))
    return model
