"""Sweeps of attention alone: their defaults, their order, what is left out, and shapes that are no grid."""

from pathlib import Path
from typing import Any

import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.attention_sweep import AXES, AttentionSweep
from windtunnel.spec.cell import Task
from windtunnel.spec.grid import MAX_TASKS
from windtunnel.spec.sweep import load_sweep, make_sweep


def sweep(**fields: Any) -> AttentionSweep:
    made = make_sweep({"kind": "attention", **fields})
    assert isinstance(made, AttentionSweep)
    return made


def expand(**fields: Any) -> tuple[Task, ...]:
    return sweep(**fields).expand("cpu")


def test_without_fields_two_backends_attend_forward_and_backward_with_a_cold_cache():
    tasks = expand()

    assert [task.cell.attention for task in tasks] == ["eager", "sdpa"]
    (cell,) = {task.cell.model_copy(update={"attention": ""}) for task in tasks}
    assert cell.model == AttentionSpec(num_heads=8, d_head=64, mask="causal")
    assert (cell.workload, cell.batch_size, cell.context_length) == ("attention_forward_backward", 1, 1024)
    assert (cell.precision, cell.compile, cell.seed) == ("fp32", "off", 0)
    assert {(task.plan.warmup, task.plan.steps, task.plan.cache) for task in tasks} == {(5, 30, "cold")}


def test_every_field_of_the_grid_reaches_its_task():
    (task,) = expand(
        backend="sdpa",
        batch=3,
        heads=6,
        kv_heads=2,
        seq=48,
        d=80,
        mask="window:16",
        precision="bf16",
        compile="default",
        phase="forward",
        warmup=2,
        steps=7,
        seed=11,
        cache="warm",
    )

    cell = task.cell
    assert cell.model == AttentionSpec(num_heads=6, num_kv_heads=2, d_head=80, mask="window:16")
    assert (cell.workload, cell.batch_size, cell.context_length) == ("attention_forward", 3, 48)
    assert (cell.precision, cell.attention, cell.compile) == ("bf16", "sdpa", "default")
    assert (cell.device, cell.seed) == ("cpu", 11)
    assert (task.plan.warmup, task.plan.steps, task.plan.cache) == (2, 7, "warm")


def test_the_grid_is_walked_by_backend_then_width_then_length():
    tasks = expand(backend=["sdpa", "eager"], d=[16, 32], seq=[256, 64], precision=["fp32", "bf16"])

    points = [(t.cell.precision, t.cell.attention, t.cell.model.d_head, t.cell.context_length) for t in tasks]
    assert points == [
        (precision, backend, d, seq)
        for precision in ("fp32", "bf16")
        for backend in ("sdpa", "eager")
        for d in (16, 32)
        for seq in (256, 64)
    ]


def test_a_mask_has_one_spelling():
    (task,) = expand(backend="eager", mask="window:0064")

    assert task.cell.model.mask == "window:64"


def test_as_many_key_heads_as_heads_are_the_same_cell_as_none_named():
    assert expand(heads=8, kv_heads=8) == expand(heads=8)


def test_an_exclusion_matches_key_heads_that_were_not_named():
    tasks = expand(backend="eager", heads=[4, 8], exclude=[{"kv_heads": 8, "reason": "known"}])

    assert [task.cell.model.num_heads for task in tasks] == [4]


def test_the_excluded_points_of_a_grid_are_left_out():
    tasks = expand(
        heads=[6, 8],
        kv_heads=[2, 4],
        exclude=[{"heads": 6, "kv_heads": 4, "reason": "no divisor"}, {"backend": "sdpa", "reason": "known"}],
    )

    assert [(task.cell.model.num_heads, task.cell.model.num_kv_heads) for task in tasks] == [(6, 2), (8, 2), (8, 4)]


def test_shapes_that_are_no_grid_stand_in_its_place_in_their_order():
    one = {"batch": 1, "heads": 16, "seq": 16384, "d": 64}
    other = {"batch": 4, "heads": 8, "kv_heads": 2, "seq": 4096, "d": 128, "mask": "full"}

    tasks = expand(shapes=[other, one], backend=["eager", "flex"])

    points = [(task.cell.attention, task.cell.batch_size, task.cell.context_length, task.cell.model) for task in tasks]
    assert points == [
        (backend, batch, seq, shape)
        for backend in ("eager", "flex")
        for batch, seq, shape in (
            (4, 4096, AttentionSpec(num_heads=8, num_kv_heads=2, d_head=128, mask="full")),
            (1, 16384, AttentionSpec(num_heads=16, d_head=64, mask="causal")),
        )
    ]


def test_a_shape_is_left_out_by_the_axes_that_it_is_a_point_of():
    shapes = [{"batch": 1, "heads": 2, "seq": seq, "d": 16} for seq in (32, 64)]

    tasks = expand(shapes=shapes, exclude=[{"backend": "eager", "seq": 64, "reason": "slow"}])

    assert [(task.cell.attention, task.cell.context_length) for task in tasks] == [
        ("eager", 32),
        ("sdpa", 32),
        ("sdpa", 64),
    ]


def test_a_cell_has_the_same_key_in_a_grid_and_as_a_shape():
    (of_grid,) = expand(backend="eager", batch=2, heads=4, seq=64, d=32, mask="full")

    (of_shapes,) = expand(backend="eager", shapes=[{"batch": 2, "heads": 4, "seq": 64, "d": 32, "mask": "full"}])

    assert of_grid.key() == of_shapes.key()


def test_the_key_of_a_cell_stays_what_it_is():
    """A store is found again only as long as this number is the same; a changed default must not change it."""
    (task,) = expand(backend="eager", batch=8, heads=1, seq=256, d=16, mask="full", steps=20)

    assert task.key() == "520614537118a229"


def test_the_axes_have_the_values_of_the_grid_and_of_shapes():
    shapes = [{"batch": 1, "heads": 2, "seq": seq, "d": 16} for seq in (64, 32)]

    of_grid, of_shapes = sweep(heads=[2, 4], seq=[32, 64]).axes(), sweep(shapes=shapes).axes()

    assert tuple(of_grid) == tuple(of_shapes) == AXES
    assert (of_grid["heads"], of_grid["kv_heads"], of_grid["seq"]) == ((2, 4), (2, 4), (32, 64))
    assert (of_shapes["heads"], of_shapes["kv_heads"], of_shapes["seq"]) == ((2,), (2,), (64, 32))


def test_several_faults_of_one_sweep_are_all_named():
    with pytest.raises(SpecError) as caught:
        sweep(heads=6, kv_heads=4, backend=["sdpa", "flex"], compile="default", compare="eager/sdpa")

    assert [fault.partition(";")[0].partition(",")[0] for fault in caught.value.faults] == [
        "kv_heads 4 does not divide heads 6: each key head serves the same number of query heads",
        "backend 'flex' compiles itself",
        "compare is 'eager/sdpa'",
    ]


def test_a_grid_of_too_many_cells_is_refused_without_walking_it():
    many = list(range(1, MAX_TASKS))

    with pytest.raises(SpecError, match="at most 10,000 are allowed: shorten an axis"):
        expand(seq=many, batch=many, heads=many)


def test_several_processes_measure_the_whole_grid_once_before_any_cell_again():
    tasks = expand(seq=[32, 64], backend="eager", processes=2)

    assert [(task.replica, task.cell.context_length) for task in tasks] == [(0, 32), (0, 64), (1, 32), (1, 64)]


def test_comparisons_are_pairs_of_backends():
    asked = sweep(backend=["eager", "my.kernels:flash"], compare="eager/my.kernels:flash")

    assert asked.comparisons() == (("eager", "my.kernels:flash"),)


def test_a_file_says_its_kind(tmp_path: Path):
    path = tmp_path / "heads.toml"
    path.write_text(
        """
        kind = "attention"
        heads = [2, 4]
        backend = ["eager", "sdpa"]
        compare = "eager/sdpa"
        [[exclude]]
        heads = 4
        backend = "eager"
        reason = "known"
        """
    )

    loaded = load_sweep(path)

    exclude = [{"heads": 4, "backend": "eager", "reason": "known"}]
    assert loaded == sweep(name="heads", heads=[2, 4], compare="eager/sdpa", exclude=exclude)


def test_what_a_store_keeps_of_a_sweep_makes_it_again():
    asked = sweep(seq=[32, 64], mask="window:8", target="1%", compare="eager/sdpa")

    assert make_sweep(asked.model_dump(mode="json", exclude_defaults=True)).expand("cpu") == asked.expand("cpu")
