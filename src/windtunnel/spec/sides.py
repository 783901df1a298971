"""Two sweeps, or two backends of one, as the sides of comparisons: which cell of B stands against which cell of A."""

from collections.abc import Sequence

from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.spec.sweep import AnySweep, Sweep

_Point = tuple[object, ...]


def match_sides(a: AnySweep, b: AnySweep, device: str) -> tuple[tuple[Task, Task], ...]:
    """Return the cells of `a`, in their order, each with the one of `b` at the same point of the axes that they share.

    An axis with the same values on both sides is shared, and so may have several; one in which the sides differ has
    one value on each. Of the plans only warm-up and cache are kept, as the pairs find out themselves how many they
    need.

    Raises:
        SpecError: The sides do not match one to one, are not of one kind, or ask for a cold start.
    """
    if a.kind != b.kind:
        raise SpecError(f"A is a sweep of kind {a.kind!r} and B of {b.kind!r}: a comparison has one kind on both sides")
    faults = [
        f"side {name} asks for warm-up 0, the cold start, which has no pairs of steps: ask for at least 1, or auto"
        for name, sweep in (("A", a), ("B", b))
        if 0 in sweep.warmup
    ]
    axes_a, axes_b = a.axes(), b.axes()
    shared = [axis for axis in axes_a if set(axes_a[axis]) == set(axes_b[axis])]
    faults += [
        f"A has {_count(axis, axes_a[axis])} and B {_count(axis, axes_b[axis])}: an axis in which the sides differ has "
        "one value on each; lists are for what both share"
        for axis in axes_a
        if axis not in shared and (len(axes_a[axis]), len(axes_b[axis])) != (1, 1)
    ]
    if faults:
        raise SpecError(*faults)
    of_a, of_b = (_by_point(sweep, device, shared) for sweep in (a, b))
    alone = [f"only A has {_described(shared, point)}" for point in of_a if point not in of_b][:1]
    alone += [f"only B has {_described(shared, point)}" for point in of_b if point not in of_a][:1]
    if alone:
        raise SpecError(
            f"A has {counted(len(of_a), 'cell')} and B {len(of_b)}, which do not match one to one: "
            f"{'; '.join(alone)}; exclude the same points on both sides"
        )
    return tuple((as_side(task), as_side(of_b[point])) for point, task in of_a.items())


def match_backends(sweep: AttentionSweep, device: str) -> tuple[tuple[Task, Task], ...]:
    """Return the cells that `sweep` compares, those of each pair of backends in the order of the grid.

    A point that one of the two leaves out, or whose cold start is measured, is not compared. The tasks are those that
    the sweep measures; `as_side` makes them the sides of a comparison.

    Raises:
        SpecError: The sweep expands to no cell or too many.
    """
    points = [(point, task) for point, task in sweep.points(device) if not task.plan.is_cold]
    by_backend: dict[str, dict[_Point, Task]] = {}
    for point, task in points:
        place = tuple(value for axis, value in point.items() if axis != "backend")
        by_backend.setdefault(point["backend"], {})[place] = task
    return tuple(
        (task, by_backend[b][place])
        for a, b in sweep.comparisons()
        for place, task in by_backend.get(a, {}).items()
        if place in by_backend.get(b, {})
    )


def match_precisions(sweep: Sweep, device: str) -> tuple[tuple[Task, Task], ...]:
    """Return each cell of `sweep` after the same cell in fp32, in the order of the grid; fp32 itself is none of them.

    Raises:
        SpecError: The sweep expands to no cell or too many, or has no precision but fp32.
    """
    tasks = [task for _, task in sweep.points(device)]
    pairs = tuple(
        (task.model_copy(update={"cell": task.cell.model_copy(update={"precision": "fp32"})}), task)
        for task in tasks
        if task.cell.precision != "fp32"
    )
    if not pairs:
        raise SpecError("precision is fp32 alone, against which others are compared: name another, as --precision bf16")
    return pairs


def as_side(task: Task) -> Task:
    """Return the task without what a plan says of the number of samples."""
    return Task(cell=task.cell, plan=MeasurePlan(warmup=task.plan.warmup, cache=task.plan.cache))


def _count(axis: str, values: Sequence[object]) -> str:
    return f"{axis} {', '.join(str(value) or 'of its own' for value in values)}"


def _by_point(sweep: AnySweep, device: str, shared: list[str]) -> dict[_Point, Task]:
    return {tuple(point[axis] for axis in shared): task for point, task in sweep.points(device)}


def _described(shared: list[str], point: _Point) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in zip(shared, point, strict=True) if value != "")
