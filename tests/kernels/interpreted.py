"""The flash kernels in Triton's interpreter, on a CPU; test_interpreter.py runs this file in a process of its own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import Tensor

from flash_cases import Case, error_budget, faults_of, make_cases
from windtunnel.attention.flash_triton import FlashAttention2Triton, attend
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.kernels import flash_backward, flash_forward, tiles
from windtunnel.kernels.blocks import IS_INTERPRETED, Launch, can_describe
from windtunnel.kernels.tiles import Tile, Tiles

assert IS_INTERPRETED, "run by test_interpreter.py, with TRITON_INTERPRET=1"

pytestmark = [
    # Rows after the last query are computed and thrown away: numpy warns of their 0 / 0.
    pytest.mark.filterwarnings("ignore:(invalid value|divide by zero) encountered:RuntimeWarning"),
    # The interpreter of Triton 3.6 takes arrays of one number for numbers.
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning"),
    # torch.compile does that itself.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

WIDE, TALL = Tile(16, 32, 4, 1), Tile(32, 16, 4, 1)
CASES = make_cases(16, 32, (1, 3, 16, 24, 64, 80))
DTYPES = (torch.float32, torch.float16)  # the interpreter's bfloat16 products are wrong

over_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tiles, so that a few rows have edges of all kinds."""
    monkeypatch.setattr(tiles, "tiles_for", lambda *args, **kwargs: Tiles(WIDE, WIDE, TALL))


@pytest.fixture(autouse=True)
def _nan_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is NaN until it is written."""
    for name in ("empty", "empty_like"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, make=make, **kwargs: make(*args, **kwargs).fill_(float("nan")))


def attend_with_lse(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
    O = FlashAttention2Triton.apply(q, k, v, is_causal, window)
    return O, O.grad_fn.saved_tensors[4]


@pytest.mark.parametrize("case", CASES, ids=str)
@over_dtypes
def test_errors_are_within_twice_those_of_the_plain_formula(case: Case, dtype: torch.dtype):
    budget = error_budget(CASES, dtype, "cpu")

    faults = faults_of(attend_with_lse, case, dtype, "cpu", budget)

    assert faults == {}


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_the_other_way_round_of_the_tiles_is_right_too(case: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiles, "tiles_for", lambda *args, **kwargs: Tiles(TALL, TALL, WIDE))

    faults = faults_of(attend_with_lse, case, torch.float32, "cpu", error_budget(CASES, torch.float32, "cpu"))

    assert faults == {}


@pytest.mark.parametrize("case", CASES[::3], ids=str)
@over_dtypes
def test_tiles_that_are_read_through_descriptors_are_right_too(
    case: Case, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    """Where the layout allows it; all other cases are read through pointers."""

    def choose(*args: object, can_describe: bool, **kwargs: object) -> Tiles:
        return Tiles(*(tile._replace(is_described=can_describe) for tile in (WIDE, TALL, WIDE)))

    monkeypatch.setattr(tiles, "tiles_for", choose)

    faults = faults_of(attend_with_lse, case, dtype, "cpu", error_budget(CASES, dtype, "cpu"))

    assert faults == {}


@pytest.mark.parametrize(
    ("tensor", "is_described"),
    [
        (torch.empty(2, 3, 5, 24), True),
        (torch.empty(2, 5, 3, 24).transpose(1, 2), True),
        (torch.empty(2, 3, 5, 22), False),
        (torch.empty(2, 3, 5, 24)[..., 1:], False),
        (torch.empty(2, 3, 24, 5).mT, False),
        (torch.empty(2, 3, 1, 24).expand(2, 3, 5, 24), False),
        (torch.empty(2, 3, 5, 24, dtype=torch.float16), True),
        (torch.empty(2, 3, 5, 20, dtype=torch.float16), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else f"{tuple(value.shape)} {value.stride()}",
)
def test_the_copy_engine_is_asked_only_for_layouts_that_it_takes(tensor: Tensor, is_described: bool):
    assert can_describe(tensor) is is_described


def change_argument(position: int, value: object) -> Callable[[Launch], Launch]:
    def change(launch: Launch) -> Launch:
        arguments = list(launch.arguments)
        arguments[position] = value
        return replace(launch, arguments=tuple(arguments))

    return change


def leave_out_the_last_tile(launch: Launch) -> Launch:
    return replace(launch, grid=(launch.grid[0] - 1,))


def mask_nothing(launch: Launch) -> Launch:
    return replace(launch, constants=launch.constants | {"IS_CAUSAL": False})


def plant(bug: Callable[[Launch], Launch], launch: tuple[ModuleType, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every launch of a kind changed."""
    module, name = launch
    make = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: bug(make(*args, **kwargs)))


LAUNCHES = ((flash_forward, "forward_launch"), (flash_backward, "dq_launch"), (flash_backward, "dkdv_launch"))

WINDOWED = Case(queries=35, keys=35, is_causal=True, window=9)
CAUSAL = replace(WINDOWED, window=None)
FULL = replace(CAUSAL, is_causal=False)


@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda launch: launch[1])
@pytest.mark.parametrize(
    ("bug", "case"),
    [
        pytest.param(change_argument(-1, 1.0), FULL, id="no scale"),
        pytest.param(change_argument(-2, 8), WINDOWED, id="window too short"),
        pytest.param(change_argument(-2, 10), WINDOWED, id="window too long"),
        pytest.param(leave_out_the_last_tile, FULL, id="last tile not written"),
        pytest.param(mask_nothing, CAUSAL, id="no mask"),
    ],
)
def test_a_planted_bug_is_found(
    launch: tuple[ModuleType, str], bug: Callable[[Launch], Launch], case: Case, monkeypatch: pytest.MonkeyPatch
):
    plant(bug, launch, monkeypatch)

    assert faults_of(attend_with_lse, case, torch.float32, "cpu", error_budget(CASES, torch.float32, "cpu"))


@pytest.mark.parametrize(("launch", "group_size"), [(LAUNCHES[0], 4), (LAUNCHES[1], 4), (LAUNCHES[2], 1)], ids=str)
def test_a_head_that_reads_the_wrong_keys_is_found(
    launch: tuple[ModuleType, str], group_size: int, monkeypatch: pytest.MonkeyPatch
):
    case = replace(FULL, heads=4, kv_heads=2)

    plant(change_argument(-5, group_size), launch, monkeypatch)

    assert faults_of(attend_with_lse, case, torch.float32, "cpu", error_budget(CASES, torch.float32, "cpu"))


@pytest.mark.parametrize("module", [flash_forward, flash_backward], ids=lambda module: module.__name__)
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_mask_that_is_off_by_one_is_found(module: ModuleType, shift: int, monkeypatch: pytest.MonkeyPatch):
    right = module.is_visible
    monkeypatch.setattr(module, "is_visible", lambda m0, *args, **kwargs: right(m0 + shift, *args, **kwargs))

    assert faults_of(attend_with_lse, CAUSAL, torch.float32, "cpu", error_budget(CASES, torch.float32, "cpu"))


def test_only_inputs_output_and_one_number_a_row_are_kept():
    q, k = torch.randn(2, 4, 17, 24, requires_grad=True), torch.randn(2, 2, 19, 24, requires_grad=True)

    O = FlashAttention2Triton.apply(q, k, k)

    saved = O.grad_fn.saved_tensors
    assert [tensor.shape for tensor in saved] == [q.shape, k.shape, k.shape, q.shape, q.shape[:-1]]
    assert saved[4].dtype == torch.float32


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 2, 3)], ids=str)
def test_any_number_of_leading_axes_is_taken(leading: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(*leading, 17, 16, generator=generator, requires_grad=True) for _ in range(3))
    expected = torch.softmax(q @ k.mT / 4, -1) @ v

    O = FlashAttention2Triton.apply(q, k, v)

    torch.testing.assert_close(O, expected)
    assert O.grad_fn.saved_tensors[4].shape == q.shape[:-1]
    gradients, expected_gradients = (torch.autograd.grad(of.sum(), (q, k, v)) for of in (O, expected))
    torch.testing.assert_close(gradients, expected_gradients)


def test_keywords_are_taken():
    q = torch.randn(1, 1, 5, 16, generator=torch.Generator().manual_seed(0))

    assert torch.equal(
        FlashAttention2Triton.apply(q, q, q, is_causal=True, window=2), FlashAttention2Triton.apply(q, q, q, True, 2)
    )


def test_autocast_decides_on_the_dtype_and_gradients_keep_theirs():
    q, k, v = (torch.randn(1, 1, 17, 16, requires_grad=True) for _ in range(3))

    with torch.autocast("cpu", torch.float16):
        O = attend(q, k, v, is_causal=True)
    O.sum().backward()

    assert O.dtype == torch.float16
    assert q.grad.dtype == k.grad.dtype == v.grad.dtype == torch.float32


def test_the_output_lies_in_memory_as_the_queries_do():
    """So the transposition before the output projection costs nothing."""
    q = torch.randn(2, 17, 3, 16).transpose(1, 2)

    assert FlashAttention2Triton.apply(q, q, q).stride() == q.stride()


@pytest.mark.parametrize(
    ("q", "k", "fault"),
    [
        (torch.randn(1, 3, 5, 16), torch.randn(1, 2, 5, 16), "2 key heads do not divide 3 query heads"),
        (torch.randn(1, 5, 257), torch.randn(1, 5, 257), "d_head, the last axis, may be at most 256"),
        (torch.randn(1, 5, 16), torch.randn(1, 5, 16, device="meta"), "they must be on one device"),
    ],
)
@pytest.mark.parametrize("is_autocast", [False, True])
def test_tensors_that_do_not_fit_each_other_are_refused(q: Tensor, k: Tensor, fault: str, is_autocast: bool):
    with torch.autocast("cpu", torch.float16, enabled=is_autocast), pytest.raises(SpecError, match=fault):
        FlashAttention2Triton.apply(q, k, k)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (torch.randn(1, 1, 5, 16, dtype=torch.float64), "does not take torch.float64; it takes float32, float16"),
        (torch.randn(1).as_strided((1, 1, 1, 16), (0, 0, 2**23, 0)), "call q.contiguous\\(\\) first"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(q: Tensor, message: str):
    with pytest.raises(UnsupportedError, match=message):
        FlashAttention2Triton.apply(q, q, q)


@pytest.mark.compile
@pytest.mark.parametrize("window", [None, 7])
def test_the_whole_graph_is_compiled(window: int | None):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 35, 24, generator=generator, requires_grad=True) for _ in range(3))

    def twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return 2 * FlashAttention2Triton.apply(q, k, v, is_causal=True, window=window)

    eager, compiled = twice(q, k, v), torch.compile(twice, fullgraph=True)(q, k, v)

    assert torch.equal(compiled, eager)
    gradients, expected = (torch.autograd.grad(O.sum(), (q, k, v)) for O in (compiled, eager))
    torch.testing.assert_close(gradients, expected)


@pytest.mark.compile
def test_the_whole_graph_is_compiled_under_autocast():
    q, k, v = (torch.randn(2, 2, 35, 24, requires_grad=True) for _ in range(3))

    with torch.autocast("cpu", torch.float16):
        O = torch.compile(partial(attend, is_causal=True), fullgraph=True)(q, k, v)
    O.sum().backward()

    assert O.dtype == torch.float16
    assert q.grad.dtype == torch.float32
