import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from factory import TINY, make_task
from windtunnel.cost.layout import check_layout, make_layout
from windtunnel.cost.memory import predict_memory
from windtunnel.cost.step import Cost, cost_of, forward_flops, parameter_count
from windtunnel.errors import SpecError
from windtunnel.spec.model import ACTIVATIONS, NAMED_SIZES, ModelSpec
from windtunnel.spec.tables import PRECISIONS, STEP_WORKLOADS

BATCH_SIZE = 4


def make_cost(**cell: Any) -> Cost:
    return cost_of(make_task(**cell).cell)


@st.composite
def models(draw: st.DrawFn) -> ModelSpec:
    """Draw small models with every kind of head grouping."""
    kv_heads, group, half = (draw(st.integers(min_value=1, max_value=4)) for _ in range(3))
    num_heads = kv_heads * group
    return ModelSpec(
        name="drawn",
        d_model=num_heads * 2 * half,
        d_ff=draw(st.integers(min_value=1, max_value=50)),
        num_layers=draw(st.integers(min_value=1, max_value=4)),
        num_heads=num_heads,
        num_kv_heads=kv_heads,
        vocab_size=draw(st.integers(min_value=1, max_value=100)),
        is_tied=draw(st.booleans()),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )


def weight_matrices(model: ModelSpec) -> list[tuple[int, int]]:
    """List the shape of every matrix that is multiplied, as a reader of the model would."""
    d, kv = model.d_model, model.kv_heads * (model.d_model // model.num_heads)
    queries, keys, values, output = (d, d), (d, kv), (d, kv), (d, d)
    gate = [(d, model.d_ff)] if model.activation == "swiglu" else []
    up, down = (d, model.d_ff), (model.d_ff, d)
    block = [queries, keys, values, output, *gate, up, down]
    return [*(block * model.num_layers), (d, model.vocab_size)]


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("small", 128_625_408),
        ("medium", 423_183_360),
        ("large", 969_411_840),
        ("xl", 1_998_235_200),
        ("2.7B", 3_406_809_600),
    ],
)
def test_the_published_sizes_have_their_published_parameters(size: str, parameters: int):
    assert parameter_count(NAMED_SIZES[size]) == parameters


@given(models())
def test_parameters_are_the_matrices_the_embedding_and_the_norms(model: ModelSpec):
    matrices = sum(rows * columns for rows, columns in weight_matrices(model))
    embedding = 0 if model.is_tied else model.vocab_size * model.d_model  # else it is the head, among the matrices
    norms = (2 * model.num_layers + 1) * model.d_model

    assert parameter_count(model) == matrices + embedding + norms


@pytest.mark.parametrize(
    ("size", "teraflops"),
    [
        ("small", (0.126, 0.257, 0.534, 1.145)),
        ("medium", (0.429, 0.871, 1.794, 3.795)),
        ("large", (0.992, 2.007, 4.111, 8.609)),
        ("xl", (2.050, 4.140, 8.441, 17.526)),
        ("2.7B", (3.484, 7.010, 14.192, 29.072)),
    ],
)
def test_the_forward_work_of_the_published_sizes(size: str, teraflops: tuple[float, ...]):
    counted = [
        forward_flops(NAMED_SIZES[size], batch_size=BATCH_SIZE, context_length=context)
        for context in (128, 256, 512, 1024)
    ]

    assert [round(flops / 1e12, 3) for flops in counted] == list(teraflops)


@given(models(), st.integers(min_value=1, max_value=5), st.integers(min_value=1, max_value=40))
def test_forward_work_is_two_flops_for_each_entry_of_each_product(
    model: ModelSpec, batch_size: int, context_length: int
):
    products = [(batch_size * context_length, *shape) for shape in weight_matrices(model)]
    heads, d_head = model.num_heads, model.d_model // model.num_heads
    scores = (batch_size * heads * context_length, d_head, context_length)
    weighted_sum = (batch_size * heads * context_length, context_length, d_head)
    products += [scores, weighted_sum] * model.num_layers

    flops = forward_flops(model, batch_size=batch_size, context_length=context_length)

    assert flops == sum(2 * math.prod(product) for product in products)


def test_grouped_queries_save_key_and_value_weights_and_their_products_only():
    grouped = TINY.model_copy(update={"num_kv_heads": 1})  # one of four heads: 8 of 32 columns
    saved = TINY.num_layers * 2 * 32 * (32 - 8)

    work = [forward_flops(model, batch_size=4, context_length=16) for model in (TINY, grouped)]

    assert parameter_count(TINY) - parameter_count(grouped) == saved
    assert work[0] - work[1] == 4 * 16 * 2 * saved


def test_inference_has_no_backward_work():
    cost = make_cost(workload="forward")

    assert list(cost.flops) == ["forward"]
    assert cost.step_flops == cost.flops["forward"]


@pytest.mark.parametrize("workload", ["forward_backward", "train_step"])
def test_backward_works_twice_as_much_as_forward(workload: str):
    cost = make_cost(workload=workload)

    assert cost.flops["backward"] == 2 * cost.flops["forward"]
    assert cost.step_flops == 3 * cost.flops["forward"]


@pytest.mark.parametrize("workload", STEP_WORKLOADS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_work_does_not_depend_on_the_precision(workload: str, precision: str):
    assert make_cost(workload=workload, precision=precision).flops == make_cost(workload=workload).flops


WEIGHT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 4, "fp16": 4, "bf16-pure": 2}
LOGIT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "bf16-pure": 2}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_stores_its_weights_and_logits_in_its_formats(precision: str):
    cost = make_cost(precision=precision, batch_size=3, context_length=7)

    assert cost.least_bytes == {
        "parameters": cost.parameters * WEIGHT_BYTES[precision],
        "logits": 3 * 7 * TINY.vocab_size * LOGIT_BYTES[precision],
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_forward_backward_holds_a_gradient_for_each_weight(precision: str):
    inference, training = (
        make_cost(precision=precision, workload=workload).least_bytes for workload in ("forward", "forward_backward")
    )

    assert training == {**inference, "gradients": inference["parameters"]}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_step_holds_two_moments_for_each_weight_besides(precision: str):
    backward, training = (
        make_cost(precision=precision, workload=workload).least_bytes for workload in ("forward_backward", "train_step")
    )

    assert training == {**backward, "optimizer": 2 * backward["parameters"]}


@pytest.mark.parametrize("batch_size", [4, 400])
def test_the_least_memory_has_the_larger_of_gradients_and_logits(batch_size: int):
    cost = make_cost(workload="train_step", size="small", batch_size=batch_size, context_length=256)
    gradients, logits = 4 * 128_625_408, 4 * batch_size * 256 * 10_000

    assert cost.floor_bytes == 3 * 4 * 128_625_408 + max(gradients, logits)


def test_sgd_keeps_nothing_for_each_weight():
    cost = cost_of(make_task(workload="train_step", size="small").cell, optimizer="sgd")

    assert cost.floor_bytes == 2 * 4 * 128_625_408


@pytest.mark.parametrize(("kind", "copies"), [("ddp", 5), ("zero1", 3 + 2 / 8), ("fsdp", 4 / 8)])
def test_the_least_memory_is_that_of_one_device(kind: str, copies: float):
    cost = cost_of(make_task(workload="train_step", size="small").cell, layout=make_layout(kind, 8))

    assert cost.floor_bytes == copies * 4 * 128_625_408


@given(
    models(),
    st.sampled_from(tuple(PRECISIONS)),
    st.sampled_from(tuple(STEP_WORKLOADS)),
    st.sampled_from(["adamw", "sgd"]),
    st.sampled_from([("none", 1), ("ddp", 2), ("zero1", 3), ("fsdp", 2), ("fsdp", 64)]),
    st.sampled_from(["none", "every:1", "selective"]),
    st.integers(min_value=1, max_value=300),
)
def test_no_step_is_predicted_to_need_less_than_the_least(
    model: ModelSpec,
    precision: str,
    workload: str,
    optimizer: str,
    laid_out: tuple[str, int],
    checkpoint: str,
    context_length: int,
):
    layout = make_layout(*laid_out)
    fields = {"size": model, "precision": precision, "workload": workload, "context_length": context_length}
    cell = make_task(**fields, checkpoint="none" if workload == "forward" else checkpoint).cell
    try:
        check_layout(cell, layout)
    except SpecError:
        assume(False)

    peak = predict_memory(cell, optimizer=optimizer, layout=layout).peak_bytes

    assert cost_of(cell, optimizer=optimizer, layout=layout).floor_bytes <= peak
