"""What many devices share and send."""

from typing import Any

import pytest

from factory import make_task
from lone_attention import attention_task
from windtunnel.cost.layout import Layout, laid_out, make_layout, wire_bytes
from windtunnel.cost.memory import MemoryPrediction, predict_memory
from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell

WEIGHTS = 4 * 128_625_408


def small(workload: str = "train_step", **fields: Any) -> Cell:
    return make_task(size="small", workload=workload, device="cuda:0", context_length=64, **fields).cell


def on_one_of(cell: Cell, kind: str, world_size: int) -> MemoryPrediction:
    return laid_out(cell, make_layout(kind, world_size), predict_memory(cell))


@pytest.mark.parametrize(("world_size", "share"), [(2, 1 / 2), (8, 7 / 8)])
def test_ddp_sends_all_gradients_twice_but_a_share(world_size: int, share: float):
    assert wire_bytes(small(), Layout(kind="ddp", world_size=world_size)) == {"backward": 2 * WEIGHTS * share}


def test_zero1_sends_as_much_as_ddp_in_two_halves():
    sent = wire_bytes(small(), Layout(kind="zero1", world_size=4))

    assert sent == {"backward": WEIGHTS * 3 / 4, "optimizer": WEIGHTS * 3 / 4}


def test_fsdp_sends_half_as_much_again():
    sent = wire_bytes(small(), Layout(kind="fsdp", world_size=4))

    assert sent == {"forward": WEIGHTS * 3 / 4, "backward": 2 * WEIGHTS * 3 / 4}
    assert wire_bytes(small("forward"), Layout(kind="fsdp", world_size=4)) == {"forward": WEIGHTS * 3 / 4}


def test_half_precision_weights_send_half():
    layout = Layout(kind="ddp", world_size=2)

    assert wire_bytes(small(precision="bf16-pure"), layout) == {"backward": WEIGHTS / 2}


def test_one_device_sends_nothing_and_holds_all():
    cell = small()

    assert wire_bytes(cell, Layout()) == {}
    assert laid_out(cell, Layout(), predict_memory(cell)) == predict_memory(cell)


def test_ddp_holds_its_gradients_once_more():
    cell, alone = small(), predict_memory(small())

    shared = on_one_of(cell, "ddp", 2)

    assert shared.phases["optimizer"] - alone.phases["optimizer"] == WEIGHTS
    assert shared.phases["forward"] == alone.phases["forward"]


def test_zero1_holds_a_share_of_the_moments():
    parts, alone = on_one_of(small(), "zero1", 4).components, predict_memory(small()).components

    assert parts["optimizer"]["optimizer"] == alone["optimizer"]["optimizer"] // 4
    assert parts["optimizer"]["parameters"] == WEIGHTS


def test_fsdp_holds_a_share_of_everything_but_two_blocks():
    cell = small()
    parts = on_one_of(cell, "fsdp", 4).components
    block = 4 * (4 * 768**2 + 3 * 768 * 3072)

    assert parts["optimizer"]["parameters"] == parts["optimizer"]["gradients"] == WEIGHTS // 4
    assert parts["forward"]["communication"] == 2 * block
    assert parts["backward"]["communication"] == 3 * block
    assert "communication" not in parts["optimizer"]


@pytest.mark.parametrize("kind", ["ddp", "zero1", "fsdp"])
def test_what_is_held_before_backward_is_shared_too(kind: str):
    alone, shared = predict_memory(small()), on_one_of(small(), kind, 2)
    assert alone.before_backward_bytes is not None
    assert shared.before_backward_bytes is not None
    before, after = alone.components["loss"], shared.components["loss"]

    assert shared.before_backward_bytes - alone.before_backward_bytes == sum(after.values()) - sum(before.values())


@pytest.mark.parametrize(
    ("kind", "world_size", "message"),
    [
        ("dpp", 2, "unknown parallel 'dpp'; known: ddp, fsdp, none, zero1; did you mean 'ddp'?"),
        ("ddp", 0, "world-size is 0; allowed: a whole number from 1"),
        ("none", 2, "give --parallel"),
        ("fsdp", 1, "give --world-size from 2"),
    ],
)
def test_impossible_layouts_say_why(kind: str, world_size: int, message: str):
    with pytest.raises(SpecError) as raised:
        make_layout(kind, world_size)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("cell", "kind", "message"),
    [
        (small("forward"), "ddp", "has no effect on forward"),
        (small("forward_backward"), "zero1", "use train_step"),
        (attention_task().cell, "fsdp", "attention alone has no weights"),
    ],
)
def test_cells_that_cannot_be_laid_out_say_why(cell: Cell, kind: str, message: str):
    with pytest.raises(SpecError, match=message):
        wire_bytes(cell, make_layout(kind, 2))
