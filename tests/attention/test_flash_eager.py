"""FlashAttention-2 in tiles: its gradient is right, it keeps what it must and no more, and skips what nobody sees."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import windtunnel.attention
from windtunnel.attention import FlashAttention2Eager, flash_eager
from windtunnel.errors import SpecError

MASKS = [
    pytest.param(False, None, id="full"),
    pytest.param(True, None, id="causal"),
    pytest.param(True, 1, id="window-1"),
    pytest.param(True, 5, id="window-5"),
]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even a few rows take several tiles, which do not divide them."""
    monkeypatch.setattr(flash_eager, "Q_TILE", 4)
    monkeypatch.setattr(flash_eager, "K_TILE", 3)


def normal(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)), dtype=dtype).requires_grad_()


class Operators(TorchDispatchMode):
    """The name of each operator that torch runs, and the numbers in its largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            self.sizes.append((func.overloadpacket.__name__, found.numel()))
        return found

    def products(self) -> int:
        return sum(name in {"bmm", "mm"} for name, _ in self.sizes)


@pytest.mark.parametrize(("is_causal", "window"), MASKS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (9, 10), (7, 7)], ids=str)
@pytest.mark.usefixtures("small_tiles")
def test_the_gradient_is_that_of_the_forward(is_causal: bool, window: int | None, shape: tuple[int, int]):
    queries, keys = shape
    q, k, v = normal(1, 4, queries, 3), normal(1, 2, keys, 3), normal(1, 2, keys, 3)

    assert torch.autograd.gradcheck(lambda q, k, v: FlashAttention2Eager.apply(q, k, v, is_causal, window), (q, k, v))


@pytest.mark.parametrize(("is_causal", "window"), MASKS)
def test_the_size_of_tiles_does_not_matter(monkeypatch: pytest.MonkeyPatch, is_causal: bool, window: int | None):
    q, k = normal(2, 3, 11, 4), normal(2, 3, 13, 4)
    whole = FlashAttention2Eager.apply(q, k, k, is_causal, window)
    monkeypatch.setattr(flash_eager, "Q_TILE", 3)
    monkeypatch.setattr(flash_eager, "K_TILE", 2)

    tiled = FlashAttention2Eager.apply(q, k, k, is_causal, window)

    torch.testing.assert_close(tiled, whole, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
@pytest.mark.usefixtures("small_tiles")
def test_the_log_sum_exp_is_saved_once_in_the_shape_of_the_rows(is_causal: bool):
    q, k = normal(2, 4, 9, 8), normal(2, 2, 9, 8)
    scores = q @ k.repeat_interleave(2, dim=1).mT / 8**0.5
    if is_causal:
        scores = scores.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), float("-inf"))

    o = FlashAttention2Eager.apply(q, k, k, is_causal)

    saved = [tensor for tensor in o.grad_fn.saved_tensors if tensor.shape == q.shape[:-1]]
    assert len(saved) == 1
    torch.testing.assert_close(saved[0], scores.logsumexp(-1))


@pytest.mark.parametrize(
    ("dtype", "kept"), [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)]
)
def test_statistics_are_in_float32_at_least(dtype: torch.dtype, kept: torch.dtype):
    q = normal(1, 5, 8, dtype=dtype)

    o = FlashAttention2Eager.apply(q, q, q)

    (L,) = (tensor for tensor in o.grad_fn.saved_tensors if tensor.shape == q.shape[:-1])
    assert L.dtype == kept


def test_the_mask_may_be_given_by_position_or_by_name():
    q = normal(1, 5, 8)

    by_name = FlashAttention2Eager.apply(q, q, q, is_causal=True, window=2)

    assert torch.equal(by_name, FlashAttention2Eager.apply(q, q, q, True, 2))
    assert not torch.equal(by_name, FlashAttention2Eager.apply(q, q, q))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 2, 3)], ids=str)
def test_any_number_of_leading_axes_will_do(lead: tuple[int, ...]):
    q, k, v = normal(*lead, 5, 4), normal(*lead, 6, 4), normal(*lead, 6, 4)
    expected = torch.softmax(q @ k.mT / 2, dim=-1) @ v

    o = FlashAttention2Eager.apply(q, k, v)

    torch.testing.assert_close(o, expected)
    assert [g.shape for g in torch.autograd.grad(o.sum(), (q, k, v))] == [q.shape, k.shape, v.shape]


@pytest.mark.parametrize(
    ("q", "k", "mask"),
    [
        pytest.param((1, 9, 4), (1, 5, 4), {"is_causal": True, "window": 2}, id="a query that sees no key"),
        pytest.param((1, 5, 4), (1, 5, 4), {"window": 2}, id="a window without a causal mask"),
        pytest.param((1, 3, 5, 4), (1, 2, 5, 4), {}, id="heads that do not divide"),
        pytest.param((1, 5, 257), (1, 5, 257), {}, id="a head that is too wide"),
    ],
)
def test_what_cannot_be_attended_with_is_refused_before_anything_runs(
    q: tuple[int, ...], k: tuple[int, ...], mask: dict[str, object]
):
    inputs = normal(*q), normal(*k), normal(*k)

    with Operators() as operators, pytest.raises(SpecError):
        FlashAttention2Eager.apply(*inputs, **mask)

    assert operators.sizes == []


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"device": "meta"}, id="another device"),
        pytest.param({"dtype": torch.float16}, id="another dtype"),
    ],
)
@pytest.mark.parametrize("is_autocast", [False, True])
def test_keys_of_another_kind_than_the_queries_are_refused(others: dict[str, object], is_autocast: bool):
    q, k = torch.ones(1, 5, 4, dtype=torch.float64), torch.ones(1, 5, 4, **others)

    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast), pytest.raises(SpecError):
        FlashAttention2Eager.apply(q, k, k)


def test_autocast_decides_on_the_dtype_and_gradients_keep_theirs():
    q, k, v = (torch.randn(1, 2, 300, 16, requires_grad=True) for _ in range(3))
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in (q, k, v)]
    dO = torch.randn(1, 2, 300, 16).bfloat16()

    with torch.autocast("cpu", torch.bfloat16):
        o = FlashAttention2Eager.apply(q, k, v, True)
    gradients = torch.autograd.grad(o, (q, k, v), dO)

    expected = FlashAttention2Eager.apply(*half, True)
    assert o.dtype == torch.bfloat16
    assert torch.equal(o, expected)
    for found, wanted in zip(gradients, torch.autograd.grad(expected, half, dO), strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, wanted.float())


def test_no_tensor_ever_holds_more_than_a_tile_of_scores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flash_eager, "Q_TILE", 16)
    monkeypatch.setattr(flash_eager, "K_TILE", 16)
    q = normal(1, 2, 256, 4)

    with Operators() as operators:
        FlashAttention2Eager.apply(q, q, q, True).sum().backward()

    assert max(size for _, size in operators.sizes) == q.numel()


@pytest.mark.parametrize(
    ("is_causal", "window", "tiles"), [(False, None, 64), (True, None, 36), (True, 8, 15), (True, 1, 8)]
)
def test_tiles_that_no_query_sees_are_skipped(
    monkeypatch: pytest.MonkeyPatch, is_causal: bool, window: int | None, tiles: int
):
    """Two products a tile in forward, five in backward; of 8 * 8 tiles."""
    monkeypatch.setattr(flash_eager, "Q_TILE", 8)
    monkeypatch.setattr(flash_eager, "K_TILE", 8)
    q = normal(1, 64, 4)

    with Operators() as forward:
        o = FlashAttention2Eager.apply(q, q, q, is_causal, window)
    with Operators() as backward:
        o.backward(torch.ones_like(o))

    assert (forward.products(), backward.products()) == (2 * tiles, 5 * tiles)


def test_its_gradient_has_no_gradient():
    """Said so, rather than computed wrong."""
    q = normal(1, 3, 2)
    o = FlashAttention2Eager.apply(q, q, q)
    (dq,) = torch.autograd.grad(o.square().sum(), q, create_graph=True)

    with pytest.raises(RuntimeError, match="once_differentiable"):
        dq.sum().backward()


def test_the_room_hands_it_out_by_name():
    assert windtunnel.attention.FlashAttention2Eager is flash_eager.FlashAttention2Eager
