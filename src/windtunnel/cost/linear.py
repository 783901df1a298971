"""A product with a weight: its forward and its backward, with the casts that autocast puts around it."""

from windtunnel.cost.norm import add_gradients
from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Held, Tape


def forward(
    tape: Tape,
    sizes: Sizes,
    weight: str,
    *,
    rows: int,
    x: str,
    y: str,
    made: Held,
    columns: int,
    is_cast: bool,
    keeps: bool,
    has_product: bool = True,
) -> None:
    """Make `y` = `x` times a weight of rows x columns; 2·tokens·rows·columns FLOPs.

    Autocast casts a weight once a forward and keeps the copy until the forward ends; it casts what the weight is
    multiplied with in every product anew, also where three products read the same tensor. Backward needs `x` (its cast,
    where there is one) and the weight (its copy).

    Args:
        tape: Where it runs.
        sizes: Of the step.
        weight: What the weight is called.
        rows: Width of `x`.
        x: Name of what is multiplied.
        y: Name of the product.
        made: What the product is; in the format of products.
        columns: Width of `y`.
        is_cast: Whether `x` is in the format of the stream, so that autocast must cast it.
        keeps: Whether the cast is kept for backward. `x` itself is the caller's.
        has_product: False where a recomputation ends with what the product would save.
    """
    source = x
    if sizes.is_autocast:
        copied = {f"copy of {weight}": sizes.weight_copy(rows * columns)}
        tape.run(f"cast {weight}", makes=copied, more_bytes=rows * columns * sizes.stream_bytes)
        if is_cast:
            source = f"cast for {weight}"
            tape.run(source, reads=(x,), makes={source: sizes.product(rows)})
    if has_product:
        tape.run(
            weight,
            reads=(source,),
            makes={y: made},
            more_bytes=rows * columns * sizes.product_bytes,
            flops=2 * sizes.tokens * rows * columns,
        )
    if source != x and not keeps:
        tape.drop(source)


def backward(
    tape: Tape,
    sizes: Sizes,
    weight: str,
    *,
    rows: int,
    columns: int,
    x: str,
    dy: str,
    dx: str,
    is_cast: bool,
    drops: tuple[str, ...],
    adds: str | None = None,
) -> None:
    """Make the gradient of a weight and `dx` from `dy`; FLOPs twice those of forward.

    Under autocast both gradients come in the format of products and are cast back: `dx` first, as the input was cast
    after the weight. What is in `drops` is freed when both products are done. Where `x` has had another reader, `adds`
    is the gradient that this one has sent back: `dx` is added to it.
    """
    flops, entries = 2 * sizes.tokens * rows * columns, rows * columns
    has_cast = sizes.is_autocast and is_cast
    source, dx_made = (f"cast for {weight}", f"{dx} in products") if has_cast else (x, dx)
    raw = f"gradient of {weight} in products" if sizes.is_autocast else f"gradient of {weight}"
    made = sizes.weight_copy(entries) if sizes.is_autocast else sizes.gradient(entries)
    tape.run(f"{weight}, gradient of the weight", reads=(dy, source), makes={raw: made}, flops=flops)
    tape.run(
        f"{weight}, gradient of the input",
        reads=(dy,),
        makes={dx_made: sizes.product(rows)},
        more_bytes=entries * sizes.product_bytes,
        flops=flops,
    )
    tape.drop(*drops)
    if sizes.is_autocast:
        tape.drop(f"copy of {weight}")
    if has_cast:
        tape.drop(source)
        tape.run(f"cast {dx}", reads=(dx_made,), makes={dx: sizes.stream(rows)})
        tape.drop(dx_made)
    if adds is not None:
        add_gradients(tape, sizes, adds, dx, into=adds)
    if not sizes.is_autocast:
        return
    cast = {f"gradient of {weight}": sizes.gradient(entries)}
    tape.run(f"cast gradient of {weight}", reads=(raw,), makes=cast)
    tape.drop(raw)
