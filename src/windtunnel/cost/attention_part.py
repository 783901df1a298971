"""The first half of a block: norm, projections, rotation, attention, projection, and the sum with the stream."""

from windtunnel.cost import linear, norm
from windtunnel.cost.attending import Attending
from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Tape

_NORM = "attention norm"


def forward(tape: Tape, sizes: Sizes, attending: Attending, *, x: str, y: str, keeps: bool) -> None:
    """Make `y` = `x` + attention(norm(`x`)), as `Block.forward` and `Attention.forward` do it.

    `keeps` says whether backward will follow: then what autograd saves stays. These are, of n tokens of width d, with s
    bytes for a number of the stream and e for one in a product: `x` (n·d·s) and a float32 of each row for the norm;
    what the projections multiply (n·d·e once, or under autocast three times, as each casts anew); what attention needs;
    and what the output projection multiplies (n·d·e). The rotation saves nothing: its factors are tables.
    """
    d, d_kv = sizes.d, sizes.d_kv
    norm.forward(tape, sizes, _NORM, x=x, h="h", keeps=keeps)
    for name, width in (("q", d), ("k", d_kv), ("v", d_kv)):
        raw = name if name == "v" else f"raw {name}"
        made = sizes.product(width)
        linear.forward(tape, sizes, name, rows=d, x="h", y=raw, made=made, columns=width, is_cast=True, keeps=keeps)
        if name != "v":
            _rotate(tape, sizes, raw=raw, rotated=name, width=width)
    attending.forward(tape, sizes.attention, keeps=keeps)
    rows = "o"
    if attending.gathers(sizes.attention):
        rows = "o rows"
        tape.run("order o by token", reads=("o",), makes={rows: sizes.product(d)})
    linear.forward(
        tape, sizes, "o", rows=d, x=rows, y="a", made=sizes.product(d), columns=d, is_cast=False, keeps=keeps
    )
    saved = attending.saved(sizes.attention) | {rows} if keeps else frozenset[str]()
    tape.drop(*(name for name in ("q", "k", "o", "o rows") if name in tape.held and name not in saved))
    if not keeps or sizes.is_autocast:  # else the projections share it
        tape.drop("h")
    tape.run("add attention", reads=(x, "a"), makes={y: sizes.stream(d)})
    tape.drop("a")


def backward(tape: Tape, sizes: Sizes, attending: Attending, *, x: str, dy: str) -> None:
    """Replace `dy` by the gradient of `x`, free what forward kept, and make the gradients of the weights.

    In the order of the engine, which runs the node made last first.
    """
    d, d_kv = sizes.d, sizes.d_kv
    rows = "o rows" if attending.gathers(sizes.attention) else "o"
    frees = tuple({rows} - (attending.saved(sizes.attention) - {"k", "v"}))
    if sizes.is_autocast:
        tape.run("cast da", reads=(dy,), makes={"da": sizes.product(d)})
    linear.backward(
        tape,
        sizes,
        "o",
        rows=d,
        columns=d,
        x=rows,
        dy="da" if sizes.is_autocast else dy,
        dx="do",
        is_cast=False,
        drops=(*frees, "da") if sizes.is_autocast else frees,
    )
    attending.backward(tape, sizes.attention)
    if "o" in tape.held:
        tape.drop("o")
    for name, width in (("v", d_kv), ("k", d_kv), ("q", d)):
        gradient = f"d{name}"
        if name != "v":
            _rotate_back(tape, sizes, name=gradient, width=width)
        if attending.gathers(sizes.attention) and width > sizes.attention.d_head:
            tape.run(f"order {gradient} by token", reads=(gradient,), makes={"by token": sizes.product(width)})
            tape.drop(gradient)
            tape.rename("by token", gradient)
        dh = "dh" if name == "v" else f"dh of {name}"
        is_last = name == "q" and not sizes.is_autocast
        linear.backward(
            tape, sizes, name, rows=d, columns=width, x="h", dy=gradient, dx=dh, is_cast=True,
            drops=(gradient, "h") if is_last else (gradient,), adds=None if name == "v" else "dh",
        )  # fmt: skip
    norm.backward(tape, sizes, _NORM, x=x, dh="dh", dx="dx of the norm")
    norm.add_gradients(tape, sizes, dy, "dx of the norm", into=dy)


def _rotate(tape: Tape, sizes: Sizes, *, raw: str, rotated: str, width: int) -> None:
    """Roll, multiply, multiply and add: three kernels, whose inputs live until the last is done."""
    made = sizes.product(width)
    tape.run("roll", reads=(raw,), makes={"rolled": made})
    tape.run("times cos", reads=(raw,), makes={"times cos": made})
    tape.run("add times sin", reads=("times cos", "rolled"), makes={rotated: made})
    tape.drop("times cos", raw, "rolled")


def _rotate_back(tape: Tape, sizes: Sizes, *, name: str, width: int) -> None:
    made = sizes.product(width)
    tape.run("times sin", reads=(name,), makes={"times sin": made}, launches=2)
    tape.run("times cos", reads=(name,), makes={"times cos": made})
    tape.drop(name)
    tape.run("roll back", reads=("times sin",), makes={"rolled": made})
    tape.drop("times sin")
    tape.run("add", reads=("times cos", "rolled"), makes={name: made})
    tape.drop("times cos", "rolled")
