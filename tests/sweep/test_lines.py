import pytest

from windtunnel.cost.step import cost_of
from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell
from windtunnel.spec.frontier import Frontier, make_frontier
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.lines import Line, lines_of


def lines(frontier: Frontier, limit: int | None = None) -> tuple[Line, ...]:
    return lines_of(frontier, device="cpu", memory_limit_bytes=limit)


def line(**fields: object) -> Line:
    """Return the one line of a search along the context of small."""
    (only,) = lines(make_frontier(make_sweep({"size": "small", "mode": "forward"}), **fields))
    return only


def test_there_is_a_line_for_each_point_of_the_other_axes():
    sweep = make_sweep({"size": ["small", "xl"], "mode": "forward", "precision": ["fp32", "bf16"], "batch": [1, 2]})

    found = lines(make_frontier(sweep))

    assert len(found) == 8
    assert len({one.identity for one in found}) == 8


def test_values_of_the_searched_axis_and_warm_ups_make_no_lines():
    sweep = make_sweep({"size": "small", "mode": "forward", "context": [128, 256], "warmup": [0, 5]})

    assert len(lines(make_frontier(sweep))) == 1


def test_a_probe_is_the_cell_with_its_value_and_two_steps_under_the_limit():
    (only,) = lines(make_frontier(make_sweep({"size": "small", "mode": "forward"}), granularity=64), limit=2**30)

    task = only.task(2)

    assert task.cell.context_length == 192
    assert (task.plan.warmup, task.plan.steps, task.plan.purpose) == (1, 1, "fit")
    assert task.plan.memory_limit_bytes == 2**30
    assert only.holds(task.cell, task.plan)


def test_sizes_are_in_the_order_of_their_parameters():
    sweep = make_sweep({"size": ["xl", "small", "2.7B"], "mode": "forward"})

    (only,) = lines(make_frontier(sweep, along="size"))

    assert [only.value(place) for place in range(len(only))] == ["small", "xl", "2.7B"]


def test_a_model_of_ones_own_has_no_size_to_search_along():
    sweep = make_sweep({"model": "my_package:make", "mode": "forward"})

    with pytest.raises(SpecError, match="has no size to search along"):
        lines(make_frontier(sweep, along="size"))


def test_attention_alone_is_searched_along_its_sequence():
    sweep = make_sweep({"kind": "attention", "d": [16, 32], "backend": "sdpa"})

    found = lines(make_frontier(sweep, most=1024))

    assert [one.cell(7).context_length for one in found] == [1024, 1024]


def floor(cell: Cell) -> int:
    return cost_of(cell).floor_bytes


def test_the_predicted_place_is_the_last_whose_peak_is_within_the_budget():
    context = line()
    budget = floor(context.cell(100))

    assert context.predicted(budget, floor) == 100
    assert context.predicted(budget - 1, floor) == 99
    assert context.predicted(1, floor) == -1
    assert context.predicted(2**60, floor) == len(context) - 1


def test_without_a_known_peak_nothing_is_predicted():
    assert line().predicted(2**30, lambda cell: None) is None
    assert line().predicted(2**30, None) is None
