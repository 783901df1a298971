"""Two sweeps as the sides of comparisons: which cell of B stands against which cell of A."""

from windtunnel.errors import SpecError
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.spec.sweep import AXES, Sweep
from windtunnel.units import counted

_Point = tuple[object, ...]


def match_sides(a: Sweep, b: Sweep, device: str) -> tuple[tuple[Task, Task], ...]:
    """Return the cells of `a`, in their order, each with the one of `b` at the same point of the axes that they share.

    An axis with the same values on both sides is shared, and so may have several; one in which the sides differ has
    one value on each. Of the plans only the warm-up is kept, as the pairs find out themselves how many they need.

    Raises:
        SpecError: The sides do not match one to one, or ask for a cold start.
    """
    faults = [
        f"side {name} asks for warm-up 0, the cold start, which has no pairs of steps: ask for at least 1, or auto"
        for name, sweep in (("A", a), ("B", b))
        if 0 in sweep.warmup
    ]
    shared = [axis for axis in AXES if set(_values(a, axis)) == set(_values(b, axis))]
    faults += [
        f"A has {_count(a, axis)} and B {_count(b, axis)}: an axis in which the sides differ has one value on each; "
        "lists are for what both share"
        for axis in AXES
        if axis not in shared and (len(_values(a, axis)), len(_values(b, axis))) != (1, 1)
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
    return tuple((task, of_b[point]) for point, task in of_a.items())


def _values(sweep: Sweep, axis: str) -> tuple[object, ...]:
    """Return the values of an axis; a shape without a name is the one value of its size axis."""
    values: tuple[object, ...] = getattr(sweep, axis)
    return values or ("",)


def _count(sweep: Sweep, axis: str) -> str:
    return f"{axis} {', '.join(str(value) or 'of its own' for value in _values(sweep, axis))}"


def _by_point(sweep: Sweep, device: str, shared: list[str]) -> dict[_Point, Task]:
    # By its place, as shape flags give a named size another name.
    sizes = dict(zip((model.name for model in sweep.models()), _values(sweep, "size"), strict=True))
    return {
        tuple(_value(task, axis, sizes) for axis in shared): Task(
            cell=task.cell, plan=MeasurePlan(warmup=task.plan.warmup)
        )
        for task in sweep.expand(device)
    }


def _value(task: Task, axis: str, sizes: dict[str, object]) -> object:
    cell = task.cell
    match axis:
        case "size":
            return sizes[cell.model.name]
        case "mode":
            return cell.workload
        case "batch":
            return cell.batch_size
        case "context":
            return cell.context_length
        case "warmup":
            return task.plan.warmup
        case _:
            return getattr(cell, axis)


def _described(shared: list[str], point: _Point) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in zip(shared, point, strict=True) if value != "")
