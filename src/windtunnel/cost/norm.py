"""A norm and the sum that it stands in: its forward and its backward."""

from windtunnel.cost.sizes import Sizes
from windtunnel.cost.tape import Tape


def forward(tape: Tape, sizes: Sizes, name: str, *, x: str, h: str, keeps: bool) -> None:
    """Make `h` = norm(`x`) in one kernel, as CUDA does; backward needs `x` and one statistic of each row.

    On a CPU torch makes it of six operations and keeps two tensors more, which is not modelled.
    """
    statistic = f"statistic of {name}"
    tape.run(name, reads=(x,), makes={statistic: sizes.row_statistic, h: sizes.stream(sizes.d)})
    if not keeps:
        tape.drop(statistic)


def backward(tape: Tape, sizes: Sizes, name: str, *, x: str, dh: str, dx: str) -> None:
    """Make `dx` from `dh`, freeing that, `x` and the statistic."""
    statistic = f"statistic of {name}"
    made = {dx: sizes.stream(sizes.d), f"gradient of {name}": sizes.gradient(sizes.d)}
    tape.run(f"{name} backward", reads=(x, statistic, dh), makes=made, launches=2)
    tape.drop(dh, x, statistic)


def add_gradients(tape: Tape, sizes: Sizes, a: str, b: str, *, into: str) -> None:
    """Add the gradients that two readers of a tensor send back, into a new tensor; both are freed."""
    tape.run("add gradients", reads=(a, b), makes={"sum of gradients": sizes.stream(sizes.d)})
    tape.drop(a, b)
    tape.rename("sum of gradients", into)
