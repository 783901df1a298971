"""A snapshot of another program as a ledger without a cell: lines of code in place of what it was for."""

from collections.abc import Mapping, Sequence

from windtunnel.errors import SpecError
from windtunnel.records.memory_ledger import ALIVE, Allocations, Category, DeviceLevels, Label, MemoryLedger, Span
from windtunnel.records.record import Failure, Status
from windtunnel.records.snapshot import TraceEntry
from windtunnel.units import memory

_CATEGORIES: Mapping[str, Category] = {
    "parameter": Category.PARAMETERS,
    "optimizer_state": Category.OPTIMIZER,
    "gradient": Category.GRADIENTS,
    "input": Category.INPUTS,
    "activation": Category.ACTIVATIONS,
    "temporary": Category.TEMPORARIES,
    "autograd_detail": Category.TEMPORARIES,
}
"""What the memory profiler of PyTorch calls a category."""

MOST_BYTES = 2**50
"""More no device holds; levels are exact up to 2**53."""


def ledger_of_traces(traces: Sequence[Sequence[TraceEntry]], *, started_at: str) -> MemoryLedger:
    """Return the device of a snapshot with the most allocations as a ledger.

    Categories are those that the snapshot names, as one of a CPU profile does, and otherwise not attributed. Memory
    that was there before the trace is not in it.

    Raises:
        SpecError: No device of the snapshot allocated anything, or it allocated more than there can be.
    """
    trace = max(traces, key=_num_allocations, default=())
    if not _num_allocations(trace):
        raise SpecError(
            "the snapshot holds no allocation; record some with torch.cuda.memory._record_memory_history() first"
        )
    labels: dict[Label, int] = {}
    sizes, places, born, died = (list[int]() for _ in range(4))
    live: dict[int, int] = {}
    number = total = peak = 0
    for entry in trace:
        if entry.action == "alloc":
            live[entry.address] = len(sizes)
            sizes.append(entry.size)
            born.append(number)
            died.append(ALIVE)
            places.append(labels.setdefault(_label_of(entry), len(labels)))
            total += entry.size
            peak = max(peak, total)
            number += 1
        elif entry.action == "free_requested" and entry.address in live:
            place = live.pop(entry.address)
            died[place] = number
            total -= sizes[place]
            number += 1
    if peak > MOST_BYTES:
        raise SpecError(
            f"the snapshot is damaged: it holds {memory(peak)} at once, allowed: {memory(MOST_BYTES)}; write it anew "
            "with json.dump(torch.cuda.memory._snapshot(), file)"
        )
    failed = next((entry for entry in trace if entry.action == "oom"), None)
    return MemoryLedger(
        cell=None,
        status=Status.OUT_OF_MEMORY if failed else Status.OK,
        failure=_failure_of(failed) if failed else None,
        started_at=started_at,
        is_watched=False,
        num_events=number,
        built=None,
        phases=(Span(name="whole trace", begin=0, end=number),),
        allocations=Allocations(sizes=tuple(sizes), labels=tuple(places), born=tuple(born), died=tuple(died)),
        labels=tuple(labels),
        device=DeviceLevels(source="the trace of a snapshot, in bytes asked for", peak_allocated_bytes=peak),
    )


def _num_allocations(trace: Sequence[TraceEntry]) -> int:
    return sum(entry.action == "alloc" and entry.size > 0 for entry in trace)


def _label_of(entry: TraceEntry) -> Label:
    return Label(category=_CATEGORIES.get(entry.category, Category.NOT_ATTRIBUTED), site=entry.site)


def _failure_of(entry: TraceEntry) -> Failure:
    return Failure(stage="trace", message="out of memory", requested_bytes=entry.size or None, free_bytes=entry.free)
