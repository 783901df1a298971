"""Every backend of the table that runs on a CPU computes the formula, forward and backward."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from attending import (
    Case,
    attend_with_gradients,
    budgets,
    draw,
    errors,
    faults,
    with_masks,
)
from windtunnel.attention import flash_eager
from windtunnel.attention.backend import load_backend
from windtunnel.spec.tables import ATTENTION_BACKENDS

CPU = torch.device("cpu")
BACKENDS = {name: load_backend(name) for name in ATTENTION_BACKENDS}
ON_CPU = [name for name, backend in BACKENDS.items() if "cpu" in backend.abilities.dtypes]
PLAIN = [name for name in ON_CPU if not BACKENDS[name].abilities.is_compiled]
COMPILED = [name for name in ON_CPU if BACKENDS[name].abilities.is_compiled]

SMALL = with_masks(
    Case(queries=1, keys=1, d_head=2),
    Case(queries=2, keys=2, kv_heads=1, d_head=4, batch=2),
    Case(queries=5, keys=5, heads=6, d_head=6),
    Case(queries=17, keys=17, heads=3, kv_heads=3, d_head=10),
    Case(queries=33, keys=33, heads=4, kv_heads=2, d_head=16),
    Case(queries=5, keys=3, batch=2),
    Case(queries=1, keys=7, heads=3, kv_heads=1, d_head=2),
    Case(queries=3, keys=65, kv_heads=1, d_head=32),
    windows=(1, 4, 40),
)
AROUND_A_TILE = with_masks(
    Case(queries=flash_eager.Q_TILE - 1, keys=flash_eager.K_TILE + 1),
    Case(queries=flash_eager.Q_TILE + 1, keys=flash_eager.K_TILE - 1, kv_heads=1),
    Case(queries=flash_eager.Q_TILE + 1, keys=flash_eager.K_TILE + 1),
    Case(queries=2 * flash_eager.Q_TILE, keys=2 * flash_eager.K_TILE, heads=1, kv_heads=1),
    windows=(1, flash_eager.K_TILE - 1, flash_eager.K_TILE + 1),
)
CASES = (*SMALL, *AROUND_A_TILE)
COMPILED_CASES = (
    Case(queries=33, keys=33, heads=4, kv_heads=2, d_head=16, is_causal=True),
    Case(queries=17, keys=40, d_head=16, is_causal=True, window=5),
    Case(queries=40, keys=17, d_head=16),
)

ROUNDED = [
    pytest.param(name, getattr(torch, dtype), id=f"{name}-{dtype}")
    for name in PLAIN
    for dtype in BACKENDS[name].abilities.dtypes["cpu"]
    if dtype != "float64"
]


def over_all_that_is_declared(*dtypes: torch.dtype) -> pytest.MarkDecorator:
    """Call the test with each backend, dtype and case that goes together; what does not is refused elsewhere."""
    return pytest.mark.parametrize(
        ("name", "dtype", "case"),
        [
            pytest.param(name, dtype, case, id=f"{name}-{str(dtype).removeprefix('torch.')}-{case}")
            for name in PLAIN
            for dtype in dtypes
            for case in CASES
            if case.is_taken_by(BACKENDS[name], CPU, dtype)
        ],
    )


budget_of = cache(lambda dtype: budgets(CASES, dtype))


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Let all memory that is handed out be NaN until it is written."""
    torch.use_deterministic_algorithms(True)  # `fill_uninitialized_memory` is on, and has no effect without it
    yield
    torch.use_deterministic_algorithms(False)


@over_all_that_is_declared(torch.float32, torch.float16, torch.bfloat16)
def test_errors_are_within_twice_those_of_the_plain_formula(name: str, dtype: torch.dtype, case: Case):
    found = attend_with_gradients(BACKENDS[name].run, case, draw(case, dtype))

    assert faults(found, case, dtype, budget_of(dtype)) == {}


@over_all_that_is_declared(torch.float64)
def test_float64_is_exact_up_to_the_order_of_sums(name: str, dtype: torch.dtype, case: Case):
    found = attend_with_gradients(BACKENDS[name].run, case, draw(case, dtype))

    for part, error in errors(found, case, dtype).items():
        assert error <= 1e-14, part


@pytest.mark.compile
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, torch.float32) for case in COMPILED_CASES), (COMPILED_CASES[0], torch.bfloat16)],
    ids=str,
)
def test_compiled_backends_keep_the_same_budget(name: str, case: Case, dtype: torch.dtype):
    backend = load_backend(name)

    found = attend_with_gradients(
        backend.run, case, draw(case, dtype), has_backward=backend.abilities.has_backward("cpu")
    )

    assert faults(found, case, dtype, budget_of(dtype)) == {}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.usefixtures("poisoned")
def test_every_number_of_the_result_is_written(name: str):
    case = Case(queries=flash_eager.Q_TILE + 1, keys=flash_eager.K_TILE + 1, is_causal=True)

    found = attend_with_gradients(BACKENDS[name].run, case, draw(case, torch.float32))

    assert faults(found, case, torch.float32, budget_of(torch.float32)) == {}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("is_grouped", [False, True], ids=["each", "grouped"])
def test_inputs_may_lie_in_memory_as_the_model_leaves_them(name: str, is_grouped: bool):
    """Heads lie beside one another there; and the gradient of a sum has no memory of its own at all."""
    case = Case(queries=9, keys=9, heads=4, kv_heads=2 if is_grouped else 4, is_causal=True)
    q, k, v, do = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in draw(case, torch.float32))
    straight = attend_with_gradients(BACKENDS[name].run, case, (*draw(case, torch.float32)[:3], torch.ones_like(do)))

    found = attend_with_gradients(BACKENDS[name].run, case, (q, k, v, torch.ones(()).expand_as(do)))

    for part, tensor in found.items():
        torch.testing.assert_close(tensor, straight[part], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "dtype"), ROUNDED)
def test_the_result_has_the_dtype_of_the_queries(name: str, dtype: torch.dtype):
    q, k, v, _ = draw(Case(queries=3, keys=3, kv_heads=1), dtype)

    o = BACKENDS[name].attend(q, k, v, is_causal=True)

    assert o.dtype == dtype


@pytest.mark.parametrize("name", PLAIN)
def test_the_inputs_stay_as_they_are(name: str):
    case = Case(queries=5, keys=5, kv_heads=1, is_causal=True)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in draw(case, torch.float32)[:3])
    copies = [tensor.detach().clone() for tensor in inputs]

    BACKENDS[name].attend(*inputs, is_causal=True).sum().backward()

    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, copies, strict=True))


def without_scale(scores):
    def planted(q_tile: Tensor, *args: object, **mask: object) -> Tensor:
        return scores(q_tile, *args, **mask) * q_tile.shape[-1] ** 0.5

    return planted


def one_key_too_many(hidden):
    def planted(rows: slice, columns: slice, **mask: object) -> Tensor | None:
        return hidden(slice(rows.start + 1, rows.stop + 1), columns, **mask)

    return planted


def one_key_too_few(hidden):
    def planted(rows: slice, columns: slice, **mask: object) -> Tensor | None:
        return hidden(rows, slice(columns.start + 1, columns.stop + 1), **mask)

    return planted


def window_too_wide(hidden):
    def planted(rows: slice, columns: slice, *, window: int | None, **mask: object) -> Tensor | None:
        return hidden(rows, columns, window=None if window is None else window + 1, **mask)

    return planted


def without_the_last_tile(visible_tiles):
    def planted(rows: slice, num_keys: int, **mask: object) -> Iterator[slice]:
        return iter(list(visible_tiles(rows, num_keys, **mask))[: -1 if num_keys > flash_eager.K_TILE else None])

    return planted


def without_the_tail(tiles):
    def planted(begin: int, end: int, size: int) -> Iterator[slice]:
        return (tile for tile in tiles(begin, end, size) if tile.stop - tile.start == size)

    return planted


@pytest.mark.parametrize(
    ("function", "plant"),
    [
        ("_scores", without_scale),
        ("_hidden", one_key_too_many),
        ("_hidden", one_key_too_few),
        ("_hidden", window_too_wide),
        ("_visible_tiles", without_the_last_tile),
        ("_tiles", without_the_tail),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.usefixtures("poisoned")
def test_a_planted_bug_is_found_by_these_cases(monkeypatch: pytest.MonkeyPatch, function: str, plant, dtype):
    budget = budget_of(dtype)
    monkeypatch.setattr(flash_eager, function, plant(getattr(flash_eager, function)))

    caught = [
        case
        for case in CASES
        if faults(attend_with_gradients(flash_eager.attend, case, draw(case, dtype)), case, dtype, budget)
    ]

    assert caught


def test_the_cases_hold_for_the_code_without_a_planted_bug():
    """So what the test above finds are the bugs."""
    caught = [
        case
        for case in CASES
        if faults(
            attend_with_gradients(flash_eager.attend, case, draw(case, torch.float32)),
            case,
            torch.float32,
            budget_of(torch.float32),
        )
    ]

    assert caught == []
