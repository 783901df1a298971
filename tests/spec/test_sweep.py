from pathlib import Path
from typing import Any

import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.cell import Task
from windtunnel.spec.grid import MAX_TASKS
from windtunnel.spec.model import NAMED_SIZES
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.sweep import load_sweep, make_sweep

OWN_SIZE = {"d_model": 64, "num_layers": 2, "num_heads": 4}


def expand(**fields: Any) -> tuple[Task, ...]:
    return make_sweep(fields).expand("cpu")


def test_one_value_and_a_list_of_one_are_the_same():
    assert make_sweep({"size": "small", "context": 128}) == make_sweep({"size": ["small"], "context": [128]})


def test_a_sweep_of_one_size_measures_every_workload_with_the_documented_defaults():
    tasks = expand(size="small")

    assert [task.cell.workload for task in tasks] == ["forward", "forward_backward", "train_step"]
    (cell,) = {task.cell.model_copy(update={"workload": "forward"}) for task in tasks}
    assert (cell.context_length, cell.batch_size, cell.precision) == (256, 4, "fp32")
    assert (cell.attention, cell.compile, cell.seed) == ("eager", "off", 0)
    assert {(task.plan.warmup, task.plan.steps) for task in tasks} == {(5, 10)}


def test_the_size_varies_slowest_and_the_warm_up_fastest():
    tasks = expand(size=["small", "xl"], context=[128, 256], mode=["forward", "train_step"], warmup=[0, 5])

    points = [(t.cell.model.name, t.cell.context_length, t.cell.workload, t.plan.warmup) for t in tasks]
    assert points == [
        (size, context, mode, warmup)
        for size in ("small", "xl")
        for context in (128, 256)
        for mode in ("forward", "train_step")
        for warmup in (0, 5)
    ]


def test_values_keep_the_order_in_which_they_were_written():
    tasks = expand(size="small", mode="forward", batch=[8, 2], precision=["tf32", "bf16"])

    points = [(task.cell.precision, task.cell.batch_size) for task in tasks]
    assert points == [("tf32", 8), ("tf32", 2), ("bf16", 8), ("bf16", 2)]


def test_every_field_of_the_grid_reaches_its_task():
    (task,) = expand(
        size="xl",
        context=64,
        batch=3,
        mode="train_step",
        precision="bf16",
        attention="sdpa",
        compile="default",
        checkpoint="every:4",
        warmup=0,
        steps=7,
        seed=11,
    )

    cell = task.cell
    assert cell.model == NAMED_SIZES["xl"]
    assert (cell.context_length, cell.batch_size, cell.workload) == (64, 3, "train_step")
    assert (cell.precision, cell.attention, cell.compile) == ("bf16", "sdpa", "default")
    assert cell.checkpoint == "every:4"
    assert (cell.device, cell.seed) == ("cpu", 11)
    assert (task.plan.warmup, task.plan.steps) == (0, 7)


def test_a_size_of_ones_own_stands_beside_the_named_ones():
    sweep = make_sweep({"size": ["small", "mine"], "sizes": {"mine": OWN_SIZE}})

    small, mine = sweep.models()

    assert small == NAMED_SIZES["small"]
    assert (mine.name, mine.d_model, mine.num_layers, mine.num_heads) == ("mine", 64, 2, 4)


def test_the_feed_forward_layer_is_four_times_as_wide_unless_given():
    sizes = {"mine": OWN_SIZE, "wide": OWN_SIZE | {"d_ff": 100}}

    mine, wide = make_sweep({"size": ["mine", "wide"], "sizes": sizes}).models()

    assert (mine.d_ff, wide.d_ff) == (256, 100)


def test_a_size_of_ones_own_may_take_the_name_of_a_known_one():
    (small,) = make_sweep({"size": "small", "sizes": {"small": OWN_SIZE}}).models()

    assert small.d_model == 64


def test_shape_fields_alone_make_a_size_named_after_them():
    (model,) = make_sweep({"d_model": 64, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 99}).models()

    assert model.name == "d64-l2-h4"
    assert (model.d_ff, model.kv_heads, model.vocab_size) == (256, 2, 99)


def test_a_tied_head_and_an_activation_are_part_of_the_shape():
    (small,) = make_sweep({"size": "small", "tied": True, "activation": "gelu"}).models()
    (own,) = make_sweep({"d_model": 64, "layers": 2, "heads": 4, "tied": True, "activation": "relu"}).models()

    assert (small.is_tied, small.activation, small.name) == (True, "gelu", "small (is_tied=True, activation=gelu)")
    assert (own.is_tied, own.activation) == (True, "relu")


def test_models_of_ones_own_stand_in_place_of_sizes():
    tasks = expand(model=["a:b", "a:c"], mode="forward", vocab=50)

    assert [task.cell.model for task in tasks] == [
        OwnModel(factory=factory, vocab_size=50) for factory in ("a:b", "a:c")
    ]


def test_shape_fields_change_every_named_size_and_show_in_its_name():
    small, medium = make_sweep({"size": ["small", "medium"], "layers": 2}).models()

    assert small == NAMED_SIZES["small"].model_copy(update={"num_layers": 2, "name": "small (num_layers=2)"})
    assert (medium.name, medium.num_layers) == ("medium (num_layers=2)", 2)


def test_an_excluded_point_matches_every_axis_that_the_exclusion_names():
    tasks = expand(
        size=["small", "xl"],
        context=[128, 256],
        mode="forward",
        exclude=[{"size": "xl", "context": 256, "reason": "does not fit"}],
    )

    points = [(task.cell.model.name, task.cell.context_length) for task in tasks]
    assert points == [("small", 128), ("small", 256), ("xl", 128)]


def test_an_exclusion_with_several_values_leaves_out_each_of_them():
    tasks = expand(
        size="small",
        mode="forward",
        context=[64, 128, 256],
        exclude=[{"context": [64, 256], "reason": "known"}],
    )

    assert [task.cell.context_length for task in tasks] == [128]


def test_an_exclusion_of_warm_up_zero_is_not_taken_for_no_exclusion():
    tasks = expand(size="small", mode="forward", warmup=[0, 5], exclude=[{"warmup": 0, "reason": "cold"}])

    assert [task.plan.warmup for task in tasks] == [5]


def test_an_exclusion_names_an_overridden_size_as_the_user_wrote_it():
    tasks = expand(
        size=["small", "medium"],
        layers=2,
        mode="forward",
        exclude=[{"size": "small", "reason": "known"}],
    )

    assert [task.cell.model.name for task in tasks] == ["medium (num_layers=2)"]


def test_an_exclusion_that_meets_no_point_of_the_grid_is_harmless():
    """A flag may shorten an axis of a sweep file, and the file's exclusions stay."""
    tasks = expand(size="small", mode="forward", exclude=[{"size": "xl", "reason": "known"}])

    assert len(tasks) == 1


def test_exclusions_that_leave_nothing_are_a_fault():
    sweep = make_sweep({"size": "small", "exclude": [{"size": "small", "reason": "all of it"}]})

    with pytest.raises(SpecError, match="its exclusions leave nothing of the grid; remove one"):
        sweep.expand("cpu")


def test_a_sweep_may_have_as_many_cells_as_are_allowed():
    axis = list(range(1, 101))

    tasks = expand(size="small", mode="forward", context=axis, batch=axis)

    assert len(tasks) == MAX_TASKS == len(axis) ** 2


def test_a_sweep_of_too_many_cells_is_refused_with_both_numbers():
    sweep = make_sweep(
        {"size": "small", "mode": "forward", "context": list(range(1, 10_002))},
    )

    with pytest.raises(SpecError) as caught:
        sweep.expand("cpu")

    assert caught.value.faults == ("the sweep has 10,001 cells; at most 10,000 are allowed: shorten an axis",)


def test_a_sweep_file_is_named_after_itself(tmp_path: Path):
    path = tmp_path / "warmups.toml"
    path.write_text('size = "small"\n')

    assert load_sweep(path).name == "warmups"


def test_a_sweep_file_may_be_named_by_a_text(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('size = "small"')

    assert load_sweep(str(path)) == load_sweep(path)


def test_fields_that_have_no_names_are_refused():
    with pytest.raises(SpecError, match="fields are 3; pass the fields of a sweep by name"):
        make_sweep(3)


def test_a_sweep_file_may_name_itself(tmp_path: Path):
    path = tmp_path / "warmups.toml"
    path.write_text('name = "Warm-up"\nsize = "small"\n')

    assert load_sweep(path).name == "Warm-up"


def test_a_sweep_file_holds_tables_of_sizes_and_exclusions(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text(
        """
        description = "größer"
        size = ["small", "mine"]
        mode = "forward"
        [sizes.mine]
        d_model = 64
        num_layers = 2
        num_heads = 4
        rope_theta = 500000
        [[exclude]]
        size = "small"
        reason = "known"
        """,
        encoding="utf-8",
    )

    sweep = load_sweep(path)

    (task,) = sweep.expand("cpu")
    assert (task.cell.model.name, task.cell.model.rope_theta) == ("mine", 500_000.0)
    assert sweep.description == "größer"


def test_a_byte_order_mark_before_a_sweep_file_is_no_fault(tmp_path: Path):
    path = tmp_path / "marked.toml"
    path.write_text('size = "small"\n', encoding="utf-8-sig")

    assert load_sweep(path).size == ("small",)


def test_several_processes_measure_the_whole_grid_once_before_any_cell_again():
    tasks = expand(size="small", mode="forward", context=[128, 256], processes=3)

    points = [(task.replica, task.cell.context_length) for task in tasks]
    assert points == [(0, 128), (0, 256), (1, 128), (1, 256), (2, 128), (2, 256)]
    assert {task.plan.processes for task in tasks} == {3}
    assert len({task.key() for task in tasks}) == 6


def test_several_processes_and_a_target_go_together():
    (task, _) = expand(size="small", mode="forward", target="1%", processes=2)

    assert (task.plan.target, task.plan.processes) == (0.01, 2)


def test_a_sweep_file_asks_for_processes(tmp_path: Path):
    path = tmp_path / "often.toml"
    path.write_text('size = "small"\nprocesses = 5\n')

    assert load_sweep(path).processes == 5


def test_each_process_counts_against_the_most_tasks():
    axis = list(range(1, 101))
    sweep = make_sweep({"size": "small", "mode": "forward", "context": axis, "batch": axis[:51], "processes": 2})

    with pytest.raises(SpecError) as caught:
        sweep.expand("cpu")

    assert caught.value.faults == (
        "the sweep has 5,100 cells in 2 processes each; at most 10,000 measurements are allowed: "
        "shorten an axis, or ask for fewer processes",
    )
