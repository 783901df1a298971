"""Which cell of B stands against which cell of A, and what is no match."""

from typing import Any

import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import Task
from windtunnel.spec.sides import match_backends, match_sides
from windtunnel.spec.sweep import AnySweep, make_sweep

BASE: dict[str, Any] = {"size": "small", "mode": "forward", "context": 8}


def sweep(**fields: Any) -> AnySweep:
    return make_sweep(BASE | fields)


def match(a: dict[str, Any], b: dict[str, Any]) -> tuple[tuple[Task, Task], ...]:
    return match_sides(sweep(**a), sweep(**b), "cpu")


def refused(a: dict[str, Any], b: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        match(a, b)
    return str(caught.value)


def test_what_differs_has_one_value_on_each_side_and_the_rest_is_a_grid():
    grid = {"context": [8, 16], "mode": ["forward", "train_step"]}

    pairs = match(grid | {"attention": "eager"}, grid | {"attention": "sdpa"})

    assert [(a.cell.context_length, a.cell.workload) for a, _ in pairs] == [
        (context, mode) for context in (8, 16) for mode in ("forward", "train_step")
    ]
    assert all(b.cell == a.cell.model_copy(update={"attention": "sdpa"}) for a, b in pairs)


def test_the_order_of_an_axis_may_be_another_on_each_side():
    pairs = match({"context": [8, 16]}, {"context": [16, 8]})

    assert [(a.cell.context_length, b.cell.context_length) for a, b in pairs] == [(8, 8), (16, 16)]


def test_shapes_of_ones_own_match_whatever_they_are():
    shape = {"size": [], "d_model": 32, "heads": 2}

    pairs = match(shape | {"layers": 1}, shape | {"layers": 4})

    assert [(a.cell.model.num_layers, b.cell.model.num_layers) for a, b in pairs] == [(1, 4)]


def test_named_sizes_match_by_name_where_a_side_overrides_their_shape():
    pairs = match({"size": ["small", "medium"], "layers": 2}, {"size": ["small", "medium"]})

    assert [b.cell.model.name for _, b in pairs] == ["small", "medium"]
    assert all(a.cell.model.num_layers == 2 and a.cell.model.name.startswith(b.cell.model.name) for a, b in pairs)


def test_the_same_sweep_twice_is_a_check_of_the_tool():
    assert [a == b for a, b in match({}, {})] == [True]


def test_of_the_plan_only_the_warm_up_is_kept():
    ((a, b),) = match({"steps": 99, "warmup": 3}, {"target": "1%", "warmup": 3})

    assert a == b
    assert a.plan.warmup == 3
    assert a.plan.target is None


def test_lists_in_which_the_sides_differ_are_refused():
    message = refused({"attention": "eager"}, {"attention": ["eager", "sdpa"]})

    assert message == (
        "A has attention eager and B attention eager, sdpa: an axis in which the sides differ has one value on each; "
        "lists are for what both share"
    )


def test_a_point_that_one_side_leaves_out_is_named():
    left_out = {"exclude": [{"context": 8, "mode": "train_step", "reason": "known"}]}
    grid = {"context": [8, 16], "mode": ["forward", "train_step"]}

    message = refused(grid, grid | left_out)

    assert message.startswith("A has 4 cells and B 3, which do not match one to one: only A has size small, ")
    assert "context 8, mode train_step" in message
    assert message.endswith("; exclude the same points on both sides")


def test_a_cold_start_has_no_pairs():
    assert refused({"warmup": [0, 5]}, {"warmup": [0, 5]}).startswith("side A asks for warm-up 0, the cold start")


def attention(**fields: Any) -> AttentionSweep:
    made = make_sweep({"kind": "attention", "seq": 8, "heads": 2, "d": 16} | fields)
    assert isinstance(made, AttentionSweep)
    return made


def test_two_sweeps_of_attention_match_at_each_point_that_they_share():
    a, b = (attention(backend=backend, seq=[8, 16], heads=[2, 4]) for backend in ("eager", "sdpa"))

    pairs = match_sides(a, b, "cpu")

    assert [(of_a.cell.model.num_heads, of_a.cell.context_length) for of_a, _ in pairs] == [
        (2, 8),
        (2, 16),
        (4, 8),
        (4, 16),
    ]
    assert all(of_b.cell == of_a.cell.model_copy(update={"attention": "sdpa"}) for of_a, of_b in pairs)


def test_the_cache_is_kept_on_both_sides():
    ((a, b),) = match_sides(attention(backend="eager"), attention(backend="sdpa", cache="warm"), "cpu")

    assert (a.plan.cache, b.plan.cache) == ("cold", "warm")


def test_a_step_of_a_model_does_not_match_attention_alone():
    with pytest.raises(SpecError, match="A is a sweep of kind 'step' and B of 'attention'"):
        match_sides(sweep(), attention(), "cpu")


def test_backends_are_compared_at_each_point_that_both_have():
    grid = attention(
        backend=["eager", "sdpa", "flex"],
        compare=["eager/sdpa", "flex/eager"],
        seq=[8, 16],
        exclude=[{"backend": "flex", "seq": 8, "reason": "known"}],
    )

    pairs = match_backends(grid, "cpu")

    assert [(a.cell.attention, b.cell.attention, a.cell.context_length, b.cell.context_length) for a, b in pairs] == [
        ("eager", "sdpa", 8, 8),
        ("eager", "sdpa", 16, 16),
        ("flex", "eager", 16, 16),
    ]
    assert {task.key() for pair in pairs for task in pair} <= {task.key() for task in grid.expand("cpu")}


def test_a_cold_start_is_left_out_of_the_comparisons_of_a_sweep():
    pairs = match_backends(attention(compare="eager/sdpa", warmup=[0, 3]), "cpu")

    assert [a.plan.warmup for a, _ in pairs] == [3]
