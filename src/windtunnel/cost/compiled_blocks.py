"""All blocks of a model under torch.compile: passes between products are one kernel, and less is kept."""

from windtunnel.cost.attending import Attending
from windtunnel.cost.blocks import Blocks, backward_of
from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Component, Held, Kind, Stretch, Tape

_PROJECTIONS = ("q", "k", "v")


def compiled(sizes: Sizes, attends: Attending, *, trains: bool) -> Blocks:
    """Return the blocks as Inductor runs them.

    Each block keeps of n tokens, with s bytes for a number of the stream and e for one in a product: both stream
    tensors that the norms read (2·n·d·s) and a float32 of each row for each; what projections, output projection and
    feed-forward multiply, each once (3·n·d·e; eager autocast casts for each matrix anew); gate, up and their product
    (3·n·d_ff·e; SiLU is computed again); what attention needs; and under autocast copies of the weights. The order of
    the operations is that of eager mode, without its passes.

    CUDA graphs (`reduce-overhead`) hold the same in a pool of their own, and no cuBLAS workspace: up to 60 MiB less.

    Source: the tensors that torch 2.13 saves, found by `saved_tensors_hooks` around its min-cut partition, and peaks on
    an H200 with torch 2.11.
    """
    num_layers = sizes.model.num_layers
    tape = _forward(sizes, attends, trains=trains)
    forward = sizes.sharding.forward(tape.stretch()).times(num_layers)
    if not trains:
        return Blocks(forward=forward, after_forward=Stretch(), backward=Stretch(), saved={})
    kept = {name: held for name, held in tape.held.items() if name != "x2"}
    return Blocks(
        forward=forward,
        after_forward=Stretch(),
        backward=backward_of(sizes, _backward(sizes, attends, kept)),
        saved={name: held for name, held in kept.items() if held.part is not Component.WEIGHT_COPIES},
    )


def _forward(sizes: Sizes, attends: Attending, *, trains: bool) -> Tape:
    d, d_kv, d_ff = sizes.d, sizes.d_kv, sizes.model.d_ff
    tape = Tape({"x": sizes.stream(d)})
    statistic = {"statistic of attention norm": sizes.row_statistic}
    tape.run("attention norm", reads=("x",), makes=statistic | {"h": sizes.product(d)})
    for name, width in zip(_PROJECTIONS, (d, d_kv, d_kv), strict=True):
        _product(tape, sizes, name, rows=d, columns=width, x="h", y=name, trains=trains)
    tape.run("rotate", reads=("q", "k"), more_bytes=sizes.product(d).num_bytes + sizes.product(d_kv).num_bytes)
    attends.forward(tape, sizes.attention, keeps=trains)
    rows = "o"
    if attends.gathers(sizes.attention):
        rows = "o rows"
        tape.run("order o by token", reads=("o",), makes={rows: sizes.product(d)})
        tape.drop("o")
    _product(tape, sizes, "o", rows=d, columns=d, x=rows, y="a", trains=trains)
    statistic = {"statistic of feed-forward norm": sizes.row_statistic}
    tape.run("add and norm", reads=("x", "a"), makes={"x1": sizes.stream(d), "h2": sizes.product(d)} | statistic)
    tape.drop("a")
    inner = _inner(sizes)
    for name in inner:
        _product(tape, sizes, name, rows=d, columns=d_ff, x="h2", y=name, trains=trains)
    tape.run("activation", reads=inner, makes={"inner": sizes.product(d_ff)})
    _product(tape, sizes, "down", rows=d_ff, columns=d, x="inner", y="f", trains=trains)
    tape.run("add", reads=("x1", "f"), makes={"x2": sizes.stream(d)})
    tape.drop("f")
    if not trains:
        tape.drop(*(name for name in tape.held if name != "x2"))
    return tape


def _backward(sizes: Sizes, attends: Attending, kept: dict[str, Held]) -> Stretch:
    d, d_kv, d_ff = sizes.d, sizes.d_kv, sizes.model.d_ff
    tape = Tape({**kept, "dy": sizes.stream(d)})
    inner = _inner(sizes)
    _product_back(tape, sizes, "down", rows=d_ff, columns=d, x="inner", dy="dy", dx="d inner", drops=("inner",))
    made = {f"d {name}": sizes.product(d_ff) for name in inner}
    tape.run("activation backward", reads=("d inner", *inner), makes=made)
    tape.drop("d inner", *inner)
    for name in inner:
        is_last = name == inner[-1]
        drops = (f"d {name}", "h2") if is_last else (f"d {name}",)
        _product_back(tape, sizes, name, rows=d, columns=d_ff, x="h2", dy=f"d {name}", dx=f"dh of {name}", drops=drops)
    _norm_back(tape, sizes, "feed-forward norm", x="x1", parts=tuple(f"dh of {name}" for name in inner))
    rows = "o rows" if attends.gathers(sizes.attention) else "o"
    drops = () if rows in attends.saved(sizes.attention) else (rows,)
    _product_back(tape, sizes, "o", rows=d, columns=d, x=rows, dy="dy", dx="do", drops=drops)
    attends.backward(tape, sizes.attention)
    if "o" in tape.held:
        tape.drop("o")
    tape.run("rotate back", reads=("dq", "dk"), more_bytes=sizes.product(d).num_bytes + sizes.product(d_kv).num_bytes)
    for name, width in zip(_PROJECTIONS, (d, d_kv, d_kv), strict=True):
        drops = (f"d{name}", "h") if name == "v" else (f"d{name}",)
        _product_back(tape, sizes, name, rows=d, columns=width, x="h", dy=f"d{name}", dx=f"dh of {name}", drops=drops)
    _norm_back(tape, sizes, "attention norm", x="x", parts=tuple(f"dh of {name}" for name in _PROJECTIONS))
    return tape.stretch()


def _inner(sizes: Sizes) -> tuple[str, ...]:
    """Return the matrices before the activation."""
    return ("gate", "up") if sizes.model.activation == "swiglu" else ("up",)


def _product(tape: Tape, sizes: Sizes, weight: str, *, rows: int, columns: int, x: str, y: str, trains: bool) -> None:
    copy = f"copy of {weight}"
    if sizes.is_autocast:
        read = rows * columns * sizes.stream_bytes
        tape.run(f"cast {weight}", makes={copy: sizes.weight_copy(rows * columns)}, more_bytes=read)
    tape.run(
        weight,
        reads=(x,),
        makes={y: sizes.product(columns)},
        more_bytes=rows * columns * sizes.product_bytes,
        flops=2 * sizes.tokens * rows * columns,
        shape=(sizes.tokens, columns, 1),
    )
    if sizes.is_autocast and not trains:
        tape.drop(copy)


def _product_back(
    tape: Tape,
    sizes: Sizes,
    weight: str,
    *,
    rows: int,
    columns: int,
    x: str,
    dy: str,
    dx: str,
    drops: tuple[str, ...],
) -> None:
    flops, entries = 2 * sizes.tokens * rows * columns, rows * columns
    gradient = {f"gradient of {weight}": sizes.gradient(entries)}
    raw = {"raw": sizes.weight_copy(entries)} if sizes.is_autocast else gradient
    tape.run(f"{weight}, gradient of the weight", reads=(dy, x), makes=raw, flops=flops, shape=(rows, columns, 1))
    if sizes.is_autocast:
        tape.run(f"cast gradient of {weight}", reads=("raw",), makes=gradient)
        tape.drop("raw")
    tape.run(
        f"{weight}, gradient of the input",
        reads=(dy,),
        makes={dx: sizes.product(rows)},
        more_bytes=entries * sizes.product_bytes,
        flops=flops,
        shape=(sizes.tokens, rows, 1),
    )
    if sizes.is_autocast:
        tape.drop(f"copy of {weight}")
    tape.drop(*drops)


def _norm_back(tape: Tape, sizes: Sizes, name: str, *, x: str, parts: tuple[str, ...]) -> None:
    """Add what the products send back, go through the norm, and add the stream's own gradient: one kernel and a sum."""
    made = {"dx": sizes.stream(sizes.d), f"gradient of {name}": sizes.gradient(sizes.d)}
    tape.run(
        f"{name} backward", reads=(x, f"statistic of {name}", "dy", *parts), makes=made, kind=Kind.PASS, launches=2
    )
    tape.drop(*parts, x, f"statistic of {name}", "dy")
    tape.rename("dx", "dy")
