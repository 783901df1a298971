"""Predicted peaks against those that were measured on an H200, and against published ones."""

import pytest

from factory import make_task
from h200_memory import COURSE_GIB, PROBE, PUBLISHED_MIB, SEED_003_GIB, SMOKE_MIB
from windtunnel.cost.memory import predict_memory
from windtunnel.spec.model import NAMED_SIZES, ModelSpec

MIB, GIB = 2**20, 2**30
TOLERANCE = 0.05


def peak(size: str | ModelSpec, workload: str, context_length: int, precision: str = "fp32", attention: str = "eager"):
    """Return the predicted peak of a cell with batch 4 on the GPU."""
    cell = make_task(
        size=size,
        workload=workload,
        context_length=context_length,
        precision=precision,
        attention=attention,
        device="cuda:0",
    ).cell
    return predict_memory(cell).peak_bytes


@pytest.mark.parametrize("size", SEED_003_GIB)
def test_short_contexts_of_all_sizes(size: str):
    predicted = [
        peak(size, workload, context) / GIB for context in (128, 256) for workload in ("forward", "forward_backward")
    ]

    assert predicted == pytest.approx(SEED_003_GIB[size], rel=TOLERANCE / 2)


@pytest.mark.parametrize(("size", "precision"), COURSE_GIB)
def test_all_workloads_at_context_512(size: str, precision: str):
    predicted = [
        peak(size, workload, 512, precision) / GIB for workload in ("forward", "forward_backward", "train_step")
    ]

    assert predicted == pytest.approx(COURSE_GIB[size, precision], rel=TOLERANCE)


@pytest.mark.parametrize(("precision", "attention"), SMOKE_MIB)
def test_every_backend_and_precision(precision: str, attention: str):
    predicted = peak(PROBE, "train_step", 256, precision, attention) / MIB

    assert predicted == pytest.approx(SMOKE_MIB[precision, attention], rel=TOLERANCE / 2)


@pytest.mark.parametrize("size", PUBLISHED_MIB)
def test_published_peaks_of_another_implementation(size: str):
    """Whose softmax, SiLU, norm and rotation are written out, so that it keeps and holds more than ours.

    Of each block it keeps besides: exp(scores) before it is divided, in fp32; the sigmoid beside the gate; two
    tensors of the stream's width for each norm. In forward it holds two matrices of scores more: the maximum taken
    off, and its exp.
    """
    model, tokens = NAMED_SIZES[size], 4 * 512
    scores = 4 * tokens * model.num_heads * 512
    block = scores + 4 * tokens * model.d_ff + 2 * 2 * 4 * tokens * model.d_model

    forward = peak(size, "forward", 512) + 2 * scores
    step = peak(size, "train_step", 512) + model.num_layers * block

    assert (forward / MIB, step / MIB) == pytest.approx(PUBLISHED_MIB[size], rel=TOLERANCE)
