"""What a search is asked for: candidates, limits, and what is wrong with a request."""

from typing import Any

import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.tuning import Tuning, make_tuning

SHAPE = {"d_model": 64, "layers": 2, "heads": 4, "context": 16}


def asked(axes: dict[str, list[object]] | None = None, *, device: str = "cpu", **fields: Any) -> Tuning:
    limits = {name: fields.pop(name) for name in ("memory_limit", "error_limit") if name in fields}
    shape = {} if "model" in fields else SHAPE
    return make_tuning({**shape, **fields}, axes or {}, device=device, budget="30s", **limits)


def tried(tuning: Tuning, device: str = "cpu") -> list[tuple[str, str, str, str, int]]:
    cells = [task.cell for task in tuning.tasks(device)]
    return [(cell.attention, cell.compile, cell.precision, cell.checkpoint, cell.batch_size) for cell in cells]


def test_on_a_cpu_attention_compile_and_precision_are_tried():
    found = tried(asked())

    assert found[0] == ("eager", "off", "fp32", "none", 4)
    assert len(found) == len(set(found)) == 3 * 2 * 2
    assert {one[2] for one in found} == {"fp32", "bf16"}


def test_on_cuda_the_triton_kernel_and_the_formats_of_tensor_cores_are_tried():
    found = tried(asked(device="cuda:0"), "cuda:0")

    assert len(found) == 3 * 2 * 4
    assert ("flash-triton", "default", "tf32", "none", 4) in found


def test_checkpointing_is_tried_under_a_limit_of_memory_and_where_there_is_a_backward():
    assert {one[3] for one in tried(asked(memory_limit="1GiB"))} == {"none", "selective", "every:1"}
    assert {one[3] for one in tried(asked(memory_limit="1GiB", mode="forward"))} == {"none"}


def test_an_axis_that_is_named_has_these_values_and_the_present_configuration_is_a_candidate_beside_them():
    found = tried(asked({"attention": ["sdpa"], "compile": ["off"], "precision": ["bf16"]}))

    assert found == [("eager", "off", "fp32", "none", 4), ("sdpa", "off", "bf16", "none", 4)]


def test_the_present_value_is_tried_with_all_others():
    assert ("sdpa-math", "default", "bf16", "none", 4) in tried(asked(attention="sdpa-math"))


def test_batches_are_tried_when_asked_and_then_tokens_count():
    tuning = asked({"batch": [2, 8], "compile": ["off"]})

    assert {one[4] for one in tried(tuning)} == {2, 4, 8}
    assert tuning.varies_batch()
    assert not asked().varies_batch()


def test_an_own_model_is_tried_in_what_it_leaves_open():
    cells = [task.cell for task in asked(model="my.models:make").tasks("cpu")]

    assert {(cell.compile, cell.precision) for cell in cells} == {
        (mode, precision) for mode in ("off", "default") for precision in ("fp32", "bf16")
    }


def test_candidates_that_compute_alike_share_a_look_at_their_numbers():
    tuning = asked({"batch": [2, 8], "compile": ["off"], "checkpoint": ["none", "ffn"]})

    requests = {tuning.numerics_of(task.cell) for task in tuning.tasks("cpu")}

    assert len(requests) == 3 * 2
    assert {(one.cell.batch_size, one.cell.checkpoint) for one in requests} == {(2, "none")}


def test_a_search_can_be_written_and_read():
    tuning = asked({"batch": [2, 8]}, memory_limit="30%", error_limit="1%")

    assert Tuning.model_validate(tuning.model_dump(mode="json", exclude_defaults=True)) == tuning
    assert tuning.error_limit == 0.01


@pytest.mark.parametrize(
    ("axes", "fields", "message"),
    [
        ({}, {"context": [16, 32]}, r"context has 2 values \(16, 32\); a search is of one cell: name one"),
        ({}, {"attention": ["eager", "sdpa"]}, r"attention has 2 values .* try them with --axis attention=eager,sdpa"),
        ({"precision": ["fp31"]}, {}, "unknown precision 'fp31'"),
        ({"batch": ["x"]}, {}, "batch is 'x'; allowed: a whole number"),
        ({"attention": []}, {}, "attention: an axis without a value"),
        ({}, {"error_limit": "0"}, "error_limit.*is not a share above 0"),
        ({"checkpoint": ["every:9"]}, {}, "groups of more blocks than the model's 2"),
        ({"attention": ["sdpa"]}, {"model": "a:b"}, "attention 'sdpa' is for the reference model"),
    ],
)
def test_a_wrong_request_says_what_and_what_to_do(axes: dict[str, list[object]], fields: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message):
        asked(axes, **fields)
