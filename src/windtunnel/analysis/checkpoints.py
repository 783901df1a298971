"""Searches of checkpointings as a store holds them: each is made again from the records, without measuring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.results import Row
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.store import Run
from windtunnel.spec.cell import Cell, MeasurePlan
from windtunnel.sweep.checkpoint_search import CheckpointSearch, Measured, search_checkpoints
from windtunnel.sweep.lines import predicted_peak

KIND = "checkpoint-search"
"""What the run of a search says that it is."""

_NOT_MEASURED = Measured(peak_bytes=None, seconds=None, outcome="not measured")


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedSearch:
    """What a search was asked: of which cell, measured how, within which bytes (None: no budget)."""

    kind: str = KIND
    cell: Cell
    plan: MeasurePlan
    budget_bytes: int | None

    def to_json(self) -> Mapping[str, Any]:
        """Return it as a run keeps it."""
        return _ADAPTER.dump_python(self, mode="json")


_ADAPTER = TypeAdapter(AskedSearch)


def checkpoint_searches(
    runs: Sequence[Run], rows: Sequence[Row], ledgers: Sequence[StoredLook[MemoryLedger]]
) -> tuple[CheckpointSearch, ...]:
    """Return what each search of one machine found, as far as its store has the records; the same ones asked once.

    Raises:
        StoreError: A run cannot be read as a search.
    """
    asked = [_asked(run) for run in runs if run.sweep.get("kind") == KIND]
    searches = (_found_again(one, rows, ledgers) for one in {_ADAPTER.dump_json(one): one for one in asked}.values())
    return tuple(one for one in searches if any(measured is not _NOT_MEASURED for measured in one.measured.values()))


def measured_of(row: Row, ledger_peak: int | None) -> Measured:
    """Return what a row says; its peak is that of the device's allocator, on a CPU that of a ledger."""
    estimate = row.estimate() if row.is_ok else None
    peak = ledger_peak if row.cell.device == "cpu" else row.peak_bytes
    return Measured(
        peak_bytes=peak if row.is_ok else None,
        seconds=estimate.value if estimate else None,
        outcome=row.record.status.value,
    )


def peak_of_ledger(stored: StoredLook[MemoryLedger]) -> int | None:
    """Return the most bytes that a ledger holds."""
    peak = LedgerView(stored.look).peak
    return None if peak is None else peak.total


def _asked(run: Run) -> AskedSearch:
    try:
        return _ADAPTER.validate_python(dict(run.sweep))
    except ValidationError as error:
        raise StoreError(f"the search of {run.started_at} cannot be read: {error}; choose another --store") from error


def _found_again(
    asked: AskedSearch, rows: Sequence[Row], ledgers: Sequence[StoredLook[MemoryLedger]]
) -> CheckpointSearch:
    def is_of_it(cell: Cell | None) -> bool:
        return cell is not None and cell.model_copy(update={"checkpoint": asked.cell.checkpoint}) == asked.cell

    peaks = {
        one.look.cell.checkpoint: peak_of_ledger(one)
        for one in ledgers
        if asked.cell.device == "cpu" and one.look.cell is not None and is_of_it(one.look.cell)
    }
    stored = {
        row.cell.checkpoint: measured_of(row, peaks.get(row.cell.checkpoint))
        for row in rows
        if row.plan == asked.plan and is_of_it(row.cell)
    }

    def measure(names: Sequence[str]) -> Mapping[str, Measured]:
        return {name: stored.get(name, _NOT_MEASURED) for name in names}

    try:
        return search_checkpoints(asked.cell, predict=predicted_peak, measure=measure, budget_bytes=asked.budget_bytes)
    except SpecError as error:
        raise StoreError(
            f"a search of {asked.cell.model.name} cannot be read: {error}; choose another --store"
        ) from None
