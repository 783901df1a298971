"""Masks and shapes of attention alone."""

import pytest
from pydantic import ValidationError

from windtunnel.spec.attention import AttentionSpec, Mask, parse_mask
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.model import NAMED_SIZES


def make_cell(**fields) -> Cell:
    """A cell of attention alone, with `fields` changed."""
    defaults = {
        "model": AttentionSpec(num_heads=4, d_head=64),
        "workload": "attention_forward_backward",
        "batch_size": 2,
        "context_length": 128,
        "device": "cpu",
    }
    return Cell.model_validate({**defaults, **fields})


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("full", Mask(is_causal=False, window=None)),
        ("causal", Mask(is_causal=True, window=None)),
        ("window:64", Mask(is_causal=True, window=64)),
    ],
)
def test_a_mask_is_read_from_its_text(text: str, mask: Mask):
    assert parse_mask(text) == mask
    assert mask.kind == text.partition(":")[0]


@pytest.mark.parametrize("text", ["window:0", "window:-1", "window:", "window:1.5", "window:²", "half", "Causal", ""])
def test_what_is_no_mask_is_refused_with_those_that_are(text: str):
    with pytest.raises(ValueError, match=r"known: full, causal, window:N"):
        parse_mask(text)


@pytest.mark.parametrize("mask", ["full", "causal", "window:1", "window:3", "window:9"])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 5), (7, 4), (4, 7)])
def test_pairs_are_counted_as_if_one_by_one(mask: str, queries: int, keys: int):
    parsed = parse_mask(mask)
    seen = [
        (i, j)
        for i in range(queries)
        for j in range(keys)
        if not parsed.is_causal or (j <= i and (parsed.window is None or i - j < parsed.window))
    ]

    assert parsed.pairs(queries=queries, keys=keys) == len(seen)


def test_the_name_tells_grouped_heads_and_the_mask():
    assert AttentionSpec(num_heads=16, d_head=64).name == "h16 d64 causal"
    assert AttentionSpec(num_heads=16, num_kv_heads=4, d_head=64, mask="window:064").name == "h16/4 d64 window:64"


def test_key_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="kv heads 3 do not divide heads 4"):
        AttentionSpec(num_heads=4, num_kv_heads=3, d_head=64)


@pytest.mark.parametrize("d_head", [0, 257])
def test_a_head_is_at_most_256_wide(d_head: int):
    with pytest.raises(ValidationError):
        AttentionSpec(num_heads=4, d_head=d_head)


def test_attention_alone_has_workloads_of_its_own():
    with pytest.raises(ValidationError, match="workload 'train_step' is not one of attention alone"):
        make_cell(workload="train_step")
    with pytest.raises(ValidationError, match="workload 'attention_forward' is not one of a whole model"):
        make_cell(model=NAMED_SIZES["small"], workload="attention_forward")


def test_a_task_of_attention_survives_json_with_its_key():
    task = Task(cell=make_cell(), plan=MeasurePlan(cache="cold"))

    read = Task.model_validate_json(task.model_dump_json())

    assert read == task
    assert read.key() == task.key()
    assert isinstance(read.cell.model, AttentionSpec)


def test_a_step_of_a_model_has_no_cold_cache():
    cell = make_cell(model=NAMED_SIZES["small"], workload="forward")

    with pytest.raises(ValidationError, match=r"cache is 'cold'.*allowed: warm"):
        Task(cell=cell, plan=MeasurePlan(cache="cold"))
