"""The second half of a block: norm, two or three matrices around an activation, and the sum with the stream."""

from windtunnel.cost import linear, norm
from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Tape

_NORM = "feed-forward norm"


def forward(
    tape: Tape,
    sizes: Sizes,
    *,
    x: str,
    y: str,
    keeps: bool,
    stops_early: bool = False,
) -> None:
    """Make `y` = `x` + feed_forward(norm(`x`)).

    Backward needs, of n tokens: `x` and a float32 of each row for the norm; what the first matrices multiply (n·d·e,
    under autocast once for each of them); and of width d_ff, e bytes a number: with SwiGLU 4 tensors (gate, its SiLU,
    up, their product), with GELU 2 (before and after), with ReLU 1 (after, from which its own gradient is found).

    Args:
        tape: Where it runs.
        sizes: Of the step.
        x: Name of the stream.
        y: Name of the new stream.
        keeps: Whether backward follows.
        stops_early: Whether it ends before the last product, as a recomputation does: nothing is saved after that.
    """
    norm.forward(tape, sizes, _NORM, x=x, h="h2", keeps=keeps)
    _inside(tape, sizes, keeps=keeps, stops_early=stops_early)
    if stops_early:
        return
    tape.run("add feed-forward", reads=(x, "f"), makes={y: sizes.stream(sizes.d)})
    tape.drop("f")


def _inside(tape: Tape, sizes: Sizes, *, keeps: bool, stops_early: bool = False) -> None:
    """Make `f` = feed_forward(`h2`)."""
    d, d_ff, wide = sizes.d, sizes.model.d_ff, sizes.product(sizes.model.d_ff)
    if sizes.model.activation == "swiglu":
        _up(tape, sizes, "gate", keeps=keeps)
        tape.run("silu", reads=("gate",), makes={"silu": wide})
        if not keeps:
            tape.drop("gate")
        _up(tape, sizes, "up", keeps=keeps)
        tape.run("times up", reads=("silu", "up"), makes={"inner": wide})
        if not keeps:
            tape.drop("silu", "up")
    else:
        _up(tape, sizes, "up", keeps=keeps)
        tape.run(sizes.model.activation, reads=("up",), makes={"inner": wide})
        if not keeps or sizes.model.activation == "relu":
            tape.drop("up")
    linear.forward(
        tape,
        sizes,
        "down",
        rows=d_ff,
        x="inner",
        y="f",
        made=sizes.product(d),
        columns=d,
        is_cast=False,
        keeps=keeps,
        has_product=not stops_early,
    )
    if not keeps:
        tape.drop("inner")
    if not keeps or sizes.is_autocast:
        tape.drop("h2")


def backward(tape: Tape, sizes: Sizes, *, x: str, dy: str) -> None:
    """Replace `dy` by the gradient of `x`, free what forward kept, and make the gradients of the weights."""
    d, d_ff, wide = sizes.d, sizes.model.d_ff, sizes.product(sizes.model.d_ff)
    is_relu = sizes.model.activation == "relu"
    df = dy
    if sizes.is_autocast:
        df = "df"
        tape.run("cast df", reads=(dy,), makes={df: sizes.product(d)})
    drops = tuple(name for name, goes in ((df, sizes.is_autocast), ("inner", not is_relu)) if goes)
    linear.backward(
        tape, sizes, "down", rows=d_ff, columns=d, x="inner", dy=df, dx="d inner", is_cast=False, drops=drops
    )
    if sizes.model.activation == "swiglu":
        tape.run("times up backward", reads=("d inner", "silu", "up"), makes={"d silu": wide, "d up": wide}, launches=2)
        tape.drop("d inner", "silu", "up")
        _up_backward(tape, sizes, "up", dx="dh", is_last=False)
        tape.run("silu backward", reads=("d silu", "gate"), makes={"d gate": wide})
        tape.drop("d silu", "gate")
        _up_backward(tape, sizes, "gate", dx="dh of gate", is_last=True)
    else:
        source = "inner" if is_relu else "up"
        tape.run(f"{sizes.model.activation} backward", reads=("d inner", source), makes={"d up": wide})
        tape.drop("d inner", source)
        _up_backward(tape, sizes, "up", dx="dh", is_last=True)
    norm.backward(tape, sizes, _NORM, x=x, dh="dh", dx="dx of the norm")
    norm.add_gradients(tape, sizes, dy, "dx of the norm", into=dy)


def _up(tape: Tape, sizes: Sizes, name: str, *, keeps: bool) -> None:
    d, d_ff = sizes.d, sizes.model.d_ff
    linear.forward(
        tape, sizes, name, rows=d, x="h2", y=name, made=sizes.product(d_ff), columns=d_ff, is_cast=True, keeps=keeps
    )


def _up_backward(tape: Tape, sizes: Sizes, name: str, *, dx: str, is_last: bool) -> None:
    dy = f"d {name}"
    drops = (dy, "h2") if is_last and not sizes.is_autocast else (dy,)
    linear.backward(
        tape,
        sizes,
        name,
        rows=sizes.d,
        columns=sizes.model.d_ff,
        x="h2",
        dy=dy,
        dx=dx,
        is_cast=True,
        drops=drops,
        adds="dh" if dx != "dh" else None,
    )
