"""What a step does outside the blocks: embedding, head and loss, each with its backward, and the optimizer."""

from math import ceil

from windtunnel.cost import linear, norm
from windtunnel.cost.parameters import parameter_count, tensor_count
from windtunnel.cost.sizes import FLOAT, INDEX, Sizes
from windtunnel.cost.tape import Component, Held, Tape

_NORM = "final norm"


def embed(tape: Tape, sizes: Sizes, *, x: str) -> None:
    """Make the rotation tables in the format of products, where they are in another, and the first `x`."""
    if sizes.product_bytes != FLOAT:
        entries = sizes.seq_len * sizes.model.d_head
        table = Held(part=Component.ACTIVATIONS, num_bytes=entries * sizes.product_bytes)
        for name in ("cos", "sin"):
            tape.run(f"cast {name}", makes={name: table}, more_bytes=entries * FLOAT)
    tokens = sizes.tokens * INDEX
    row_bytes = sizes.tokens * sizes.d * sizes.stream_bytes
    tape.run("embedding", makes={x: sizes.stream(sizes.d)}, more_bytes=tokens + row_bytes)


def head(tape: Tape, sizes: Sizes, *, x: str, keeps: bool) -> None:
    """Make the logits of norm(`x`), in the format of products."""
    norm.forward(tape, sizes, _NORM, x=x, h="h", keeps=keeps)
    linear.forward(
        tape,
        sizes,
        "head",
        rows=sizes.d,
        x="h",
        y="logits",
        made=sizes.logits(sizes.product_bytes),
        columns=sizes.model.vocab_size,
        is_cast=True,
        keeps=keeps,
    )
    if not keeps or sizes.is_autocast:
        tape.drop("h")
    if not keeps:
        tape.drop(x)


def loss(tape: Tape, sizes: Sizes) -> None:
    """Make the mean cross-entropy, and give up the logits.

    The vocabulary term. Log-probabilities are as large as the logits and in their format: cross_entropy asks
    log_softmax for it, also under autocast. The likelihood of the targets is in autocast's list of float32, so that
    they are cast for it: n·V·(e + 4) bytes kept then, and n·V·e without autocast.
    """
    kept = sizes.logits(sizes.product_bytes, Component.LOSS)
    tape.run("log-softmax", reads=("logits",), makes={"log-probabilities": kept})
    source = "log-probabilities"
    if sizes.is_autocast:
        source = "log-probabilities in float32"
        made = sizes.logits(FLOAT, Component.LOSS)
        tape.run("cast log-probabilities", reads=("log-probabilities",), makes={source: made})
    scalar = _scalar(sizes)
    tape.run("likelihood", makes={"loss": scalar, "weight": scalar}, more_bytes=sizes.tokens * (INDEX + FLOAT))
    tape.drop("logits")


def loss_backward(tape: Tape, sizes: Sizes) -> None:
    """Make the gradient of the logits; at its peak n·V·(2·e + 8) bytes under autocast, n·V·3·e without."""
    tape.run("gradient of 1", makes={"d loss": _scalar(sizes)})
    likelihood = sizes.logits(FLOAT if sizes.is_autocast else sizes.product_bytes, Component.LOSS)
    tape.run("likelihood backward", makes={"d log-probabilities": likelihood}, launches=2)
    tape.drop("weight")
    kept = sizes.logits(sizes.product_bytes, Component.LOSS)
    if sizes.is_autocast:
        tape.drop("log-probabilities in float32")
        tape.run("cast", reads=("d log-probabilities",), makes={"d log-probabilities in products": kept})
        tape.drop("d log-probabilities")
        tape.rename("d log-probabilities in products", "d log-probabilities")
    made = {"d logits": sizes.logits(sizes.product_bytes)}
    tape.run("log-softmax backward", reads=("d log-probabilities", "log-probabilities"), makes=made)
    tape.drop("d log-probabilities", "log-probabilities")


def head_backward(tape: Tape, sizes: Sizes, *, x: str, dx: str) -> None:
    """Make the gradient of the head and that of the last block's result."""
    linear.backward(
        tape,
        sizes,
        "head",
        rows=sizes.d,
        columns=sizes.model.vocab_size,
        x="h",
        dy="d logits",
        dx="dh",
        is_cast=True,
        drops=("d logits",) if sizes.is_autocast else ("d logits", "h"),
    )
    norm.backward(tape, sizes, _NORM, x=x, dh="dh", dx=dx)


def embed_backward(tape: Tape, sizes: Sizes, *, dx: str) -> None:
    """Make the gradient of the embedding, dense.

    With tied weights autograd adds it to that of the head into a new tensor and then frees both: 3·V·d numbers at once.
    """
    if sizes.product_bytes != FLOAT:
        tape.drop("cos", "sin")
    entries = sizes.model.vocab_size * sizes.d
    gradient = sizes.gradient(entries)
    tape.run("embedding backward", reads=(dx,), makes={"gradient of embedding": gradient}, launches=3)
    tape.drop(dx)
    if sizes.model.is_tied:
        both = ("gradient of head", "gradient of embedding")
        tape.run("add gradients of the shared matrix", reads=both, makes={"gradient of both": gradient})
        tape.drop(*both)
    tape.drop("d loss")


def _scalar(sizes: Sizes) -> Held:
    """Return one number in the format of the loss."""
    return Held(part=Component.LOSS, num_bytes=FLOAT if sizes.is_autocast else sizes.product_bytes)


def optimize(tape: Tape, sizes: Sizes, *, states: int) -> None:
    """Update the parameters that are this device's in place, in one fused kernel after another, without temporaries.

    Reads weight, gradient and states, writes weight and states: 3 + 2·states numbers a parameter. FLOPs of its
    arithmetic are not counted: about 15 a parameter, whose time its traffic hides.
    """
    parameters = sizes.layout.of_update(parameter_count(sizes.model))
    moved = (3 + 2 * states) * parameters * sizes.stream_bytes
    launches = ceil(sizes.layout.of_tensors(tensor_count(sizes.model)) / _TENSORS_OF_A_LAUNCH)
    tape.run("update", more_bytes=moved, launches=launches, share=_UPDATE_SHARE)


_UPDATE_SHARE = 0.81
"""Of the rate of a copy: 3.47 TB/s of 4.29, the same from 129 M to 3.4 G parameters on an H200."""

_TENSORS_OF_A_LAUNCH = 36
"""Tensors that one launch of a fused update takes at most: their pointers are its arguments, which may have 4 KiB."""
