"""Whether two rows may be compared across stores: in what they differ, and whether that forbids it."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass

from windtunnel.analysis.results import Row

_HARDWARE = ("device_name", "device_memory_bytes", "host_cpu", "host_cores", "platform", "settings")
"""What makes another machine: numbers of two are no answer to whether the code became slower."""

_SOFTWARE = ("torch", "cuda", "cudnn", "triton", "driver", "python", "windtunnel", "git_commit")
"""What may be the very thing that is compared; it is said, not refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A thing in which two rows differ, with both values as text."""

    name: str
    base: str
    new: str

    def __str__(self) -> str:
        """Say it: 'batch_size 4 → 8'."""
        return f"{self.name} {self.base} → {self.new}"


def point_of(row: Row) -> Hashable:
    """Return what two rows must share to be the same cell: all of the request but how many samples it asks for.

    The index of a device is not part of it: cuda:0 and cuda:1 of one machine are one kind of device.
    """
    return tuple(sorted(_request(row).items()))


def differing_requests(base: Row, new: Row) -> tuple[Field, ...]:
    """Return in what the requests of two rows differ: model, batch, context, precision, attention and so on."""
    return _differing(_request(base), _request(new))


def forbidding(base: Row, new: Row) -> tuple[Field, ...]:
    """Return in what two rows of one point differ so that they may not be compared.

    The machine; of rows that both ended also what lies inside each timed region, and the work that the model does.
    """
    if base.is_ok and new.is_ok:
        return _differing(_surroundings(base), _surroundings(new))
    return _differing(hardware_fields(base), hardware_fields(new))


def differing_software(base: Row, new: Row) -> tuple[Field, ...]:
    """Return in which versions two rows differ."""
    return _differing(_fields(base, _SOFTWARE), _fields(new, _SOFTWARE))


def hardware_of(row: Row) -> Hashable:
    """Return what makes the machine of a row, as a value that can be compared."""
    return tuple(_fields(row, _HARDWARE).items())


def hardware_fields(row: Row) -> dict[str, str]:
    """Return what makes the machine of a row, in words."""
    return _fields(row, _HARDWARE)


def nearest(row: Row, others: Iterable[Row]) -> tuple[Row, tuple[Field, ...]] | None:
    """Return the row whose request differs least from that of `row`, with the differences; None without any."""
    found = [(other, differing_requests(row, other)) for other in others]
    return min(found, key=lambda pair: len(pair[1]), default=None)


def _request(row: Row) -> dict[str, str]:
    cell, plan = row.cell, row.plan
    model = {f"model.{name}": value for name, value in cell.model.model_dump(exclude={"name"}).items()}
    rest = cell.model_dump(exclude={"model", "device"})
    kind = cell.device.partition(":")[0]
    plans = {"warmup": plan.warmup, "cache": plan.cache, "purpose": plan.purpose}
    return {name: str(value) for name, value in {**model, **rest, "device": kind, **plans}.items()}


def _surroundings(row: Row) -> dict[str, str]:
    timed = {f"timed region of {phase}": region for phase, region in row.record.timed.items()}
    work = {f"FLOPs of {phase}": str(flops) for phase, flops in row.record.flops.items()}
    clock = {"clock of the whole step": row.clock(row.record.total).value}
    return {**hardware_fields(row), **timed, **work, **clock}


def _fields(row: Row, names: Iterable[str]) -> dict[str, str]:
    every = asdict(row.environment)
    return {name: _said(every[name]) for name in names}


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={entry}" for key, entry in sorted(value.items()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return "unknown" if value is None else str(value)


def _differing(base: Mapping[str, str], new: Mapping[str, str]) -> tuple[Field, ...]:
    names = dict.fromkeys([*base, *new])
    return tuple(
        Field(name=name, base=base.get(name, "none"), new=new.get(name, "none"))
        for name in names
        if base.get(name) != new.get(name)
    )
