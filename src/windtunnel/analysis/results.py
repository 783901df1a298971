"""Stored records as rows that know their statistics and their rates."""

import statistics
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

from windtunnel.cost.devices import peaks_of
from windtunnel.records.calibration import Calibration
from windtunnel.records.environment import Environment
from windtunnel.records.record import ClockName, Record, Status
from windtunnel.records.store import Run, Store, StoredRecord, read_store
from windtunnel.spec.cell import Cell, MeasurePlan
from windtunnel.spec.tables import PRECISIONS
from windtunnel.statistics.interval import Estimate, median_interval, process_interval
from windtunnel.statistics.summary import Summary, summarize


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
        self._estimates: dict[str, Estimate | None] = {}
        self._locations: dict[str | None, float | None] = {}

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

    def clock(self, phase: str) -> ClockName:
        """Return the clock that tables show: the host's for a whole step, for its phases the device's if it has one."""
        if phase != self.record.total and self.record.series(phase, ClockName.DEVICE):
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
        samples = _joined(self._of_processes(phase, clock))
        return summarize(samples) if samples else None

    def location(self, phase: str | None = None) -> float | None:
        """Return the seconds that tables show and rates use; None where there are no samples.

        The median of the samples; with several processes the mean of their medians, which is what `estimate` has its
        interval for: the median of all samples together may lie outside of it.
        """
        if phase not in self._locations:
            self._locations[phase] = self._locate(phase)
        return self._locations[phase]

    def _locate(self, phase: str | None) -> float | None:
        if len(self.processes) > 1:
            estimate = self.estimate(phase)
            return estimate.value if estimate else None
        summary = self.summary(phase)
        return summary.median if summary else None

    def estimate(self, phase: str | None = None) -> Estimate | None:
        """Return the location of a phase (default: the whole step) in seconds with its 95 % interval.

        With several processes the interval is between them, or there is none where they are too few.
        """
        phase = phase or self.record.total
        if phase not in self._estimates:
            self._estimates[phase] = _estimate(self.samples_by_process(phase))
        return self._estimates[phase]

    def samples(self, phase: str | None = None) -> tuple[int, ...]:
        """Return the raw samples of a phase on the clock that tables show, in nanoseconds and in order.

        Those of several processes follow one another, in the order of the processes.
        """
        return _joined(self.samples_by_process(phase))

    def samples_by_process(self, phase: str | None = None) -> tuple[tuple[int, ...], ...]:
        """Return the samples of each process that has any, as `samples` does."""
        phase = phase or self.record.total
        return self._of_processes(phase, self.clock(phase))

    def _of_processes(self, phase: str, clock: ClockName) -> tuple[tuple[int, ...], ...]:
        found = [stored.record.series(phase, clock) for stored in self.processes]
        return tuple([series.nanoseconds for series in found if series and series.nanoseconds])

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
        """Return the achieved rate: FLOPs over the location of the time."""
        seconds, flops = self.location(phase), self.flops(phase)
        return flops / seconds if seconds and flops else None

    @property
    def peak_flops_per_second(self) -> float | None:
        """The datasheet rate of the device for this precision; None where it is not known."""
        peaks = _peaks(self.environment.device_name)
        return peaks.flops_per_second(PRECISIONS[self.cell.precision].peak) if peaks else None

    def peak_fraction(self, phase: str | None = None) -> float | None:
        """Return the achieved rate as a fraction of the datasheet's; None where either is not known."""
        rate, peak = self.flops_per_second(phase), self.peak_flops_per_second
        return rate / peak if rate and peak else None

    @property
    def ceiling_flops_per_second(self) -> float | None:
        """The rate that this machine reached in calibration for this precision; None where it has none."""
        column = PRECISIONS[self.cell.precision].peak
        return self.calibration.flops_per_second(column) if self.calibration else None

    def ceiling_fraction(self, phase: str | None = None) -> float | None:
        """Return the achieved rate as a fraction of the calibrated one; None where either is not known."""
        rate, ceiling = self.flops_per_second(phase), self.ceiling_flops_per_second
        return rate / ceiling if rate and ceiling else None


_peaks = cache(peaks_of)


def _joined(each: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return each[0] if len(each) == 1 else tuple(chain.from_iterable(each))


def _estimate(each: tuple[tuple[int, ...], ...]) -> Estimate | None:
    if not each:
        return None
    if len(each) == 1:
        return _in_seconds(median_interval(each[0]))
    return _in_seconds(process_interval([statistics.median(samples) for samples in each]))


def _in_seconds(estimate: Estimate) -> Estimate:
    low, high = estimate.low, estimate.high
    return replace(
        estimate,
        value=estimate.value * 1e-9,
        low=None if low is None else low * 1e-9,
        high=None if high is None else high * 1e-9,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that a store holds, in the order in which it was measured."""

    rows: tuple[Row, ...]
    runs: tuple[Run, ...]

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


def load_results(store: Store | Path | str) -> Results:
    """Read all results of a store, the latest repeat of each task; no torch, and nothing read is ever executed.

    Raises:
        StoreError: There is no store, it is not ours, or a row is damaged.
    """
    if isinstance(store, Store):
        return Results(rows=tuple(_rows(store)), runs=store.runs())
    with read_store(Path(store)) as opened:
        return load_results(opened)


def _rows(store: Store) -> Iterator[Row]:
    """Yield the rows, each where its first record stands."""
    machines: dict[int, str] = {}  # by environment, which a store reads once: hashing it for each record is slow
    cells: dict[Hashable, list[StoredRecord]] = {}
    for stored in store.records():
        if id(stored.environment) not in machines:
            machines[id(stored.environment)] = stored.environment.machine()
        cells.setdefault((machines[id(stored.environment)], _cell_of(stored)), []).append(stored)
    calibrations = {machine: store.calibration(machine) for machine in set(machines.values())}
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
