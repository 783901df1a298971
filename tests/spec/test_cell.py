import json
import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from factory import TINY, make_task
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel

TINY_KEY = "8d34c6a4a78a7aec"
"""The key of `make_task()`, as it stands in stores: if it changes, every stored result is lost."""

FULL_TASK = {
    "cell": {
        "model": {
            "name": "2.7B",
            "d_model": 2560,
            "d_ff": 10240,
            "num_layers": 32,
            "num_heads": 32,
        },
        "workload": "train_step",
        "batch_size": 4,
        "context_length": 512,
        "precision": "bf16",
        "compile": "default",
        "device": "cuda:0",
        "seed": 7,
    },
    "plan": {"warmup": 0, "steps": 10},
}
FULL_TASK_KEY = "1c52f67b7b06f639"

OTHER_CELL: dict[str, Any] = {
    "model": TINY.model_copy(update={"num_layers": 3}),
    "workload": "train_step",
    "batch_size": 5,
    "context_length": 17,
    "precision": "bf16",
    "attention": "sdpa",
    "compile": "default",
    "checkpoint": "every:2",
    "device": "cuda:0",
    "seed": 1,
}
OTHER_PLAN = {
    "warmup": "auto",
    "steps": 11,
    "target": 0.01,
    "max_samples": 99,
    "max_seconds": 9.0,
    "processes": 3,
    "cache": "cold",
    "purpose": "fit",
    "memory_limit_bytes": 2**30,
}
OTHER_MODEL = {
    "name": "tiny again",
    "d_model": 64,
    "d_ff": 65,
    "num_layers": 3,
    "num_heads": 2,
    "num_kv_heads": 2,
    "vocab_size": 102,
    "rope_theta": 20_000.0,
    "is_tied": True,
    "activation": "gelu",
}


def with_model(**changes: Any) -> Task:
    cell = make_task().cell
    model = ModelSpec.model_validate(cell.model.model_dump() | changes)
    return Task(cell=cell.model_copy(update={"model": model}), plan=MeasurePlan())


def reversed_fields(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: reversed_fields(inner) for name, inner in reversed(value.items())}


def test_the_key_of_a_small_task_is_the_one_that_stores_hold():
    assert make_task().key() == TINY_KEY


def test_the_key_of_a_task_with_many_fields_is_the_one_that_stores_hold():
    assert Task.model_validate(FULL_TASK).key() == FULL_TASK_KEY


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_the_key_is_the_same_in_another_process(hash_seed: str):
    program = (
        "import json, sys; from windtunnel.spec.cell import Task;print(Task.model_validate(json.load(sys.stdin)).key())"
    )

    child = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(FULL_TASK),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )

    assert child.stdout.strip() == FULL_TASK_KEY


@pytest.mark.parametrize("field", Cell.model_fields)
def test_the_key_changes_with_each_field_of_the_cell(field: str):
    cell = make_task().cell.model_copy(update={field: OTHER_CELL[field]})

    key = Task.model_construct(cell=cell, plan=MeasurePlan()).key()  # nothing is computed again without a backward

    assert key != TINY_KEY


@pytest.mark.parametrize("field", MeasurePlan.model_fields)
def test_the_key_changes_with_each_field_of_the_plan(field: str):
    plan = MeasurePlan.model_construct(**{field: OTHER_PLAN[field]})  # a limit alone is no plan

    key = Task.model_construct(cell=make_task().cell, plan=plan).key()  # a cold cache is for attention alone

    assert key != TINY_KEY


@pytest.mark.parametrize("field", ModelSpec.model_fields)
def test_the_key_changes_with_each_field_of_the_model(field: str):
    key = with_model(**{field: OTHER_MODEL[field]}).key()

    assert key != TINY_KEY


def test_the_key_does_not_depend_on_the_order_of_the_fields():
    task = Task.model_validate(reversed_fields(FULL_TASK))

    assert task.key() == FULL_TASK_KEY


def test_a_default_that_is_written_out_does_not_change_the_key():
    cell = FULL_TASK["cell"] | {"attention": "eager"}

    task = Task.model_validate({"cell": cell, "plan": {"warmup": 0}})

    assert task.key() == FULL_TASK_KEY


class LaterCell(Cell):
    """A cell of a later version, with a field more."""

    dropout: float = 0.0


class LaterTask(Task):
    """A task of that version."""

    cell: LaterCell


def test_a_field_that_a_later_version_adds_leaves_the_keys_of_older_records_as_they_are():
    """Only what differs from its default is hashed, and an older record has the default."""
    task = LaterTask.model_validate(FULL_TASK)

    assert task.key() == FULL_TASK_KEY


def test_a_field_that_a_later_version_adds_counts_once_it_is_used():
    task = LaterTask.model_validate(FULL_TASK | {"cell": FULL_TASK["cell"] | {"dropout": 0.1}})

    assert task.key() != FULL_TASK_KEY


def test_a_task_that_went_through_json_is_the_same_task():
    task = Task.model_validate(FULL_TASK)

    again = Task.model_validate_json(task.model_dump_json())

    assert again == task
    assert again.key() == FULL_TASK_KEY


@pytest.mark.parametrize(
    ("written", "device"),
    [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:3", "cuda:3"), ("cuda:03", "cuda:3")],
)
def test_a_device_has_one_spelling(written: str, device: str):
    assert make_task(device=written).cell.device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU", "cuda:²"])
def test_an_unknown_device_is_refused_with_those_allowed(device: str):
    with pytest.raises(ValidationError, match=f"unknown device '{device}'; allowed: cpu, cuda, "):
        make_task(device=device)


def test_attention_of_the_users_own_is_named_by_module_and_attribute():
    assert make_task(attention="my.kernels:flash").cell.attention == "my.kernels:flash"


@pytest.mark.parametrize("attention", [":", "my.kernels:", ":flash", "flash"])
def test_attention_that_is_neither_listed_nor_whole_is_refused(attention: str):
    with pytest.raises(ValidationError, match=f"unknown attention '{attention}'; known: compiled, eager, "):
        make_task(attention=attention)


@pytest.mark.parametrize(("warmup", "is_cold"), [(0, True), (1, False)])
def test_a_plan_without_warm_up_asks_for_the_cold_start(warmup: int, is_cold: bool):
    assert MeasurePlan(warmup=warmup).is_cold is is_cold


def test_the_label_leaves_out_that_nothing_is_compiled():
    label = make_task(compile="off").label()

    assert label == "tiny · forward · context 16 · batch 4 · fp32 · eager · warm-up 5"


def test_the_label_names_the_compile_mode():
    assert "compile default" in make_task(compile="default").label()


OWN = OwnModel(factory="my.models:make", vocab_size=50)


def test_the_label_of_a_users_own_model_says_nothing_of_its_attention():
    assert make_task(size=OWN).label() == "my.models:make · forward · context 16 · batch 4 · fp32 · warm-up 5"


def test_attention_and_checkpointing_of_a_users_own_model_are_its_own():
    cell = make_task(size=OWN).cell

    assert (cell.attention_name, cell.checkpoint_name) == ("its own", "its own")


@pytest.mark.parametrize("field", [{"attention": "sdpa"}, {"checkpoint": "ffn"}])
def test_what_has_no_effect_on_a_users_own_model_is_refused(field: dict[str, str]):
    with pytest.raises(ValidationError, match=r"has no effect on model 'my\.models:make'"):
        make_task(size=OWN, workload="train_step", **field)


@pytest.mark.parametrize("changes", [{"factory": "my.models:other"}, {"vocab_size": 51}])
def test_the_key_changes_with_each_field_of_a_users_own_model(changes: dict[str, Any]):
    assert make_task(size=OWN.model_copy(update=changes)).key() != make_task(size=OWN).key()


def test_a_task_of_a_users_own_model_that_went_through_json_is_the_same_task():
    task = make_task(size=OWN)

    assert Task.model_validate_json(task.model_dump_json()) == task


def test_the_label_names_the_checkpointing_if_there_is_one():
    plain, checkpointed = (make_task(workload="train_step", checkpoint=name) for name in ("none", "every:2"))

    assert "checkpoint" not in plain.label()
    assert "checkpoint every:2" in checkpointed.label()


REPLICA_KEYS = ("74b5ad457ec83916", "32a8889f9804acf0", "02fadbcfc1fa46f7")
"""The keys of the three processes of `make_task(processes=3)`, as they stand in stores."""


def test_each_process_of_a_cell_has_the_key_that_stores_hold():
    assert tuple(make_task(processes=3, replica=replica).key() for replica in range(3)) == REPLICA_KEYS


def test_one_process_is_the_default_and_leaves_the_key_as_it_was():
    assert make_task(processes=1, replica=0).key() == TINY_KEY


def test_a_replica_beyond_the_processes_of_its_plan_is_refused():
    with pytest.raises(ValidationError, match="replica is 3; allowed: less than its plan's processes, 3"):
        make_task(processes=3, replica=3)


@pytest.mark.parametrize(("plan", "needs"), [({}, False), ({"warmup": 0}, True), ({"processes": 2}, True)], ids=str)
def test_a_cold_cell_and_one_of_several_processes_need_a_fresh_process(plan: dict[str, Any], needs: bool):
    assert MeasurePlan(**plan).needs_fresh_process is needs


def test_the_steps_of_all_processes_are_counted():
    assert MeasurePlan(warmup=5, steps=10, processes=3).fewest_steps == 45


def test_the_label_says_which_process_and_the_label_of_the_cell_does_not():
    task = make_task(processes=5, replica=1)

    assert task.label() == f"{task.cell_label()} · process 2 of 5"
    assert task.cell_label() == make_task().label()


def test_a_probe_of_what_fits_says_so_in_its_label_and_has_a_process_of_its_own():
    plan = MeasurePlan(warmup=1, steps=1, purpose="fit", memory_limit_bytes=24 * 2**30)
    task = Task(cell=make_task().cell, plan=plan)

    assert task.label().endswith(" · does it fit into 24.0 GiB?")
    assert plan.needs_fresh_process


def test_times_under_a_memory_limit_are_refused():
    with pytest.raises(ValueError, match="purpose 'fit'"):
        MeasurePlan(memory_limit_bytes=2**30)
