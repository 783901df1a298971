"""All blocks of a model, forward and backward, with what checkpointing drops and computes again."""

from dataclasses import dataclass
from typing import Protocol

from windtunnel.cost import attention_part, feed_forward_part
from windtunnel.cost.attending import Attending
from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Component, Held, Stretch, Tape, in_order
from windtunnel.spec.checkpoint import Checkpoint

_PRODUCTS = frozenset({"raw q", "raw k", "v", "a", "gate", "up", "f"})
"""Results of the products with weights: what selective checkpointing keeps, and of attention where that is an operator
of its own."""

_COPY = "copy of "


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """What the blocks do in a step.

    Attributes:
        forward: All of them, one after the other.
        after_forward: What is freed when the forward of the model ends: copies of weights that nothing needs.
        backward: All of them, the last one first; nothing where there is no backward.
        saved: What one block keeps for backward between the two, by name; its input is `x`. Without checkpointing.
    """

    forward: Stretch
    after_forward: Stretch
    backward: Stretch
    saved: dict[str, Held]


def inference(sizes: Sizes, attends: Attending) -> Blocks:
    """Return the blocks without gradients: each frees what it has made, but its result.

    What goes into the first one lives until the last one is done: it is an argument of the call that runs them.
    """
    tape = _forward(sizes, attends, keeps=False)
    num_layers = sizes.model.num_layers
    first = sizes.stream(sizes.d).num_bytes
    block = sizes.sharding.forward(tape.stretch())
    return Blocks(
        forward=in_order(
            block,
            Stretch(end={Component.ACTIVATIONS: first}),
            block.times(num_layers - 1),
            Stretch(end={Component.ACTIVATIONS: -first}),
        ),
        after_forward=_freeing(_copies(tape), num_layers),
        backward=Stretch(),
        saved={},
    )


def training(sizes: Sizes, attends: Attending, checkpoint: Checkpoint) -> Blocks:
    """Return the blocks with gradients."""
    match checkpoint.kind:
        case "every":
            return _grouped(sizes, attends, checkpoint.num_blocks or sizes.model.num_layers)
        case "ffn":
            return _without_feed_forward(sizes, attends)
        case "selective":
            return _products_only(sizes, attends)
        case "none":
            return _kept(sizes, attends)


def _kept(sizes: Sizes, attends: Attending) -> Blocks:
    """Return the blocks without checkpointing."""
    tape = _forward(sizes, attends, keeps=True)
    num_layers = sizes.model.num_layers
    return Blocks(
        forward=sizes.sharding.forward(tape.stretch()).times(num_layers),
        after_forward=Stretch(),
        backward=backward_of(sizes, _backward(sizes, attends, tape.held)),
        saved=_saved(tape),
    )


def _grouped(sizes: Sizes, attends: Attending, group: int) -> Blocks:
    """Return the blocks in groups that keep their input only, the last group perhaps shorter.

    Backward of a group computes its forward again, up to where the last tensor is saved, and goes back through it.
    Source: Chen et al. 2016 (arXiv:1604.06174); torch.utils.checkpoint without reentry, which stops early.
    """
    num_layers, sharding = sizes.model.num_layers, sizes.sharding
    tape = _forward(sizes, attends, keeps=False)
    block = sharding.forward(tape.stretch())
    whole = _forward(sizes, attends, keeps=True)
    last = _forward(sizes, attends, keeps=True, stops_early=True)
    kept_input = Stretch(end={Component.ACTIVATIONS: sizes.stream(sizes.d).num_bytes})
    lengths = (group,) * (num_layers // group) + ((num_layers % group,) if num_layers % group else ())

    def forward(length: int) -> Stretch:
        return in_order(block, kept_input, block.times(length - 1))

    back_last, back = (sharding.backward(_backward(sizes, attends, tape.held)) for tape in (last, whole))

    def backward(*, is_first: bool, is_last: bool) -> Stretch:
        more = (lengths[-1] if is_first else group) - 1
        again = sharding.again(whole.stretch(), more).then(last.stretch())
        sent, fetched = sharding.sent() if is_first else Stretch(), Stretch() if is_last else sharding.fetch()
        if not more:
            return in_order(sharding.gather(), fetched, again, back_last, sent)
        begin = in_order(sharding.gather(), sharding.fetch(), again, back_last, sent)
        return in_order(begin, back.times(more - 1), fetched, back)

    full, rest = num_layers // group, lengths[num_layers // group :]
    return Blocks(
        forward=in_order(forward(group).times(full), *(forward(length) for length in rest)),
        after_forward=_freeing(_copies(tape), num_layers),
        backward=_in_turn(len(lengths), backward),
        saved=_saved(whole),
    )


def _without_feed_forward(sizes: Sizes, attends: Attending) -> Blocks:
    """Return blocks that keep all of attention, and compute the second norm and the feed-forward layer again."""
    tape = Tape({"x": sizes.stream(sizes.d)})
    attention_part.forward(tape, sizes, attends, x="x", y="x1", keeps=True)
    before = set(_copies(tape))
    feed_forward_part.forward(tape, sizes, x="x1", y="x2", keeps=False)
    unneeded = {name: held for name, held in _copies(tape).items() if name not in before}
    again = Tape({name: held for name, held in tape.held.items() if name not in {"x2", *unneeded}})
    feed_forward_part.forward(again, sizes, x="x1", y="x2", keeps=True, stops_early=True)
    return _recomputing(sizes, attends, tape, unneeded, again)


def _products_only(sizes: Sizes, attends: Attending) -> Blocks:
    """Return blocks that keep their input and the results of products, and compute all between them again."""
    products = _PRODUCTS | {"o", "log-sum-exp"} if attends.is_operator else _PRODUCTS
    tape = _forward(sizes, attends, keeps=False, pinned=products | {"x"})
    kept = {name: held for name, held in tape.held.items() if name not in {"x2", *_copies(tape)}}
    again = Tape(kept, given=frozenset(kept) & products)
    attention_part.forward(again, sizes, attends, x="x", y="x1", keeps=True)
    feed_forward_part.forward(again, sizes, x="x1", y="x2", keeps=True, stops_early=True)
    return _recomputing(sizes, attends, tape, _copies(tape), again)


def _recomputing(sizes: Sizes, attends: Attending, tape: Tape, unneeded: dict[str, Held], again: Tape) -> Blocks:
    """Return blocks that each play `again` before they go back."""
    num_layers = sizes.model.num_layers
    return Blocks(
        forward=sizes.sharding.forward(tape.stretch()).times(num_layers),
        after_forward=_freeing(unneeded, num_layers),
        backward=backward_of(sizes, again.stretch().then(_backward(sizes, attends, again.held))),
        saved=_saved(_forward(sizes, attends, keeps=True)),
    )


def backward_of(sizes: Sizes, block: Stretch) -> Stretch:
    """Return the backward of all blocks, each by itself."""
    sharding = sizes.sharding
    back = sharding.backward(block)

    def one(*, is_first: bool, is_last: bool) -> Stretch:
        fetched, sent = Stretch() if is_last else sharding.fetch(), sharding.sent() if is_first else Stretch()
        return in_order(sharding.gather(), fetched, back, sent)

    return _in_turn(sizes.model.num_layers, one)


class _Turn(Protocol):
    def __call__(self, *, is_first: bool, is_last: bool) -> Stretch: ...


def _in_turn(count: int, turn: _Turn) -> Stretch:
    """Return as many turns, of which the first and the last may differ from the others."""
    if count == 1:
        return turn(is_first=True, is_last=True)
    others = turn(is_first=False, is_last=False).times(count - 2)
    return in_order(turn(is_first=True, is_last=False), others, turn(is_first=False, is_last=True))


def _forward(
    sizes: Sizes,
    attends: Attending,
    *,
    keeps: bool,
    stops_early: bool = False,
    pinned: frozenset[str] = frozenset(),
) -> Tape:
    """Play one block forward, from `x` to `x2`; its caller holds `x` until `x2` is there."""
    tape = Tape({"x": sizes.stream(sizes.d)}, pinned=pinned)
    attention_part.forward(tape, sizes, attends, x="x", y="x1", keeps=keeps)
    feed_forward_part.forward(tape, sizes, x="x1", y="x2", keeps=keeps, stops_early=stops_early)
    if not keeps:
        tape.drop("x1", "x")
    return tape


def _backward(sizes: Sizes, attends: Attending, kept: dict[str, Held]) -> Stretch:
    """Play one block backward, from the gradient of `x2` to that of `x`; `x2` itself is the next block's."""
    tape = Tape({**{name: held for name, held in kept.items() if name != "x2"}, "dy": sizes.stream(sizes.d)})
    feed_forward_part.backward(tape, sizes, x="x1", dy="dy")
    attention_part.backward(tape, sizes, attends, x="x", dy="dy")
    if "f" in tape.held:  # selective checkpointing has kept what nothing needs
        tape.drop("f")
    left = {name for name in tape.held if not name.startswith("gradient of ")}
    assert left == {"dy"}, left
    return tape.stretch()


def _saved(tape: Tape) -> dict[str, Held]:
    return {name: held for name, held in tape.held.items() if name != "x2" and not name.startswith(_COPY)}


def _copies(tape: Tape) -> dict[str, Held]:
    return {name: held for name, held in tape.held.items() if name.startswith(_COPY)}


def _freeing(copies: dict[str, Held], count: int) -> Stretch:
    total = sum(held.num_bytes for held in copies.values())
    return Stretch(end={Component.WEIGHT_COPIES: -count * total})
