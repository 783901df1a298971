"""All that is known of a cell before it runs: its cost, memory and time, and whether it fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from windtunnel.cost.ceilings import Ceilings, datasheet_ceilings
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.layout import ONE_DEVICE, Layout, wire_bytes
from windtunnel.cost.memory import HOPPER_WORKSPACE_BYTES, WORKSPACE_BYTES, MemoryPrediction, predict_memory
from windtunnel.cost.step import Cost, cost_of
from windtunnel.cost.time import TimePrediction, predict_time
from windtunnel.errors import UnsupportedError
from windtunnel.language import say
from windtunnel.spec.abilities import Place
from windtunnel.spec.cell import Cell
from windtunnel.spec.limits import check_cell
from windtunnel.spec.tables import PRECISIONS

CONTEXT_BYTES = 512 * 2**20
"""What a CUDA context and the code of kernels take beside the allocator: 0.4 to 0.6 GiB with torch."""

MARGIN = 0.05
"""How far a prediction may be off: what is this near to the capacity is called close."""


class Fit(StrEnum):
    """Whether a cell fits."""

    YES = "yes"
    CLOSE = "close"
    NO = "no"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The device that a prediction is for; None is not known.

    Attributes:
        name: What its driver calls it.
        memory_bytes: Its capacity.
        ceilings: What it can do.
        is_here: Whether it is of this machine: then what is not installed here is refused, too.
    """

    name: str | None
    memory_bytes: int | None
    ceilings: Ceilings | None
    is_here: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a cell must cost, hold and take.

    Attributes:
        cell: The cell.
        cost: Its parameters and FLOPs; None of a user's own model.
        memory: Of one device; None where there is no closed form.
        time: None where there is no closed form; its times are None where the device's ceilings are not known.
        wire: Bytes that each device sends in each phase.
        unknown: Why there is no memory or no time; empty where there is, or where nothing is known of the device.
        fit: None where the memory or the capacity is not known.
        layout: Over which devices the step is spread; all else is of one of them.
        optimizer: Of a training step; None of others.
        is_refused: Whether a worker would refuse it while building; `unknown` says why, and there is no more than cost.
    """

    cell: Cell
    cost: Cost | None
    memory: MemoryPrediction | None
    time: TimePrediction | None
    wire: Mapping[str, int]
    unknown: str
    fit: Fit | None
    layout: Layout
    optimizer: str | None
    is_refused: bool = False


def target_named(name: str | None, *, memory_bytes: int | None = None, ceilings: Ceilings | None = None) -> Target:
    """Return the device of a name with its datasheet's capacity and rates, unless others are given."""
    peaks = peaks_of(name)
    return Target(
        name=name,
        memory_bytes=memory_bytes or (peaks.memory_bytes if peaks else None),
        ceilings=ceilings or (datasheet_ceilings(peaks) if peaks else None),
    )


def predict(cell: Cell, target: Target, *, layout: Layout = ONE_DEVICE, optimizer: str = "adamw") -> Prediction:
    """Return all that is known of `cell` on a device before it runs.

    Raises:
        SpecError: The cell cannot be laid out so.
    """
    wire = wire_bytes(cell, layout)
    memory: MemoryPrediction | None = None
    time: TimePrediction | None = None
    unknown = ""
    is_refused = True
    try:
        check_cell(cell, _place_of(cell, target))
        is_refused = False
        workspace_bytes = _workspace(target.name)
        memory = predict_memory(cell, optimizer=optimizer, workspace_bytes=workspace_bytes, layout=layout)
        time = predict_time(cell, target.ceilings, optimizer=optimizer, layout=layout)
        unknown = _missing_rate(cell, target)
    except UnsupportedError as error:
        unknown = str(error)
    return Prediction(
        cell=cell,
        cost=cost_of(cell, optimizer=optimizer, layout=layout),
        memory=memory,
        time=time,
        wire=wire,
        unknown=unknown,
        fit=fit_of(cell, memory, target.memory_bytes),
        layout=layout,
        optimizer=optimizer if cell.workload == "train_step" else None,
        is_refused=is_refused,
    )


def driver_bytes(cell: Cell) -> int:
    """Return what the driver of the cell's device takes beside the allocator: nothing on a CPU."""
    return 0 if cell.device == "cpu" else CONTEXT_BYTES


def _place_of(cell: Cell, target: Target) -> Place:
    kind = cell.device.partition(":")[0]
    peaks = peaks_of(target.name)
    return Place(
        name=target.name or cell.device,
        kind=kind,
        capability=peaks.capability if peaks else None,
        is_here=target.is_here,
    )


def _missing_rate(cell: Cell, target: Target) -> str:
    """Say which rate the time of a cell would need of a device that has others; empty where none is missing."""
    ceilings = target.ceilings
    if ceilings is None:
        return ""
    column = PRECISIONS[cell.precision].peak
    if ceilings.flops_per_second[column] is None:
        return say("no time is predicted: the {source} has no rate of {format}", source=ceilings.source, format=column)
    if ceilings.memory_bytes_per_second is None:
        return say("no time is predicted: the {source} has no bandwidth", source=ceilings.source)
    return ""


def fit_of(cell: Cell, memory: MemoryPrediction | None, capacity: int | None) -> Fit | None:
    """Return whether a step fits into a device with so many bytes; None where one of both is not known."""
    if memory is None or capacity is None:
        return None
    share = (memory.needed_bytes + driver_bytes(cell)) / capacity
    return Fit.YES if share <= 1 - MARGIN else Fit.CLOSE if share <= 1 + MARGIN else Fit.NO


def _workspace(name: str | None) -> int:
    """Return what a cuBLAS handle holds there: more on Hopper, and where nothing is known of the device."""
    peaks = peaks_of(name)
    has_more = peaks is None or peaks.bf16 is None or peaks.bf16 >= 700e12
    return HOPPER_WORKSPACE_BYTES if has_more else WORKSPACE_BYTES
