"""Checkpointing changes what is kept and what runs twice, and not one bit of what comes out."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from windtunnel.attention import flash_triton
from windtunnel.attention.backend import load_backend
from windtunnel.models.recomputation import KEPT_OPERATORS, run_again_in_part
from windtunnel.models.transformer import Block, FeedForward, Transformer, build_model
from windtunnel.spec.checkpoint import parse_checkpoint
from windtunnel.spec.model import ModelSpec

CPU = torch.device("cpu")
SPEC = ModelSpec(name="tiny", d_model=32, d_ff=48, num_layers=5, num_heads=4, num_kv_heads=2, vocab_size=29)
BATCH_SIZE, SEQ_LEN = 2, 17
KINDS = ("every:1", "every:2", "every:5", "selective", "ffn")
BACKENDS = ("eager", "sdpa", "sdpa-math", "flash-eager")
STREAM = BATCH_SIZE * SEQ_LEN * SPEC.d_model
"""Numbers of the residual stream."""

over_kinds = pytest.mark.parametrize("kind", KINDS)
over_backends = pytest.mark.parametrize("backend", BACKENDS)


def build(kind: str, backend: str = "eager", *, dtype: torch.dtype = torch.float32) -> Transformer:
    return build_model(
        SPEC,
        load_backend(backend).attend,
        context_length=SEQ_LEN,
        device=CPU,
        dtype=dtype,
        seed=0,
        checkpoint=parse_checkpoint(kind),
    )


def tokens() -> Tensor:
    return torch.randint(SPEC.vocab_size, (BATCH_SIZE, SEQ_LEN), generator=torch.Generator().manual_seed(1))


def step(model: nn.Module, *, autocast: torch.dtype | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits and all gradients."""
    with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        logits = model(tokens())
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens().roll(1).flatten())
    loss.backward()
    return logits.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same_bits(kind: str, backend: str, *, dtype: torch.dtype, autocast: torch.dtype | None = None) -> None:
    expected, expected_gradients = step(build("none", backend, dtype=dtype), autocast=autocast)

    logits, gradients = step(build(kind, backend, dtype=dtype), autocast=autocast)

    assert torch.equal(logits, expected)
    assert [name for name in gradients if not torch.equal(gradients[name], expected_gradients[name])] == []
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@over_kinds
@over_backends
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
def test_logits_and_gradients_are_the_same_to_the_bit(kind: str, backend: str, dtype: torch.dtype):
    assert_same_bits(kind, backend, dtype=dtype)


@over_kinds
@over_backends
def test_logits_and_gradients_are_the_same_to_the_bit_under_autocast(kind: str, backend: str):
    assert_same_bits(kind, backend, dtype=torch.float32, autocast=torch.bfloat16)


@over_kinds
def test_a_checkpointed_model_has_the_same_parameters_by_the_same_names(kind: str):
    plain, checkpointed = build("none").state_dict(), build(kind).state_dict()

    assert list(plain) == list(checkpointed)
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@over_kinds
def test_without_gradients_nothing_is_run_again_or_kept(kind: str):
    model = build(kind)

    with torch.no_grad():
        logits = model(tokens())

    assert not logits.requires_grad


@contextmanager
def calls_of(model: nn.Module, kind: type[nn.Module]) -> Iterator[Counter[str]]:
    """Count the calls of all modules of a kind, by their names."""
    calls: Counter[str] = Counter()
    handles = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: calls.update([name]))
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    yield calls
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("kind", "blocks", "feed_forwards"),
    [("none", 1, 1), ("every:1", 2, 2), ("every:2", 2, 2), ("every:5", 2, 2), ("selective", 2, 2), ("ffn", 1, 2)],
)
def test_what_is_given_up_runs_a_second_time(kind: str, blocks: int, feed_forwards: int):
    model = build(kind)

    with calls_of(model, Block) as of_blocks, calls_of(model, FeedForward) as of_feed_forwards:
        step(model)

    assert set(of_blocks.values()) == {blocks}
    assert set(of_feed_forwards.values()) == {feed_forwards}
    assert (len(of_blocks), len(of_feed_forwards)) == (SPEC.num_layers, SPEC.num_layers)


def test_the_last_group_is_smaller_where_blocks_do_not_divide():
    model, order = build("every:2"), []
    for place, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda module, inputs, place=place: order.append(place))

    step(model)

    assert order == [0, 1, 2, 3, 4, 4, 2, 3, 0, 1]


class OperatorCount(TorchDispatchMode):
    """How often each operator ran."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times[str(func)] += 1
        return func(*args, **(kwargs or {}))


def operators_of_backward(model: nn.Module) -> Counter[str]:
    loss = model(tokens()).square().mean()
    with OperatorCount() as count:
        loss.backward()
    return count.times


def test_selective_runs_no_product_with_weights_again():
    plain, selective, whole = (operators_of_backward(build(kind)) for kind in ("none", "selective", "every:1"))

    product = "aten.mm.default"
    assert selective[product] == plain[product]
    assert whole[product] > plain[product]


@pytest.mark.parametrize("backend", ["eager", "flash-eager"])
def test_selective_runs_attention_of_many_operators_again(backend: str):
    plain, selective = (operators_of_backward(build(kind, backend)) for kind in ("none", "selective"))

    product = "aten.bmm.default"
    products_of_forward = 2 * SPEC.num_layers  # of so few keys flash-eager makes one tile
    assert selective[product] == plain[product] + products_of_forward


def test_selective_does_not_run_fused_attention_again():
    fused = "aten._scaled_dot_product_flash_attention_for_cpu.default"

    selective, whole = (operators_of_backward(build(kind, "sdpa")) for kind in ("selective", "every:1"))

    assert fused in KEPT_OPERATORS
    assert (selective[fused], whole[fused]) == (0, SPEC.num_layers)


def test_selective_runs_norms_and_activations_again():
    selective, plain = (operators_of_backward(build(kind)) for kind in ("selective", "none"))

    assert (plain["aten.silu.default"], selective["aten.silu.default"]) == (0, SPEC.num_layers)


class NewStorages(TorchDispatchMode):
    """What operators made, and how much of it is still there: whatever keeps it, autograd or checkpointing."""

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(returned):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return returned

    def alive_bytes(self) -> int:
        """Return the bytes of those that something still holds."""
        return sum(num_bytes for storage, num_bytes in self._storages.values() if not storage.expired())


def kept_numbers(kind: str, backend: str = "eager") -> int:
    """Count the float32 numbers that are there after forward and were not before."""
    model, batch = build(kind, backend), tokens()
    with NewStorages() as storages:
        logits = model(batch)
    assert logits.requires_grad
    return storages.alive_bytes() // 4


@pytest.mark.parametrize(("kind", "groups"), [("every:1", 5), ("every:2", 3), ("every:3", 2), ("every:4", 2)])
def test_of_each_group_only_the_input_is_kept(kind: str, groups: int):
    one_group = kept_numbers("every:5")

    assert kept_numbers(kind) - one_group == (groups - 1) * STREAM


def test_the_whole_model_as_one_group_keeps_less_than_a_block_without():
    assert kept_numbers("none") - kept_numbers("every:5") > SPEC.num_layers * 10 * STREAM


def test_selective_keeps_the_results_of_the_seven_products_with_weights():
    d, d_kv, d_ff = SPEC.d_model, SPEC.kv_heads * SPEC.d_head, SPEC.d_ff
    each_token = (d + 2 * d_kv) + d + 2 * d_ff + d  # Q, K, V; what attention adds; gate and up; what they add

    kept = kept_numbers("selective") - kept_numbers("every:1")

    assert kept == SPEC.num_layers * BATCH_SIZE * SEQ_LEN * each_token


def test_selective_keeps_of_fused_attention_its_result_and_the_log_sum_exp():
    lse = BATCH_SIZE * SEQ_LEN * SPEC.num_heads

    kept = kept_numbers("selective", "sdpa") - kept_numbers("selective", "eager")

    assert kept == SPEC.num_layers * (STREAM + lse)


def test_ffn_gives_up_the_inner_activations_of_each_feed_forward_layer():
    inner = BATCH_SIZE * SEQ_LEN * (4 * SPEC.d_ff + SPEC.d_model)  # gate, up, silu(gate), their product; the norm

    given_up = kept_numbers("none") - kept_numbers("ffn")

    assert given_up >= SPEC.num_layers * inner


def test_flash_triton_is_one_operator_to_whoever_watches_and_none_otherwise(monkeypatch: pytest.MonkeyPatch):
    """Or selective checkpointing could not keep what its kernels return."""
    seen: list[str] = []

    def fake(name: str) -> Callable[..., tuple[Tensor, Tensor]]:
        def run(q: Tensor, k: Tensor, v: Tensor, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
            seen.append(name)
            return q * 1, q[..., 0].float()

        return run

    monkeypatch.setattr(flash_triton, "_forward", fake("launch"))
    monkeypatch.setattr(flash_triton, "_forward_op", fake("operator"))
    q = torch.randn(1, 2, 3, 16, requires_grad=True)

    flash_triton.attend(q, q, q, is_causal=True)
    run_again_in_part(lambda q: flash_triton.attend(q, q, q, is_causal=True), q)

    assert seen == ["launch", "operator"]


@pytest.mark.gpu
def test_selective_keeps_what_flash_triton_returns():
    model = build_model(
        SPEC.model_copy(update={"d_model": 64, "num_heads": 2, "num_kv_heads": 1}),
        load_backend("flash-triton").attend,
        context_length=SEQ_LEN,
        device=torch.device("cuda", 0),
        dtype=torch.bfloat16,
        seed=0,
        checkpoint=parse_checkpoint("selective"),
    )
    loss = model(tokens().cuda()).square().mean()

    with OperatorCount() as count:
        loss.backward()

    assert (count.times["windtunnel.flash_forward.default"], count.times["windtunnel.flash_backward.default"]) == (0, 5)


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch.compile does that itself
@over_kinds
@pytest.mark.parametrize("backend", ["eager", "sdpa", "flash-eager"])
def test_a_compiled_model_is_one_graph_and_computes_the_same(kind: str, backend: str):
    torch.compiler.reset()
    model, compiled = build("none", backend), build(kind, backend)
    expected, expected_gradients = step(model)

    logits, gradients = step(torch.compile(compiled, fullgraph=True, backend="aot_eager_decomp_partition"))

    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        {name.removeprefix("_orig_mod."): g for name, g in gradients.items()}, expected_gradients
    )
