"""Names of activation checkpointing, and the cells in which each has a meaning."""

import pytest
from pydantic import ValidationError

from factory import TINY, make_attention_task, make_task
from windtunnel.spec.checkpoint import Checkpoint, parse_checkpoint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Checkpoint(kind="none")),
        ("selective", Checkpoint(kind="selective")),
        ("ffn", Checkpoint(kind="ffn")),
        ("every:1", Checkpoint(kind="every", num_blocks=1)),
        ("every:012", Checkpoint(kind="every", num_blocks=12)),
    ],
)
def test_each_name_has_its_meaning(text: str, expected: Checkpoint):
    assert parse_checkpoint(text) == expected


@pytest.mark.parametrize("text", ["", "all", "every", "every:", "every:0", "every:-1", "every:1.5", "every:²", "None"])
def test_any_other_name_is_refused_with_those_allowed(text: str):
    with pytest.raises(ValueError, match=f"unknown checkpoint {text!r}; known: none, every:N, selective, ffn"):
        parse_checkpoint(text)


def test_a_checkpointing_has_one_spelling_and_so_one_key():
    one, other = (make_task(workload="train_step", checkpoint=text) for text in ("every:2", "every:02"))

    assert other.cell.checkpoint == "every:2"
    assert one.key() == other.key()


def test_that_nothing_is_computed_again_leaves_the_keys_of_older_records_as_they_are():
    assert make_task(checkpoint="none").key() == make_task().key()


@pytest.mark.parametrize("name", ["every:1", "selective", "ffn"])
def test_without_a_backward_it_is_refused(name: str):
    with pytest.raises(ValidationError, match=f"checkpoint '{name}' has no effect on forward, which has no backward"):
        make_task(workload="forward", checkpoint=name)


def test_a_group_may_be_the_whole_model():
    task = make_task(workload="train_step", checkpoint=f"every:{TINY.num_layers}")

    assert task.cell.checkpoint == f"every:{TINY.num_layers}"


def test_a_group_of_more_blocks_than_there_are_is_refused_with_the_most():
    layers = TINY.num_layers

    with pytest.raises(ValidationError, match=f"the model's {layers}; allowed: every:1 to every:{layers}"):
        make_task(workload="train_step", checkpoint=f"every:{layers + 1}")


def test_attention_alone_has_no_blocks_to_compute_again():
    cell = make_attention_task().cell

    with pytest.raises(ValidationError, match="attention alone has no blocks to compute again: allowed: none"):
        type(cell).model_validate(cell.model_dump() | {"checkpoint": "ffn"})
