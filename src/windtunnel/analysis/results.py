"""Stored records as rows that know their statistics and their rates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from windtunnel.cost.devices import peaks_of
from windtunnel.records.calibration import Calibration
from windtunnel.records.environment import Environment
from windtunnel.records.record import ClockName, Record, Status
from windtunnel.records.store import Run, Store, StoredComparison, StoredRecord, read_store
from windtunnel.spec.cell import Cell, MeasurePlan
from windtunnel.spec.tables import PRECISIONS
from windtunnel.statistics.interval import Estimate, median_interval
from windtunnel.statistics.summary import Summary, summarize


class Row:
    """One record with its numbers, each computed when it is first asked for."""

    def __init__(self, stored: StoredRecord, calibration: Calibration | None = None) -> None:
        """Wrap a stored record, with the latest calibration of its machine where there is one."""
        self.calibration: Calibration | None = calibration
        self.key: str = stored.key
        self.repeat: int = stored.repeat
        self.record: Record = stored.record
        self.environment: Environment = stored.environment
        self.cell: Cell = stored.record.task.cell
        self.plan: MeasurePlan = stored.record.task.plan
        self._summaries: dict[tuple[str | None, ClockName | None], Summary | None] = {}
        self._estimates: dict[str, Estimate | None] = {}

    @property
    def is_ok(self) -> bool:
        """Whether the cell was measured to its end."""
        return self.record.status == Status.OK

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
        """Describe the samples of a phase (default: the whole step); None where there are none."""
        if (phase, clock) not in self._summaries:
            self._summaries[phase, clock] = self._summarize(phase, clock)
        return self._summaries[phase, clock]

    def _summarize(self, phase: str | None, clock: ClockName | None) -> Summary | None:
        if phase is None or clock is None:  # the names that were left out are not looked up a second time
            phase = phase or self.record.total
            return self.summary(phase, clock or self.clock(phase))
        series = self.record.series(phase, clock)
        return summarize(series.nanoseconds) if series and series.nanoseconds else None

    def estimate(self, phase: str | None = None) -> Estimate | None:
        """Return the median of a phase (default: the whole step) in seconds with its 95 % interval."""
        phase = phase or self.record.total
        if phase not in self._estimates:
            samples = self.samples(phase)
            self._estimates[phase] = _in_seconds(median_interval(samples)) if samples else None
        return self._estimates[phase]

    def samples(self, phase: str | None = None) -> tuple[int, ...]:
        """Return the raw samples of a phase on the clock that tables show, in nanoseconds and in order."""
        phase = phase or self.record.total
        series = self.record.series(phase, self.clock(phase))
        return series.nanoseconds if series else ()

    def flops(self, phase: str | None = None) -> int | None:
        """Return the matrix-product FLOPs of a phase; None where it has none (the optimizer)."""
        if phase is None or phase == self.record.total:
            return sum(self.record.flops.values()) or None
        return self.record.flops.get(phase)

    def flops_per_second(self, phase: str | None = None) -> float | None:
        """Return the achieved rate: FLOPs over the median time."""
        summary, flops = self.summary(phase), self.flops(phase)
        return flops / summary.median if summary and flops else None

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
    comparisons: tuple[StoredComparison, ...] = ()

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
        return Results(rows=tuple(_rows(store)), runs=store.runs(), comparisons=store.comparisons())
    with read_store(Path(store)) as opened:
        return load_results(opened)


def _rows(store: Store) -> Iterator[Row]:
    """Yield the rows; those of one environment, which a store reads once, share its hash."""
    machines: dict[int, str] = {}
    calibrations: dict[str, Calibration | None] = {}
    for stored in store.records():
        row = Row(stored)
        if id(row.environment) in machines:
            row.machine = machines[id(row.environment)]
        machines[id(row.environment)] = row.machine
        if row.machine not in calibrations:
            calibrations[row.machine] = store.calibration(row.machine)
        row.calibration = calibrations[row.machine]
        yield row
