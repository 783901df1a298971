"""Predicted memory against a step that really runs, on a CPU with the operators of CUDA."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_bytes import attend_fused, make_cell, run_step
from lone_attention import attention_task
from windtunnel.cost.memory import predict_memory
from windtunnel.errors import UnsupportedError
from windtunnel.models import recomputation
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec

PRECISIONS = ("fp32", "bf16", "bf16-pure")
WORKLOADS = ("forward", "forward_backward")
SHAPES = ((3, 10), (1, 7), (2, 33))
"""Sequences and tokens: with one sequence, heads need no copies; with 33 tokens, scores are the largest tensors."""


def errors_of(cell: Cell, attend: Any = None) -> Mapping[str, int]:
    """Return by how many bytes the prediction of each phase, and of what is held before backward, is too high."""
    predicted = predict_memory(cell)
    peaks, before = run_step(cell, attend)
    errors = {phase: predicted.phases[phase] - peak for phase, peak in peaks.items()}
    return errors | ({"before": predicted.before_backward_bytes - before} if cell.workload != "forward" else {})


def slack_of(cell: Cell) -> int:
    """Return what a prediction may be off by: a tensor that the check of shapes holds on to, and rotation tables."""
    assert isinstance(cell.model, ModelSpec)
    return 4 * cell.context_length * (cell.batch_size * cell.model.d_model + 2 * cell.model.d_head)


def assert_close(cell: Cell, attend: Any = None) -> None:
    errors = errors_of(cell, attend)

    assert all(abs(error) <= slack_of(cell) for error in errors.values()), (errors, slack_of(cell))
    assert errors.get("before", 0) == 0


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("num_kv_heads", [None, 2, 1])
def test_eager_steps_hold_what_is_predicted_at_the_peak_of_each_phase(
    precision: str, workload: str, num_kv_heads: int | None
):
    for (batch_size, context_length), num_layers in itertools.product(SHAPES, (1, 4)):
        assert_close(
            make_cell(
                precision=precision,
                workload=workload,
                num_kv_heads=num_kv_heads,
                batch_size=batch_size,
                context_length=context_length,
                num_layers=num_layers,
            )
        )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_with_a_large_vocabulary_the_gradients_of_tied_weights_are_there_three_times(precision: str):
    cell = make_cell(precision=precision, is_tied=True, workload="forward_backward", vocab_size=5000, num_layers=1)

    assert_close(cell)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu"])
@pytest.mark.parametrize("is_tied", [False, True])
def test_so_do_other_activations_and_tied_heads(precision: str, activation: str, is_tied: bool):
    for workload in WORKLOADS:
        assert_close(make_cell(precision=precision, activation=activation, is_tied=is_tied, workload=workload))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_so_do_flash_kernels(precision: str, workload: str, num_kv_heads: int | None):
    for batch_size, context_length in SHAPES:
        cell = make_cell(
            precision=precision,
            workload=workload,
            num_kv_heads=num_kv_heads,
            batch_size=batch_size,
            context_length=context_length,
            attention="sdpa-efficient",
        )
        assert_close(cell, attend_fused)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("checkpoint", ["every:1", "every:2", "every:3", "ffn", "selective"])
def test_so_does_checkpointing(precision: str, checkpoint: str, monkeypatch: pytest.MonkeyPatch):
    kept = recomputation.KEPT_OPERATORS | {"windtunnel_tests.flash_forward.default"}
    monkeypatch.setattr(recomputation, "KEPT_OPERATORS", kept)

    for num_layers in (3, 4):
        fields = {"precision": precision, "checkpoint": checkpoint, "num_layers": num_layers}
        assert_close(make_cell(**fields))
        assert_close(make_cell(**fields, attention="sdpa-efficient"), attend_fused)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_tiled_attention_of_single_operations_is_within_a_tenth(precision: str, workload: str):
    cell = make_cell(precision=precision, workload=workload, attention="flash-eager", context_length=300, batch_size=2)

    predicted, (peaks, before) = predict_memory(cell), run_step(cell)

    assert predicted.phases == pytest.approx(peaks, rel=0.1)
    assert workload == "forward" or predicted.before_backward_bytes == before


def test_the_parts_of_a_peak_are_all_of_it():
    predicted = predict_memory(make_cell(workload="train_step", device="cuda:0", precision="bf16"))

    assert list(predicted.phases) == ["forward", "loss", "backward", "optimizer"]
    for phase, parts in predicted.components.items():
        assert sum(parts.values()) == predicted.phases[phase]
        assert all(num_bytes > 0 for num_bytes in parts.values())
    assert predicted.peak_bytes == max(predicted.phases.values()) == predicted.phases[predicted.peak_phase]


def test_the_optimizer_phase_holds_weights_gradients_and_moments_only():
    cell = make_cell(workload="train_step", device="cuda:0")

    parts = predict_memory(cell).components["optimizer"]

    weights = parts["parameters"]
    assert parts["gradients"] == weights
    assert parts["optimizer"] - 2 * weights == 512 * (3 * 9 + 3)  # a step of each tensor, in the smallest block
    assert set(parts) <= {"parameters", "gradients", "optimizer", "inputs", "workspace", "rounding", "loss"}


def test_the_workspace_comes_twice_in_backward():
    parts = predict_memory(make_cell(device="cuda:0"), workspace_bytes=1000).components

    assert parts["forward"]["workspace"] == 1000
    assert parts["backward"]["workspace"] == 2000


def test_sgd_holds_no_state():
    cell = make_cell(workload="train_step")

    assert "optimizer" not in predict_memory(cell, optimizer="sgd").components["optimizer"]


@pytest.mark.parametrize("attention", ["my.module:attend", "sdpa-math"])
def test_an_attention_without_a_closed_form_says_so(attention: str):
    with pytest.raises(UnsupportedError, match="no closed form"):
        predict_memory(make_cell(attention=attention))


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_eager_attention_alone_holds_two_matrices_forward_and_four_backward(mask: str, num_kv_heads: int | None):
    cell = attention_task(mask=mask, num_kv_heads=num_kv_heads, context_length=512, d_head=2).cell
    matrix = 4 * cell.batch_size * 4 * 512**2

    predicted = predict_memory(cell)

    assert predicted.phases["forward"] == pytest.approx(2 * matrix, rel=0.1)
    assert predicted.before_backward_bytes == pytest.approx(matrix, rel=0.15)
    assert predicted.phases["backward"] == pytest.approx(4 * matrix, rel=0.1)


@pytest.mark.parametrize(
    ("attention", "matrices", "under_limit"), [("eager", 5, 5), ("compiled", 2, 3), ("flash-triton", 0, 0)]
)
def test_attention_alone_needs_a_matrix_beyond_its_peak_where_it_holds_any(
    attention: str, matrices: int, under_limit: int
):
    cell = attention_task(attention=attention, mask="full", context_length=2048, d_head=2, device="cuda:0").cell
    matrix = 4 * cell.batch_size * 4 * 2048**2

    predicted = predict_memory(cell, workspace_bytes=0)

    assert predicted.needed_bytes == pytest.approx(matrices * matrix, rel=0.01, abs=2e6)
    assert predicted.needed_under_limit_bytes == pytest.approx(under_limit * matrix, rel=0.01, abs=2e6)


def test_a_cpu_cuts_no_blocks_and_tries_no_kernels():
    predicted = predict_memory(attention_task(attention="eager", device="cpu").cell)

    assert predicted.needed_under_limit_bytes == predicted.peak_bytes


def test_only_products_have_a_workspace():
    alone = attention_task(attention="flash-triton", device="cuda:0").cell

    assert "workspace" not in predict_memory(alone, workspace_bytes=2**30).components["forward"]


@given(
    st.sampled_from(["fp32", "bf16", "bf16-pure"]),
    st.sampled_from(["eager", "flash-triton", "compiled"]),
    st.sampled_from(["forward", "forward_backward", "train_step"]),
    st.integers(min_value=1, max_value=40),
    st.integers(min_value=2, max_value=300),
)
def test_more_of_anything_never_needs_less(
    precision: str, attention: str, workload: str, batch_size: int, context_length: int
):
    """What a search for the largest cell that fits relies on."""
    fields = {"precision": precision, "attention": attention, "workload": workload}
    sizes = {"batch_size": batch_size, "context_length": context_length, "num_layers": 3, "d_ff": 80}
    least = predict_memory(make_cell(**fields, **sizes)).peak_bytes

    for name, size in sizes.items():
        if name == "batch_size" and size == 1:
            continue  # from one sequence to two, heads begin to need copies
        assert predict_memory(make_cell(**fields, **sizes | {name: size + 1})).peak_bytes >= least
