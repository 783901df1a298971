"""What many devices share and send."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from factory import make_task
from live_bytes import make_cell
from lone_attention import attention_task
from windtunnel.cost.ceilings import datasheet_ceilings
from windtunnel.cost.cell_program import cell_program
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.layout import LAYOUTS, Layout, make_layout, wire_bytes
from windtunnel.cost.memory import MemoryPrediction, predict_memory
from windtunnel.cost.tape import Component, add
from windtunnel.cost.time import predict_time
from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec

WEIGHTS = 4 * 128_625_408
BLOCK = 4 * (4 * 768**2 + 3 * 768 * 3072 + 2 * 768)


def small(workload: str = "train_step", **fields: Any) -> Cell:
    return make_task(size="small", workload=workload, device="cuda:0", context_length=64, **fields).cell


def on_one_of(cell: Cell, kind: str, world_size: int) -> MemoryPrediction:
    return predict_memory(cell, layout=make_layout(kind, world_size))


@pytest.mark.parametrize(("world_size", "share"), [(2, 1 / 2), (8, 7 / 8)])
def test_ddp_sends_all_gradients_twice_but_a_share(world_size: int, share: float):
    assert wire_bytes(small(), Layout(kind="ddp", world_size=world_size)) == {"backward": 2 * WEIGHTS * share}


def test_zero1_sends_as_much_as_ddp_in_two_halves():
    sent = wire_bytes(small(), Layout(kind="zero1", world_size=4))

    assert sent == {"backward": WEIGHTS * 3 / 4, "optimizer": WEIGHTS * 3 / 4}


def test_fsdp_sends_all_gradients_all_weights_and_those_of_the_blocks_again():
    sent = wire_bytes(small(), Layout(kind="fsdp", world_size=4))

    assert sent == {"forward": WEIGHTS * 3 / 4, "backward": (WEIGHTS + 12 * BLOCK) * 3 / 4}
    assert wire_bytes(small("forward"), Layout(kind="fsdp", world_size=4)) == {"forward": WEIGHTS * 3 / 4}


def test_half_precision_weights_send_half():
    layout = Layout(kind="ddp", world_size=2)

    assert wire_bytes(small(precision="bf16-pure"), layout) == {"backward": WEIGHTS / 2}


def test_one_device_sends_nothing_and_holds_all():
    cell = small()

    assert wire_bytes(cell, Layout()) == {}
    assert predict_memory(cell, layout=Layout()) == predict_memory(cell)


def test_ddp_holds_room_for_its_gradients_once_more_all_the_time():
    alone, shared = predict_memory(small()), on_one_of(small(), "ddp", 2)

    assert {phase: shared.phases[phase] - alone.phases[phase] for phase in alone.phases} == dict.fromkeys(
        alone.phases, WEIGHTS
    )


def test_zero1_holds_a_share_of_the_moments():
    parts, alone = on_one_of(small(), "zero1", 4).components, predict_memory(small()).components

    assert parts["optimizer"]["optimizer"] == pytest.approx(alone["optimizer"]["optimizer"] / 4, abs=512)
    assert parts["optimizer"]["parameters"] == WEIGHTS


def test_fsdp_holds_a_share_of_everything_when_nothing_is_gathered():
    parts = on_one_of(small(), "fsdp", 4).components["optimizer"]

    assert parts["parameters"] == parts["gradients"] == WEIGHTS // 4
    assert parts["optimizer"] == 2 * WEIGHTS // 4 + 512 * 111  # a step of each tensor, on each device
    assert "communication" not in parts


def test_fsdp_holds_the_root_a_block_and_its_buffer_in_forward():
    cell = make_cell(d_model=48, d_ff=80, vocab_size=37, context_length=300)
    root, block = 4 * (2 * 37 * 48 + 48), 4 * (4 * 48**2 + 3 * 48 * 80 + 2 * 48)

    parts = on_one_of(cell, "fsdp", 4).components["forward"]

    assert parts["communication"] == root + 2 * block


def test_fsdp_holds_the_head_whole_while_it_is_multiplied():
    """Its gradient, too: the 2.9 GiB of a vocabulary of a million are there twice, and those of the embedding."""
    cell = make_cell(d_model=768, d_ff=3072, num_layers=12, num_heads=12, vocab_size=1_000_000, context_length=1024)
    root = 4 * (2 * 1_000_000 * 768 + 768)

    predicted = on_one_of(cell, "fsdp", 64)

    assert predicted.components["forward"]["communication"] >= root
    assert predicted.components["backward"]["communication"] >= root


def test_fsdp_gathers_no_more_blocks_than_there_are():
    """A block of 4 GiB, alone: its buffer and its weights, beside those of the root."""
    cell = make_task(
        size=ModelSpec(name="wide", d_model=8192, d_ff=21845, num_layers=1, num_heads=64, vocab_size=10_000),
        workload="train_step",
        context_length=128,
    ).cell
    block = 4 * (4 * 8192**2 + 3 * 8192 * 21845 + 2 * 8192)
    root = 4 * (2 * 10_000 * 8192 + 8192)

    parts = on_one_of(cell, "fsdp", 4).components

    assert parts["forward"]["communication"] <= 2 * root + 2 * block
    assert parts["backward"]["communication"] <= root + 2 * block


LAID_OUT = st.sampled_from([("none", 1), *((kind, size) for kind in LAYOUTS[1:] for size in (2, 7, 64))])


@given(
    LAID_OUT,
    st.sampled_from(["fp32", "bf16", "bf16-pure"]),
    st.sampled_from(["eager", "flash-triton"]),
    st.sampled_from(["none", "every:1", "every:2", "every:3", "ffn", "selective"]),
    st.integers(min_value=1, max_value=7),
    st.sampled_from([1, 37, 5000]),
    st.sampled_from([1, 16, 700]),
    st.booleans(),
)
def test_each_phase_holds_at_its_peak_at_least_what_it_begins_and_ends_with(
    laid_out: tuple[str, int],
    precision: str,
    attention: str,
    checkpoint: str,
    num_layers: int,
    vocab_size: int,
    context_length: int,
    is_tied: bool,
):
    layout = make_layout(*laid_out)
    assume(not checkpoint.startswith("every:") or int(checkpoint[-1]) <= num_layers)
    cell = make_cell(
        workload="train_step",
        precision=precision,
        attention=attention,
        checkpoint=checkpoint,
        num_layers=num_layers,
        vocab_size=vocab_size,
        context_length=context_length,
        is_tied=is_tied,
    )
    program, predicted = cell_program(cell, "adamw", layout), predict_memory(cell, layout=layout)
    level = program.resident

    for name, stretch in program.phases.items():
        begin, level = level, add(level, stretch.end)

        assert predicted.phases[name] >= max(sum(begin.values()), sum(level.values()))
        assert all(size >= 0 for size in level.values())
    left = {part: size - program.resident.get(part, 0) for part, size in level.items()}
    assert left.pop(Component.GRADIENTS) == pytest.approx(level[Component.PARAMETERS], abs=2 * num_layers + 3)
    assert sum(left.values()) == left[Component.LOSS]  # the number that the step returns


@pytest.mark.parametrize(("kind", "share"), [("none", 1), ("ddp", 1), ("zero1", 8), ("fsdp", 8)])
def test_the_update_moves_what_is_the_devices_own(kind: str, share: int):
    ceilings = datasheet_ceilings(h200) if (h200 := peaks_of("h200")) else None
    alone = predict_time(small(), ceilings).phases

    phases = predict_time(small(), ceilings, layout=make_layout(kind, 1 if kind == "none" else 8)).phases

    assert phases["optimizer"].bytes_moved == pytest.approx(alone["optimizer"].bytes_moved / share)
    assert phases["optimizer"].device_seconds == pytest.approx(alone["optimizer"].device_seconds / share)
    assert phases["backward"] == alone["backward"]


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
