"""Which cells are refused for a device before anything is built."""

import pytest

from factory import make_attention_task, make_task
from windtunnel.errors import UnsupportedError
from windtunnel.spec.abilities import Place
from windtunnel.spec.cell import Cell
from windtunnel.spec.limits import call_of, check_cell

CPU = Place(name="cpu", kind="cpu")
T4 = Place(name="Tesla T4", kind="cuda", capability=(7, 5))
H200 = Place(name="NVIDIA H200", kind="cuda", capability=(9, 0))


def step(**fields: object) -> Cell:
    return make_task(**{"size": "small", "workload": "train_step", **fields}).cell


def refusal_of(cell: Cell, place: Place) -> str:
    with pytest.raises(UnsupportedError) as refusal:
        check_cell(cell, place)
    return str(refusal.value)


@pytest.mark.parametrize("precision", ["bf16", "tf32", "bf16-pure"])
def test_a_precision_that_a_gpu_lacks_is_refused_with_the_capability_that_it_needs(precision: str):
    text = refusal_of(step(precision=precision), T4)

    assert text == f"precision {precision!r} needs compute capability 8.0; Tesla T4 has 7.5"
    check_cell(step(precision=precision), H200)


def test_tf32_is_refused_where_there_are_no_tensor_cores():
    assert refusal_of(step(precision="tf32"), CPU).startswith("precision 'tf32' is a mode of NVIDIA tensor cores")


@pytest.mark.parametrize(
    ("fields", "place", "said"),
    [
        ({"attention": "flash-attn"}, H200, "does not take float32; it takes float16, bfloat16"),
        ({"attention": "sdpa-cudnn", "precision": "bf16"}, CPU, "does not run on cpu"),
        ({"attention": "flash-triton"}, T4, "needs compute capability 8.0; Tesla T4 has 7.5"),
        ({"attention": "flex"}, CPU, "has no backward"),
        ({"attention": "flex", "compile": "default"}, H200, "compiles itself, and cannot be part of a model"),
    ],
)
def test_what_attention_cannot_do_is_refused_with_its_reason(fields: dict[str, str], place: Place, said: str):
    assert said in refusal_of(step(**fields), place)


def test_inference_asks_for_no_gradients():
    check_cell(step(attention="flex", workload="forward"), CPU)


def test_attention_of_ones_own_is_not_refused_for_what_is_not_known_of_it():
    check_cell(step(attention="mine:attend"), CPU)


def test_attention_alone_is_asked_for_its_mask():
    call = call_of(make_attention_task(mask="window:3").cell)

    assert (call.is_causal, call.window) == (True, 3)
