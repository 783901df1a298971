"""Results as flat rows under columns with units in their names: facts and derived numbers, for other programs."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from windtunnel.analysis.labels import marks_of
from windtunnel.analysis.results import Results, Row
from windtunnel.records.record import Memory, Record
from windtunnel.records.store import StoredRecord

Value = str | int | float | bool | None
"""None: not known, or does not apply."""

FlatRow = dict[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseOf:
    """A row and one of its phases; None where it failed and has no numbers, so that it still has a line.

    `label` is the cell in words; with the key where another cell of the results has the same words.
    """

    row: Row
    phase: str | None
    label: str


def phases_of(results: Results) -> Iterator[PhaseOf]:
    """Yield each phase of each measured row, and each failed row once."""
    shared = Counter((row.machine, row.record.task.cell_label()) for row in results)
    for row in results:
        label = row.record.task.cell_label()
        if shared[row.machine, label] > 1:
            label = f"{label} · {row.key}"
        if row.is_ok and row.plan.purpose == "time":
            yield from (PhaseOf(row=row, phase=phase, label=label) for phase in row.phases if row.samples(phase))
        else:
            yield PhaseOf(row=row, phase=None, label=label)


def phase_rows(results: Results) -> Iterator[FlatRow]:
    """Yield a flat row for each phase of each cell; each has the same columns, in the same order."""
    for one in phases_of(results):
        yield {name: get(one) for name, get in PHASE_COLUMNS.items()}


def sample_rows(results: Results) -> Iterator[FlatRow]:
    """Yield a flat row for each raw sample and each warm-up step, on every clock; a failure without any has one row."""
    for row in results:
        for stored in row.processes:
            about = _about_sample(row, stored)
            nothing: FlatRow = {**about, **dict.fromkeys(_SAMPLE_FIELDS)}
            lines = [
                {**about, **dict(zip(_SAMPLE_FIELDS, values, strict=True))} for values in _samples_of(stored.record)
            ]
            yield from lines or [nothing]


_SAMPLE_FIELDS = ("phase", "clock", "is_warmup", "sample_index", "time_nanoseconds")


def _samples_of(record: Record) -> Iterator[tuple[str, str, bool, int, int]]:
    for series in record.samples:
        kinds = ((True, series.warmup_nanoseconds), (False, series.nanoseconds))
        for is_warmup, nanoseconds in kinds:
            for index, value in enumerate(nanoseconds):
                yield series.phase, series.clock.value, is_warmup, index, value


def _about_sample(row: Row, stored: StoredRecord) -> FlatRow:
    record = stored.record
    return {
        "key": stored.key,
        "machine": row.machine,
        "repeat": stored.repeat,
        "process_number": record.task.replica,
        "cell": record.task.cell_label(),
        "status": record.status.value,
        "failure_message": record.failure.message if record.failure else None,
        "started_at": record.started_at,
    }


def _memory(get: Callable[[Memory], int | None]) -> Callable[[PhaseOf], Value]:
    return lambda one: get(one.row.record.memory) if one.row.record.memory else None


def _model(name: str) -> Callable[[PhaseOf], Value]:
    return lambda one: getattr(one.row.cell.model, name, None)


def _summary(name: str) -> Callable[[PhaseOf], Value]:
    def get(one: PhaseOf) -> Value:
        summary = one.row.summary(one.phase) if one.phase else None
        return getattr(summary, name) if summary else None

    return get


def _estimate(name: str) -> Callable[[PhaseOf], Value]:
    def get(one: PhaseOf) -> Value:
        estimate = one.row.estimate(one.phase) if one.phase else None
        return getattr(estimate, name) if estimate else None

    return get


def _phase(one: PhaseOf) -> Value:
    return one.phase or (one.row.record.failure.phase if one.row.record.failure else None)


def _failure(name: str) -> Callable[[PhaseOf], Value]:
    return lambda one: getattr(one.row.record.failure, name) if one.row.record.failure else None


def _warnings(one: PhaseOf) -> Value:
    every = chain.from_iterable(stored.record.warnings for stored in one.row.processes)
    return "; ".join(dict.fromkeys(every)) or None


PHASE_COLUMNS: dict[str, Callable[[PhaseOf], Value]] = {
    "key": lambda one: one.row.key,
    "machine": lambda one: one.row.machine,
    "device_name": lambda one: one.row.environment.device_name,
    "torch": lambda one: one.row.environment.torch,
    "git_commit": lambda one: one.row.environment.git_commit,
    "windtunnel": lambda one: one.row.environment.windtunnel,
    "started_at": lambda one: one.row.record.started_at,
    "repeat": lambda one: one.row.repeat,
    "cell": lambda one: one.label,
    "size": lambda one: one.row.cell.model.name,
    "d_model": _model("d_model"),
    "d_ff": _model("d_ff"),
    "num_layers": _model("num_layers"),
    "num_heads": _model("num_heads"),
    "num_kv_heads": _model("num_kv_heads"),
    "d_head": _model("d_head"),
    "mask": _model("mask"),
    "vocab_size": _model("vocab_size"),
    "parameters": lambda one: one.row.record.parameters,
    "workload": lambda one: one.row.cell.workload,
    "batch_size": lambda one: one.row.cell.batch_size,
    "context_length": lambda one: one.row.cell.context_length,
    "precision": lambda one: one.row.cell.precision,
    "attention": lambda one: one.row.cell.attention_name,
    "compile": lambda one: one.row.cell.compile,
    "checkpoint": lambda one: one.row.cell.checkpoint_name,
    "device": lambda one: one.row.cell.device,
    "seed": lambda one: one.row.cell.seed,
    "warmup": lambda one: str(one.row.plan.warmup),
    "cache": lambda one: one.row.plan.cache,
    "purpose": lambda one: one.row.plan.purpose,
    "num_processes": lambda one: len(one.row.processes),
    "status": lambda one: one.row.record.status.value,
    "failure_stage": _failure("stage"),
    "failure_message": _failure("message"),
    "failure_requested_bytes": _failure("requested_bytes"),
    "failure_free_bytes": _failure("free_bytes"),
    "phase": _phase,
    "is_whole_step": lambda one: one.phase == one.row.record.total if one.phase else None,
    "clock": lambda one: one.row.clock(one.phase).value if one.phase else None,
    "num_samples": _summary("n"),
    "median_seconds": _summary("median"),
    "estimate_seconds": _estimate("value"),
    "estimate_low_seconds": _estimate("low"),
    "estimate_high_seconds": _estimate("high"),
    "estimate_method": _estimate("method"),
    "mean_seconds": _summary("mean"),
    "std_seconds": _summary("std"),
    "low_quartile_seconds": _summary("low_quartile"),
    "high_quartile_seconds": _summary("high_quartile"),
    "minimum_seconds": _summary("minimum"),
    "maximum_seconds": _summary("maximum"),
    "flops": lambda one: one.row.flops(one.phase) if one.phase else None,
    "flops_per_second": lambda one: one.row.flops_per_second(one.phase) if one.phase else None,
    "peak_fraction": lambda one: one.row.peak_fraction(one.phase) if one.phase else None,
    "ceiling_fraction": lambda one: one.row.ceiling_fraction(one.phase) if one.phase else None,
    "built_bytes": _memory(lambda memory: memory.built_bytes),
    "peak_bytes": _memory(lambda memory: memory.peak_bytes),
    "peak_reserved_bytes": _memory(lambda memory: memory.peak_reserved_bytes),
    "capacity_bytes": _memory(lambda memory: memory.capacity_bytes),
    "marks": lambda one: "; ".join(marks_of(one.row)) or None if one.phase else None,
    "warnings": _warnings,
}
"""Column to how it is read. Times are in seconds on `clock`; a fraction is of 1; bytes are of the whole cell."""

SAMPLE_COLUMNS = (
    "key",
    "machine",
    "repeat",
    "process_number",
    "cell",
    "status",
    "failure_message",
    "started_at",
    *_SAMPLE_FIELDS,
)


def type_of(column: str) -> type[bool] | type[int] | type[float] | type[str]:
    """Return what a column holds beside None, from its name alone: so a store of failures has the same types."""
    if column.startswith("is_"):
        return bool
    if column.endswith(("_seconds", "_fraction", "_per_second")):
        return float
    if column.startswith(("d_", "num_")) or column.endswith(_INTEGERS) or column in _COUNTS:
        return int
    return str


_INTEGERS = ("_bytes", "_nanoseconds", "_index", "_number", "_size", "_length")
_COUNTS = frozenset({"repeat", "seed", "parameters", "flops"})
