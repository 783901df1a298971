"""The phases of a step of a whole model, put together from its parts: which tensors live when, and what runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost import blocks, ends
from windtunnel.cost.attending import Attending, attending
from windtunnel.cost.compiled_blocks import compiled
from windtunnel.cost.compiled_scores import CompiledScores
from windtunnel.cost.layout import ONE_DEVICE, Layout
from windtunnel.cost.parameters import OPTIMIZER_STATES, parameter_count, tensor_count
from windtunnel.cost.sizes import FLOAT, INDEX, Sizes, sizes_of
from windtunnel.cost.tape import Component, Held, Stretch, Tape, in_order
from windtunnel.errors import UnsupportedError
from windtunnel.language import say
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import NO_CHECKPOINT, parse_checkpoint
from windtunnel.spec.own_model import OwnModel

_ROUNDING = 512
"""The CUDA caching allocator hands out multiples of this; felt only by tensors of one number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What a step does, phase by phase, and what is on the device before it begins.

    Attributes:
        resident: Bytes of each component that are there before and after the step.
        phases: In their order; each begins where the one before has ended.
        saved_of_block: What one block keeps for backward, by name, without checkpointing and without copies of weights;
            empty where there is no backward.
        cut_bytes: What a CUDA device must have beyond the peak, as a free block of that size is in part in use.
        trial_bytes: What the first run of compiled code takes beyond the peak, where the device has room.
    """

    resident: Mapping[Component, int]
    phases: Mapping[str, Stretch]
    saved_of_block: Mapping[str, Held]
    cut_bytes: int = 0
    trial_bytes: int = 0


def program_of(cell: Cell, *, optimizer: str = "adamw", layout: Layout = ONE_DEVICE) -> Program:
    """Return the program of a step of a whole model, on one of the devices of a layout.

    Raises:
        UnsupportedError: The attention backend, torch.compile or the model has no closed form.
    """
    if isinstance(cell.model, OwnModel):
        raise UnsupportedError(
            say(
                "model {name!r} has no closed form, as nothing is known of it before it is built: windtunnel predict "
                "--model counts it",
                name=cell.model.name,
            )
        )
    sizes, attends = sizes_of(cell, layout), attending_of(cell)
    middle = _blocks(sizes, attends, cell)
    if cell.workload == "forward":
        return Program(
            resident=_resident(sizes, states=None),
            phases={"forward": _forward(sizes, middle, keeps=False)[0]},
            saved_of_block={},
        )
    states = OPTIMIZER_STATES[optimizer] if cell.workload == "train_step" else None
    forward, tape = _forward(sizes, middle, keeps=True)
    loss = Tape(tape.held)
    ends.loss(loss, sizes)
    phases = {
        "forward": forward,
        "loss": loss.stretch(),
        "backward": _backward(sizes, middle, loss.held),
    }
    if states is not None:
        update = Tape()
        ends.optimize(update, sizes, states=states)
        phases["optimizer"] = update.stretch()
    return Program(resident=_resident(sizes, states=states), phases=phases, saved_of_block=middle.saved)


def attending_of(cell: Cell) -> Attending:
    """Return how a cell attends, compiled or not.

    Raises:
        UnsupportedError: That has no closed form.
    """
    attends = attending(cell.attention)
    if cell.compile == "off":
        return attends
    if cell.attention in _NOT_TRACED or cell.checkpoint != NO_CHECKPOINT:
        if cell.checkpoint != NO_CHECKPOINT:
            what = say("checkpoint {value}", value=repr(cell.checkpoint))
        else:
            what = say("attention {value}", value=repr(cell.attention))
        raise UnsupportedError(
            say(
                "{what} under compile {mode!r} has no closed form, as the compiler decides what is kept: with compile "
                "off it has one, which is more memory and more time",
                what=what,
                mode=cell.compile,
            )
        )
    return CompiledScores() if cell.attention == "eager" else attends


_NOT_TRACED = ("flash-eager", "flex", "compiled")
"""Backends that are no single kernel in a compiled model, or that cannot be part of one."""


def _blocks(sizes: Sizes, attends: Attending, cell: Cell) -> blocks.Blocks:
    trains = cell.workload != "forward"
    if cell.compile != "off":
        return compiled(sizes, attends, trains=trains)
    return (
        blocks.training(sizes, attends, parse_checkpoint(cell.checkpoint))
        if trains
        else blocks.inference(sizes, attends)
    )


def _forward(sizes: Sizes, middle: blocks.Blocks, *, keeps: bool) -> tuple[Stretch, Tape]:
    """Return the forward pass, and the tape of its end, with what that keeps."""
    begin = Tape()
    ends.embed(begin, sizes, x="x")
    end = Tape({**begin.held, "x": sizes.stream(sizes.d)})
    ends.head(end, sizes, x="x", keeps=keeps)
    if not keeps:
        end.drop(*(name for name in end.held if name != "logits"))
    sharding = sizes.sharding
    before = in_order(sharding.begin(), begin.stretch(), sharding.enter_blocks())
    return in_order(before, middle.forward, end.stretch(), sharding.end_forward(), middle.after_forward), end


def _backward(sizes: Sizes, middle: blocks.Blocks, held: Mapping[str, Held]) -> Stretch:
    loss = Tape(held)
    ends.loss_backward(loss, sizes)
    head = Tape(loss.held)
    ends.head_backward(head, sizes, x="x", dx="dy")
    end = Tape(head.held)
    ends.embed_backward(end, sizes, dx="dy")
    sharding = sizes.sharding
    before = in_order(loss.stretch(), sharding.fetch(), head.stretch())
    return in_order(before, middle.backward, end.stretch(), sharding.end())


def _resident(sizes: Sizes, *, states: int | None) -> Mapping[Component, int]:
    """Return what is there all the time: weights, optimizer state, tokens and targets, rotation tables, buckets.

    DDP makes its buckets, which hold a copy of all gradients, with the model (Reducer::initialize_buckets of
    torch/csrc/distributed/c10d/reducer.cpp).
    """
    weights, layout = parameter_count(sizes.model) * sizes.stream_bytes, sizes.layout
    tables = 2 * sizes.seq_len * sizes.model.d_head * FLOAT
    resident = {
        Component.PARAMETERS: layout.of_weights(weights),
        Component.INPUTS: 2 * sizes.tokens * INDEX + tables,
    }
    if layout.has_buckets:
        resident[Component.COMMUNICATION] = weights
    if states:
        steps = layout.of_tensors(tensor_count(sizes.model)) * _ROUNDING
        resident[Component.OPTIMIZER] = states * layout.of_update(weights) + steps
    return resident
