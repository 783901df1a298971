"""The reference model against an implementation in plain numpy, and its promises."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from windtunnel.attention import eager
from windtunnel.cost.step import parameter_count
from windtunnel.models.transformer import Transformer, build_model
from windtunnel.spec.model import NAMED_SIZES, Activation, ModelSpec

CPU = torch.device("cpu")


def spec_of(
    d_model: int,
    num_heads: int,
    num_kv_heads: int | None = None,
    *,
    d_ff: int = 7,
    num_layers: int = 2,
    vocab_size: int = 11,
    rope_theta: float = 100.0,
    is_tied: bool = False,
    activation: Activation = "swiglu",
) -> ModelSpec:
    """Return a tiny model; with so small a theta all rotations are large ones."""
    return ModelSpec(
        name="tiny",
        d_model=d_model,
        d_ff=d_ff,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        vocab_size=vocab_size,
        rope_theta=rope_theta,
        is_tied=is_tied,
        activation=activation,
    )


SPECS = (
    spec_of(2, 1, num_layers=1, d_ff=1, vocab_size=1),
    spec_of(6, 3),
    spec_of(12, 2, 1),
    spec_of(24, 6, 2, d_ff=31, num_layers=3),
    spec_of(20, 5, 1, d_ff=13, num_layers=1),
    spec_of(12, 2, 1, is_tied=True),
    spec_of(6, 3, activation="gelu"),
    spec_of(8, 2, is_tied=True, activation="relu"),
)
over_specs = pytest.mark.parametrize(
    "spec",
    SPECS,
    ids=lambda spec: f"d{spec.d_model}-h{spec.num_heads}-kv{spec.kv_heads}-{spec.activation}{'-tied' * spec.is_tied}",
)


def build(spec: ModelSpec, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Transformer:
    return build_model(spec, eager.attend, context_length=8, device=CPU, dtype=dtype, seed=seed)


def build_lively(spec: ModelSpec) -> Transformer:
    """Return a model whose weights are far larger than at the start of a training, norms included.

    With the small initial weights every part adds almost nothing, so an error in it would not show.
    """
    model = build(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.3, 0.8, generator=generator)
    return model


def tokens_of(spec: ModelSpec, batch_size: int, seq_len: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(spec.vocab_size, (batch_size, seq_len), generator=generator)


def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / math.sqrt(sum(value * value for value in x) / len(x) + 1e-5) * weight


def rotated(head: np.ndarray, position: int, theta: float) -> np.ndarray:
    """Turn the plane of each pair (i, i + d/2) by position * theta^(-2i/d)."""
    half = len(head) // 2
    turned = head.copy()
    for i in range(half):
        angle = position * theta ** (-2 * i / len(head))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        turned[[i, i + half]] = turn @ head[[i, i + half]]
    return turned


def attended(xs: list[np.ndarray], weights: dict[str, np.ndarray], spec: ModelSpec) -> list[np.ndarray]:
    d, group = spec.d_head, spec.num_heads // spec.kv_heads
    q, k, v = ([weights[f"{name}_proj.weight"] @ x for x in xs] for name in "qkv")
    outputs = []
    for t in range(len(xs)):
        heads = []
        for head in range(spec.num_heads):
            own, shared = slice(head * d, (head + 1) * d), slice(head // group * d, (head // group + 1) * d)
            query = rotated(q[t][own], t, spec.rope_theta)
            scores = [query @ rotated(k[s][shared], s, spec.rope_theta) / math.sqrt(d) for s in range(t + 1)]
            shares = [math.exp(score - max(scores)) for score in scores]
            heads.append(sum(share * v[s][shared] for s, share in enumerate(shares)) / sum(shares))
        outputs.append(weights["o_proj.weight"] @ np.concatenate(heads))
    return outputs


def fed_forward(x: np.ndarray, weights: dict[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    if spec.activation == "gelu":
        inner = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in weights["up_proj.weight"] @ x]
        return weights["down_proj.weight"] @ np.array(inner)
    if spec.activation == "relu":
        return weights["down_proj.weight"] @ np.maximum(weights["up_proj.weight"] @ x, 0)
    gate = weights["gate_proj.weight"] @ x
    return weights["down_proj.weight"] @ (gate / (1 + np.exp(-gate)) * (weights["up_proj.weight"] @ x))


def logits_of_one(tokens: list[int], weights: dict[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    """Return the logits of one sequence, a position at a time."""

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}

    xs = [weights["embedding.weight"][token] for token in tokens]
    for layer in range(spec.num_layers):
        block = part(f"blocks.{layer}.")
        normed = [norm(x, block["attention_norm.weight"]) for x in xs]
        added = attended(normed, part(f"blocks.{layer}.attention."), spec)
        xs = [x + more for x, more in zip(xs, added, strict=True)]
        feed_forward = part(f"blocks.{layer}.feed_forward.")
        xs = [x + fed_forward(norm(x, block["feed_forward_norm.weight"]), feed_forward, spec) for x in xs]
    head = weights["embedding.weight" if spec.is_tied else "head.weight"]
    return np.stack([head @ norm(x, weights["final_norm.weight"]) for x in xs])


@over_specs
@pytest.mark.parametrize("seq_len", [1, 2, 5])
def test_the_logits_are_those_of_plain_arithmetic(spec: ModelSpec, seq_len: int):
    model, tokens = build_lively(spec), tokens_of(spec, 3, seq_len)
    weights = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}

    logits = model(tokens)

    expected = np.stack([logits_of_one(row, weights, spec) for row in tokens.tolist()])
    # The tables of the rotation are in float32: an angle of up to 5 rad is off by 3e-7 at most.
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@over_specs
def test_a_built_model_has_the_parameters_that_the_cost_counts(spec: ModelSpec):
    model = build(spec)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(spec)


@pytest.mark.parametrize("size", NAMED_SIZES)
def test_a_named_size_has_the_parameters_that_the_cost_counts(size: str):
    spec = NAMED_SIZES[size]

    with torch.device("meta"):
        model = Transformer(spec, eager.attend, context_length=1)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(spec)


@over_specs
@pytest.mark.parametrize("changed", [1, 4])
def test_a_later_token_changes_nothing_before_it(spec: ModelSpec, changed: int):
    model, tokens = build_lively(spec), tokens_of(spec, 2, 5)
    others = tokens.clone()
    others[:, changed:] = (tokens[:, changed:] + 1) % spec.vocab_size

    before, after = model(tokens), model(others)

    assert torch.equal(before[:, :changed], after[:, :changed])


def test_a_token_changes_the_logits_from_its_own_position_on():
    spec = SPECS[1]
    model, tokens = build_lively(spec), tokens_of(spec, 1, 5)
    others = tokens.clone()
    others[0, 1] = (tokens[0, 1] + 1) % spec.vocab_size

    before, after = model(tokens), model(others)

    assert (before - after).abs().amax(dim=-1)[0, 1:].min() > 1e-6


def test_the_sequences_of_a_batch_do_not_meet():
    spec = SPECS[1]
    model, tokens = build_lively(spec), tokens_of(spec, 3, 5)

    together = model(tokens)

    alone = torch.cat([model(row[None]) for row in tokens])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_tied_head_is_the_embedding_itself():
    model = build(spec_of(12, 2, is_tied=True))

    assert model.head.weight is model.embedding.weight
    assert "head.weight" not in dict(model.named_parameters())


SMALLEST = spec_of(4, 2, 1, d_ff=3, num_layers=1, vocab_size=5)
with torch.device("meta"):
    PARAMETERS = [name for name, _ in Transformer(SMALLEST, eager.attend, context_length=1).named_parameters()]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_gradient_is_the_slope_of_the_loss(name: str):
    model, tokens = build_lively(SMALLEST), tokens_of(SMALLEST, 2, 3)
    parameter, others = model.get_parameter(name), tokens.flip(1).flatten()
    step = 1e-5

    def loss() -> Tensor:
        return torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), others)

    (gradient,) = torch.autograd.grad(loss(), parameter)

    slopes = torch.empty_like(gradient)
    with torch.no_grad():
        flat = parameter.view(-1)
        for i in range(flat.numel()):
            middle = flat[i].item()
            flat[i] = middle + step
            above = loss()
            flat[i] = middle - step
            below = loss()
            flat[i] = middle
            slopes.view(-1)[i] = (above - below) / (2 * step)
    assert slopes.abs().max() > 1e-4
    torch.testing.assert_close(gradient, slopes, rtol=1e-6, atol=1e-8)
