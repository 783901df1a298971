"""Stored records as rows that know their statistics and their rates."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel.analysis.telemetry import Conditions, conditions_of
from windtunnel.cost.devices import peaks_of
from windtunnel.records.calibration import Calibration
from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.profile import Profile
from windtunnel.records.record import ClockName, Record, Status
from windtunnel.records.store import Run, Store, StoredComparison, StoredRecord, read_store
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell, MeasurePlan
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import PRECISIONS
from windtunnel.statistics.batches import Floats
from windtunnel.statistics.interval import Estimate, median_intervals, process_interval
from windtunnel.statistics.series import Irregularities, irregularities_of_each
from windtunnel.statistics.summary import Spread, Summary, spreads_of, summarize

FEWEST_REPEATS = 3
"""What was measured so often has a history: two numbers are a difference, which asks for a comparison."""


class Row:
    """One cell with its numbers, each computed when it is first asked for.

    `processes` are its stored records, one for each process that measured it, in their order; a run that was
    interrupted may have left fewer than the plan asks for. `record` speaks for all of them: the first that failed, or
    the first one; `key`, `repeat` and `environment` are its own.
    """

    def __init__(self, *processes: StoredRecord, calibration: Calibration | None = None) -> None:
        """Wrap the records of one cell, with the latest calibration of its machine where there is one."""
        self.processes: tuple[StoredRecord, ...] = processes
        self.calibration: Calibration | None = calibration
        stored = next((one for one in processes if one.record.status != Status.OK), processes[0])
        self.key: str = stored.key
        self.repeat: int = stored.repeat
        self.record: Record = stored.record
        self.environment: Environment = stored.environment
        self.cell: Cell = stored.record.task.cell
        self.plan: MeasurePlan = stored.record.task.plan
        self._summaries: dict[tuple[str | None, ClockName | None], Summary | None] = {}
        self._series: dict[tuple[str, ClockName], tuple[tuple[int, ...], ...]] = _series_of(processes)
        self.batch: Batch = Batch((self,))

    @property
    def is_ok(self) -> bool:
        """Whether the cell was measured to its end, in each process that is stored."""
        return self.record.status == Status.OK

    @property
    def is_complete(self) -> bool:
        """Whether the store holds all processes that the plan asks for."""
        return len(self.processes) == self.plan.processes

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the step in their order; the last one is the whole step."""
        return tuple(self.record.timed)

    @cached_property
    def machine(self) -> str:
        """The machine's hash: numbers of different machines never share a table."""
        return self.environment.machine()

    @cached_property
    def shape(self) -> Hashable:
        """The fields of the model as one plain value: models compared field by field are slow over a large grid."""
        return _SHAPES[type(self.cell.model)](self.cell.model)

    @property
    def size_rank(self) -> int:
        """A number to order sizes by: the parameters; 0 where nobody could count them."""
        return self.record.parameters or 0

    @property
    def peak_bytes(self) -> int | None:
        """The most bytes that a process held at any one time; None where that is not known."""
        memories = [stored.record.memory for stored in self.processes]
        return max((one.peak_bytes for one in memories if one and one.peak_bytes is not None), default=None)

    @cached_property
    def conditions(self) -> tuple[Conditions, ...]:
        """What the sensors said of each process that has telemetry of its timed steps."""
        each = (conditions_of(stored.record) for stored in self.processes if stored.record.telemetry)
        return tuple(seen for seen in each if seen is not None)

    def clock(self, phase: str) -> ClockName:
        """Return the clock that tables show: the host's for a whole step, for its phases the device's if it has one.

        Attention alone is part of a step, so all of it is on the device's clock where there is one.
        """
        is_part = phase != self.record.total or self.cell.is_attention
        if is_part and (phase, ClockName.DEVICE) in self._series:
            return ClockName.DEVICE
        return ClockName.HOST

    def summary(self, phase: str | None = None, clock: ClockName | None = None) -> Summary | None:
        """Describe the samples of a phase (default: the whole step), of all processes together; None without any."""
        if (phase, clock) not in self._summaries:
            self._summaries[phase, clock] = self._summarize(phase, clock)
        return self._summaries[phase, clock]

    def _summarize(self, phase: str | None, clock: ClockName | None) -> Summary | None:
        if phase is None or clock is None:  # the names that were left out are not looked up a second time
            phase = phase or self.record.total
            return self.summary(phase, clock or self.clock(phase))
        each = self._series.get((phase, clock), ())
        return summarize(_joined(each)) if each else None

    def estimate(self, phase: str | None = None) -> Estimate | None:
        """Return the location of a phase (default: the whole step) in seconds with its 95 % interval.

        The median of the samples. With several processes it is the mean of their medians, and the interval is between
        them, or there is none where they are too few: the median of all samples together could lie outside of it.
        """
        return self.batch.estimates.get((self, phase or self.record.total))

    def spread(self, phase: str | None = None) -> Spread | None:
        """Return mean and standard deviation of a phase (default: the whole step), of all processes together."""
        return self.batch.spreads.get((self, phase or self.record.total))

    @property
    def irregularities(self) -> Irregularities:
        """What is irregular about the samples of the whole step, in nanoseconds; nothing where there are none.

        Each process is judged by itself, and the first that is irregular speaks for all.
        """
        return self.batch.irregularities.get(self, _CLEAN)

    def samples(self, phase: str | None = None) -> tuple[int, ...]:
        """Return the raw samples of a phase on the clock that tables show, in nanoseconds and in order.

        Those of several processes follow one another, in the order of the processes.
        """
        each = self.samples_by_process(phase)
        return _joined(each) if each else ()

    def samples_by_process(self, phase: str | None = None) -> tuple[tuple[int, ...], ...]:
        """Return the samples of each process that has any, as `samples` does."""
        phase = phase or self.record.total
        return self._series.get((phase, self.clock(phase)), ())

    def apart(self) -> tuple["Row", ...]:
        """Return a row for each process, for what is asked of one process at a time."""
        if len(self.processes) == 1:
            return (self,)
        return tuple(Row(stored, calibration=self.calibration) for stored in self.processes)

    def flops(self, phase: str | None = None) -> int | None:
        """Return the matrix-product FLOPs of a phase; None where it has none (loss, optimizer)."""
        if phase is None or phase == self.record.total:
            return sum(self.record.flops.values()) or None
        return self.record.flops.get(phase)

    def flops_per_second(self, phase: str | None = None) -> float | None:
        """Return the achieved rate: FLOPs over the median time."""
        estimate, flops = self.estimate(phase), self.flops(phase)
        return flops / estimate.value if estimate and flops else None

    @property
    def peak_flops_per_second(self) -> float | None:
        """The datasheet rate of the device for this precision; None where it is not known."""
        peaks = _peaks(self.environment.device_name)
        return peaks.flops_per_second(PRECISIONS[self.cell.precision].peak) if peaks else None

    def peak_fraction(self, phase: str | None = None) -> float | None:
        """Return the achieved rate as a fraction of the datasheet's; None where either is not known."""
        peak = self.peak_flops_per_second
        rate = self.flops_per_second(phase) if peak else None
        return rate / peak if rate and peak else None

    @property
    def ceiling_flops_per_second(self) -> float | None:
        """The rate that this machine reached in calibration for this precision; None where it has none."""
        column = PRECISIONS[self.cell.precision].peak
        return self.calibration.flops_per_second(column) if self.calibration else None

    def ceiling_fraction(self, phase: str | None = None) -> float | None:
        """Return the achieved rate as a fraction of the calibrated one; None where either is not known."""
        ceiling = self.ceiling_flops_per_second
        rate = self.flops_per_second(phase) if ceiling else None
        return rate / ceiling if rate and ceiling else None


_peaks = cache(peaks_of)
_CLEAN = Irregularities()
_SHAPES = {kind: attrgetter(*kind.model_fields) for kind in (ModelSpec, OwnModel, AttentionSpec)}


class Batch:
    """Rows whose statistics are computed together when the first is asked for: one by one takes ten times as long."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Keep the rows; nothing is computed yet."""
        self._rows = rows

    @cached_property
    def _arrays(self) -> Mapping[tuple[Row, str], tuple[Floats, ...]]:
        """The samples of each phase that has any, by process, made arrays once for all statistics."""
        return {
            (row, phase): tuple([np.array(samples, dtype=np.float64) for samples in each])
            for row in self._rows
            for phase in row.phases
            if (each := row.samples_by_process(phase))
        }

    @cached_property
    def estimates(self) -> Mapping[tuple[Row, str], Estimate]:
        """The location in seconds, with its 95 % interval, of each phase that has samples."""
        series = self._arrays
        alone = [of for of, each in series.items() if len(each) == 1]
        found = dict(zip(alone, median_intervals([series[of][0] for of in alone]), strict=True))
        for of, each in series.items():
            if len(each) > 1:
                found[of] = process_interval([float(np.median(samples)) for samples in each])
        return {of: in_seconds(estimate) for of, estimate in found.items()}

    @cached_property
    def spreads(self) -> Mapping[tuple[Row, str], Spread]:
        """Mean and standard deviation of each phase that has samples, of all processes together."""
        joined = [each[0] if len(each) == 1 else np.concatenate(each) for each in self._arrays.values()]
        return dict(zip(self._arrays, spreads_of(joined), strict=True))

    @cached_property
    def irregularities(self) -> Mapping[Row, Irregularities]:
        """What is irregular about the whole step of each row that has samples."""
        series = [(row, samples) for row in self._rows for samples in self._arrays.get((row, row.record.total), ())]
        found: dict[Row, Irregularities] = {}
        labels = irregularities_of_each([samples for _, samples in series])
        for (row, _), irregularities in zip(series, labels, strict=True):
            if row not in found or found[row].is_clean:
                found[row] = irregularities
        return found


def _series_of(processes: Sequence[StoredRecord]) -> dict[tuple[str, ClockName], tuple[tuple[int, ...], ...]]:
    """Return the samples of each phase and clock, one series for each process that has any."""
    found: dict[tuple[str, ClockName], tuple[tuple[int, ...], ...]] = {}
    for stored in processes:
        for series in stored.record.samples:
            if series.nanoseconds:
                of = series.phase, series.clock
                found[of] = (*found.get(of, ()), series.nanoseconds)
    return found


def _joined(each: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return each[0] if len(each) == 1 else tuple(chain.from_iterable(each))


def in_seconds(estimate: Estimate) -> Estimate:
    """Return an estimate of nanoseconds as one of seconds."""
    low, high = estimate.low, estimate.high
    return Estimate(
        value=estimate.value * 1e-9,
        low=None if low is None else low * 1e-9,
        high=None if high is None else high * 1e-9,
        n=estimate.n,
        method=estimate.method,
        confidence=estimate.confidence,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that a store holds, in the order in which it was measured.

    `rows` are of the latest repeat of each task; `repeats` are all records of what was measured three times or more.
    """

    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    comparisons: tuple[StoredComparison, ...] = ()
    ledgers: tuple[StoredLook[MemoryLedger], ...] = ()
    precision_looks: tuple[StoredLook[PrecisionLook], ...] = ()
    profiles: tuple[StoredLook[Profile], ...] = ()
    repeats: tuple[StoredRecord, ...] = ()

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def by_machine(self) -> dict[str, tuple[Row, ...]]:
        """Group the rows by machine, in order of first appearance."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.machine, []).append(row)
        return {machine: tuple(rows) for machine, rows in groups.items()}

    def to_pandas(self, *, samples: bool = False) -> Any:
        """Return a pandas DataFrame: a row for each phase of each cell, or with `samples` for each raw sample.

        Columns are those of `windtunnel export --format csv`; failures are rows too, what is not known is NA.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        from windtunnel.analysis.data_frame import to_frame  # which needs this module

        return to_frame(self, with_samples=samples)


def load_results(store: Store | Path | str) -> Results:
    """Read all results of a store, the latest repeat of each task; no torch, and nothing read is ever executed.

    Raises:
        StoreError: There is no store, it is not ours, or a row is damaged.
    """
    if isinstance(store, Store):
        rows = rows_of(store.records(), store.calibration)
        return Results(
            rows=rows,
            runs=store.runs(),
            comparisons=store.comparisons(),
            ledgers=store.looks(MemoryLedger),
            precision_looks=store.looks(PrecisionLook),
            profiles=store.looks(Profile),
            repeats=_repeats(rows, store),
        )
    with read_store(Path(store)) as opened:
        return load_results(opened)


def _repeats(rows: Iterable[Row], store: Store) -> tuple[StoredRecord, ...]:
    """Return all records of tasks that were measured three times or more, on however many machines."""
    times: Counter[str] = Counter()
    for row in rows:
        for stored in row.processes:
            times[stored.key] += stored.repeat + 1
    often = {key for key, number in times.items() if number >= FEWEST_REPEATS}
    return tuple(stored for stored in store.records(all_repeats=True) if stored.key in often) if often else ()


def rows_of(records: Iterable[StoredRecord], calibration: Callable[[str], Calibration | None]) -> tuple[Row, ...]:
    """Join the records of each cell, of which there is one a process, to rows whose statistics are computed together.

    Each row stands where its first record does; `calibration` gives that of a machine's hash.
    """
    rows = tuple(_rows(records, calibration))
    batch = Batch(rows)
    for row in rows:
        row.batch = batch
    return rows


def _rows(records: Iterable[StoredRecord], calibration: Callable[[str], Calibration | None]) -> Iterator[Row]:
    machines: dict[int, str] = {}  # by environment, which a store reads once: hashing it for each record is slow
    cells: dict[Hashable, list[StoredRecord]] = {}
    for stored in records:
        if id(stored.environment) not in machines:
            machines[id(stored.environment)] = stored.environment.machine()
        cells.setdefault((machines[id(stored.environment)], _cell_of(stored)), []).append(stored)
    calibrations = {machine: calibration(machine) for machine in set(machines.values())}
    for processes in cells.values():
        processes.sort(key=_replica)
        machine = machines[id(processes[0].environment)]
        row = Row(*processes, calibration=calibrations[machine])
        row.machine = machine
        yield row


def _cell_of(stored: StoredRecord) -> Hashable:
    """Return what the records of one cell have in common and no others have; a key is cheaper than a comparison."""
    task = stored.record.task
    return stored.key if task.plan.processes == 1 else (task.cell, task.plan)


def _replica(stored: StoredRecord) -> int:
    return stored.record.task.replica
