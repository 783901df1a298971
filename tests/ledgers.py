"""Memory ledgers with known content."""

from collections.abc import Sequence
from dataclasses import replace

from factory import TINY
from windtunnel.records.memory_ledger import (
    ALIVE,
    Allocations,
    Category,
    DeviceLevels,
    Label,
    MemoryLedger,
    OperationKind,
    Span,
)
from windtunnel.records.record import Status
from windtunnel.spec.cell import Cell

MIB = 2**20

CELL = Cell(model=TINY, workload="train_step", batch_size=2, context_length=16, device="cpu")

PARAMETERS = Label(category=Category.PARAMETERS)
OPTIMIZER = Label(category=Category.OPTIMIZER)
GRADIENTS = Label(category=Category.GRADIENTS, operation="mm", phase="backward")
SCORES = Label(
    category=Category.SCORES,
    operation="_softmax",
    module="blocks.0.attention",
    block="blocks.0",
    phase="forward",
    tensor="2x4x16x16 float32",
    saved_for=("_softmax", "bmm"),
)
SILU = Label(
    category=Category.ACTIVATIONS,
    operation="silu",
    kind=OperationKind.POINTWISE,
    module="blocks.0.feed_forward",
    block="blocks.0",
    phase="forward",
    tensor="2x16x64 float32",
    saved_for=("mul",),
)
PRODUCT = replace(SILU, operation="mm", kind=OperationKind.PRODUCT)
HANDED_ON = replace(SILU, operation="add", module="blocks.0", is_block_output=True)
KEPT = Label(category=Category.KEPT, operation="zeros", site="/home/me/mine.py:12 in attend", tensor="26214400 float32")
UNKNOWN = Label(category=Category.NOT_ATTRIBUTED)

LABELS = (PARAMETERS, OPTIMIZER, GRADIENTS, SCORES, SILU, PRODUCT, HANDED_ON, KEPT, UNKNOWN)

STEP: tuple[tuple[Label, int, int, int], ...] = (
    (PARAMETERS, 10 * MIB, 0, ALIVE),
    (OPTIMIZER, 20 * MIB, 1, ALIVE),
    (PRODUCT, 4 * MIB, 2, 9),
    (SCORES, 6 * MIB, 3, 8),
    (SILU, 3 * MIB, 4, 7),
    (HANDED_ON, 1 * MIB, 5, 11),
    (GRADIENTS, 10 * MIB, 6, 12),
    (UNKNOWN, 1, 10, ALIVE),
)
"""Bytes, birth and death of each allocation: built after one event, forward from 2 to 6, backward from 6 to 12."""


def make_ledger(
    step: Sequence[tuple[Label, int, int, int]] = STEP,
    *,
    phases: Sequence[tuple[str, int, int]] = (("forward", 2, 6), ("backward", 6, 12)),
    num_events: int = 13,
    built: int | None = 1,
    measured: int = 54 * MIB,
    **fields: object,
) -> MemoryLedger:
    """Return a ledger of these allocations, which the allocator counted to `measured`."""
    labels = tuple(dict.fromkeys(label for label, _, _, _ in step))
    ledger = MemoryLedger(
        cell=CELL,
        status=Status.OK,
        failure=None,
        started_at="2026-01-02T03:04:05+00:00",
        is_watched=True,
        num_events=num_events,
        built=built,
        phases=tuple(Span(name=name, begin=begin, end=end) for name, begin, end in phases),
        allocations=Allocations(
            sizes=tuple(size for _, size, _, _ in step),
            labels=tuple(labels.index(label) for label, _, _, _ in step),
            born=tuple(born for _, _, born, _ in step),
            died=tuple(died for _, _, _, died in step),
        ),
        labels=labels,
        device=DeviceLevels(source="a planted allocator", peak_allocated_bytes=measured, capacity_bytes=2**30),
    )
    return replace(ledger, **fields)


def make_large_ledger(num_allocations: int) -> MemoryLedger:
    """Return a step of so many allocations: each third lives to the end of backward, the others die at once.

    One of them, in no special place, is larger than all others together, and so the peak.
    """
    sizes, labels, born, died = ([], [], [], [])
    kept: list[int] = []
    number = 0
    categories = (SILU, SCORES, GRADIENTS)
    for place in range(num_allocations):
        sizes.append(512 * (1 + place % 7) if place != num_allocations * 5 // 8 else 2**30)
        labels.append(place % 3)
        born.append(number)
        number += 1
        if place % 3:
            died.append(number)
            number += 1
        else:
            kept.append(place)
            died.append(ALIVE)
    forward_end = number
    for place in reversed(kept):
        died[place] = number
        number += 1
    return make_ledger(
        (),
        phases=(("forward", 0, forward_end), ("backward", forward_end, number)),
        num_events=number,
        built=0,
        labels=categories,
        allocations=Allocations(sizes=tuple(sizes), labels=tuple(labels), born=tuple(born), died=tuple(died)),
    )
