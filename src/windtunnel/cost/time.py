"""How long a step must take: a roofline over its operations, and the host that launches them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, prod

from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.cell_program import cell_program
from windtunnel.cost.layout import ONE_DEVICE, Layout
from windtunnel.cost.tape import Operation, Shape
from windtunnel.spec.cell import Cell
from windtunnel.spec.tables import PRECISIONS

EAGER_LAUNCHES = 2.5
"""What an operation of PyTorch's eager mode costs the host, in launches of a tiny kernel in a plain loop: modules and
views come on top."""

_HOST_FACTORS = {"forward": 1.25, "loss": 1.25, "backward": 1.5}
"""How much more where gradients are wanted: forward records the graph, and backward walks it."""

_TILES = ((128, 128, 1.0), (128, 64, 0.9), (64, 64, 0.75))
"""Tiles in which libraries compute a product, and the share of the rate that each reaches: small ones read more."""

_PASS_SHARE = 0.8
"""Of the rate of a copy, what passes reach: some read across strides, some sum up rows."""

_SHORTEST_SECONDS = 2.5e-6
"""The least that any kernel keeps a device busy, from the end of the one before."""


class Bound(StrEnum):
    """What a phase waits for most."""

    COMPUTE = "compute"
    MEMORY = "memory"
    LAUNCH = "launch"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseTime:
    """The time of one phase; None is not known.

    Attributes:
        seconds: The larger of what the device and what the host needs.
        device_seconds: Of all its kernels, one after another.
        launch_seconds: Of the host, to launch them.
        bound: What it waits for most.
        flops: Of its products, as they are computed.
        bytes_moved: Read and written.
        launches: Kernels.
    """

    seconds: float | None
    device_seconds: float | None
    launch_seconds: float | None
    bound: Bound | None
    flops: int
    bytes_moved: int
    launches: int

    @property
    def arithmetic_intensity(self) -> float | None:
        """FLOPs a byte; None where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TimePrediction:
    """The time of each phase, in their order."""

    phases: Mapping[str, PhaseTime]

    @property
    def seconds(self) -> float | None:
        """The time of the whole step; None where that of a phase is not known."""
        known = [phase.seconds for phase in self.phases.values() if phase.seconds is not None]
        return sum(known) if len(known) == len(self.phases) else None

    @property
    def bound(self) -> Bound | None:
        """What the longest phase waits for most; None where that is not known."""
        return max(self.phases.values(), key=lambda phase: phase.seconds or 0.0).bound


def predict_time(
    cell: Cell, ceilings: Ceilings | None, *, optimizer: str = "adamw", layout: Layout = ONE_DEVICE
) -> TimePrediction:
    """Return how long each phase of `cell` will take on one of the devices over which it is spread.

    An operation takes the longest of three: its FLOPs at the rate of large products of its precision, less what its
    tiles leave idle; its bytes at the rate of a copy; and the shortest time of a kernel. Operations do not overlap. The
    host launches ahead of the device, so that a phase takes the longer of both: launch-bound where that is the host.
    Attention alone is timed without waiting for the host, so that its host time is not counted. What devices
    send one another, and the copies into and out of the buffers of that, are not counted.

    Source: Williams et al. 2009 (doi 10.1145/1498765.1498785), the roofline, for each operation by itself.

    Args:
        cell: What is measured.
        ceilings: Of the device; None where nothing is known of it.
        optimizer: As for `predict_memory`.
        layout: As for `predict_memory`.

    Raises:
        SpecError: The cell cannot be laid out so.
        UnsupportedError: The attention backend or torch.compile has no closed form.
    """
    program = cell_program(cell, optimizer, layout)
    column = PRECISIONS[cell.precision].peak
    return TimePrediction(
        phases={
            name: _phase_time(
                stretch.operations,
                ceilings,
                column,
                host_factor=0.0 if cell.is_attention else _host_factor(name, program.phases),
            )
            for name, stretch in program.phases.items()
        }
    )


def _host_factor(phase: str, phases: Mapping[str, object]) -> float:
    return _HOST_FACTORS.get(phase, 1.0) if "backward" in phases else 1.0


def _phase_time(
    operations: Iterable[Operation], ceilings: Ceilings | None, column: str, *, host_factor: float
) -> PhaseTime:
    operations = tuple(operations)
    rate = ceilings.flops_per_second[column] if ceilings else None
    bandwidth = ceilings.memory_bytes_per_second if ceilings else None
    work = {
        "flops": sum(one.count * one.flops for one in operations),
        "bytes_moved": sum(one.count * one.bytes_moved for one in operations),
        "launches": sum(one.count * one.launches for one in operations),
    }
    if ceilings is None or rate is None or bandwidth is None:
        return PhaseTime(seconds=None, device_seconds=None, launch_seconds=None, bound=None, **work)
    computing, moving = 0.0, 0.0
    for one in operations:
        compute = one.flops / (rate * one.share * _fullness(one.shape, ceilings.num_processors)) if one.flops else 0.0
        move = one.bytes_moved / (bandwidth * (_PASS_SHARE if one.share == 1.0 else one.share))
        if one.flops:
            move = one.bytes_moved / bandwidth
        seconds = max(compute, move, one.launches * _SHORTEST_SECONDS)
        computing += one.count * seconds * (compute >= move)
        moving += one.count * seconds * (compute < move)
    host_work = sum(one.count * (one.launches + one.more_host_work) for one in operations)
    launching = host_work * EAGER_LAUNCHES * host_factor * ceilings.launch_seconds
    device = computing + moving
    bound = Bound.LAUNCH if launching > device else Bound.COMPUTE if computing >= moving else Bound.MEMORY
    return PhaseTime(
        seconds=max(device, launching), device_seconds=device, launch_seconds=launching, bound=bound, **work
    )


def _fullness(shape: Shape | None, num_processors: int | None) -> float:
    """Return the share of a device that the tiles of a product fill, with the best of some tiles.

    Tiles are shared out in waves of one for each processor; the last wave may be in part empty. A product of few tiles
    is split along its inner size, which fills the device but adds a pass: half of what is idle is won back.
    """
    if shape is None or num_processors is None:
        return 1.0
    rows, columns, count = shape
    best = 0.0
    for high, wide, share in _TILES:
        tiles = ceil(rows / high) * ceil(columns / wide) * count
        waves = ceil(tiles / num_processors)
        real = prod((rows, columns, count)) / (tiles * high * wide)  # of tiles that reach over the edge
        full = tiles / (waves * num_processors)
        full = full + (1 - full) / 3 if waves == 1 else full
        best = max(best, share * full * max(real, 0.25))
    return best
