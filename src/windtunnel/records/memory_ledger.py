"""The memory ledger of one cell: every allocation of one step, what it was for, and when it lived."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import TypeAdapter

from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Cell

ALIVE = -1
"""In the column `died`: still there when the look ended."""


class Category(StrEnum):
    """What memory is held for; in the order in which tables and charts stack it."""

    PARAMETERS = "parameters"
    OPTIMIZER = "optimizer state"
    GRADIENTS = "gradients"
    INPUTS = "inputs"
    BUFFERS = "buffers"
    CASTS = "casts of parameters"
    """What autocast makes of parameters in another format."""
    ACTIVATIONS = "activations"
    """What is kept from forward for backward, or computed again for it, but scores and logits."""
    SCORES = "scores"
    """Tensors of queries x keys inside attention, kept for backward or not, in forward and in backward."""
    LOGITS = "logits and loss"
    """The model's output, all that the loss makes of it, and their gradients."""
    TEMPORARIES = "temporaries"
    """Results of operations that nothing keeps: on their way through forward, gradients of activations in backward."""
    WORKSPACE = "workspace"
    """What an operation takes for itself and hands to nobody."""
    KEPT = "kept by other code"
    """Results that outlive the step, and are none of the model, the optimizer or the inputs."""
    NOT_ATTRIBUTED = "not attributed"
    """Allocations that no operation was seen to make."""


class OperationKind(StrEnum):
    """What an operation does to its inputs: what decides whether its result can be fused away."""

    PRODUCT = "product"
    ATTENTION = "attention"
    POINTWISE = "pointwise"
    """Element by element, a copy, a cast, or a new order of elements."""
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What several allocations have in common; empty text where it does not apply.

    Attributes:
        operation: The operation of PyTorch that made it, as `mm` or `_softmax`.
        module: Path of the module that it ran in, or whose backward it is; `block` is the part of that path that names
            one of a list of blocks.
        phase: In which phase it was made.
        site: The line of code, as `file.py:12 in name`, of forward where it was made in backward.
        tensor: Shape and dtype, as `4x128x768 float32`.
        saved_for: The operations whose backward needs it.
        is_block_output: Whether it is what the block hands on.
    """

    category: Category
    operation: str = ""
    kind: OperationKind = OperationKind.OTHER
    module: str = ""
    block: str = ""
    phase: str = ""
    site: str = ""
    tensor: str = ""
    saved_for: tuple[str, ...] = ()
    is_block_output: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocations:
    """One entry for each allocation in each column: its bytes, its label's place, the events that began and ended it.

    Events are allocations and frees on the device, counted from 0 in their order since the cell began to be built.
    Allocations of which nothing was left when the step began are not here, unless they were there after building.
    """

    sizes: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    born: tuple[int, ...] = ()
    died: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the columns are of one length."""
        if len({len(self.sizes), len(self.labels), len(self.born), len(self.died)}) != 1:
            raise ValueError("the columns of allocations differ in length")

    def __len__(self) -> int:
        """Count the allocations."""
        return len(self.sizes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A phase: it began when `begin` events had happened, and ended after `end`."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceLevels:
    """The device's own numbers beside the ledger; None where it has no such number.

    Attributes:
        source: Whose numbers these are.
        peak_allocated_bytes: The most that its allocator had given out at once during the step, by its own count.
        before_bytes: What it had given out before the cell.
        reserved_at_peak_bytes: What it held of the device at that instant, given out or not.
        peak_reserved_bytes: The most that it held during the step.
        fragmented_at_peak_bytes: Free parts at that instant of pieces of memory in use otherwise.
        capacity_bytes: Memory of the device, or of the host.
        external_bytes: What else was in use after the step: context, libraries, other processes.
    """

    source: str
    peak_allocated_bytes: int
    before_bytes: int = 0
    reserved_at_peak_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    fragmented_at_peak_bytes: int | None = None
    capacity_bytes: int | None = None
    external_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLedger:
    """What one step of a cell held, seen in a pass of its own; after a failure, up to it.

    Attributes:
        cell: What was looked at; None for a snapshot of another program.
        is_watched: Whether operations were watched one by one; else (compiled code) categories follow from owners and
            lifetimes, and there are no scores.
        num_events: How many events there were.
        built: How many of them had happened when the cell was built; None where that failed.
        phases: Phases of the step that was looked at, in their order; the last one reached ends with a failure.
        snapshot: Where torch's own snapshot was written; None where it was not asked for.
    """

    cell: Cell | None
    status: Status
    failure: Failure | None
    started_at: str
    is_watched: bool
    num_events: int
    built: int | None
    phases: tuple[Span, ...]
    allocations: Allocations
    labels: tuple[Label, ...]
    device: DeviceLevels | None
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict[str, float])
    snapshot: str | None = None

    def __post_init__(self) -> None:
        """Check that every allocation has a label and lived within the events."""
        table = self.allocations
        if any(not 0 <= place < len(self.labels) for place in set(table.labels)):
            raise ValueError("an allocation has no label")
        if table.born and (min(table.born) < 0 or max(max(table.born), max(table.died)) >= self.num_events):
            raise ValueError(f"an allocation lives outside of the {self.num_events} events")

    def key(self) -> str:
        """Return the content hash of the cell: 16 hex digits over every field that differs from its default."""
        fields = self.cell.model_dump(mode="json", exclude_defaults=True) if self.cell else {}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_ADAPTER = TypeAdapter(MemoryLedger)


def ledger_to_json(ledger: MemoryLedger) -> str:
    """Write a ledger as one JSON object."""
    return _ADAPTER.dump_json(ledger).decode()


def ledger_from_json(text: str | bytes) -> MemoryLedger:
    """Read a ledger; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a ledger.
    """
    return _ADAPTER.validate_json(text)
