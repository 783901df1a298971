"""What was predicted of cells beside what was measured of them: peak memory, and the time of each phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from windtunnel.analysis.results import Row
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.prediction import Fit, Prediction, Target, predict, target_named
from windtunnel.cost.time import Bound, TimePrediction
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.records.record import Status

MOST_CELLS = 400
"""Distinct cells that are predicted at once, half a millisecond each; of more it is every n-th, so that the reader of a
large store need not wait."""

DEVICE_SHARE = 1.5
"""A step is bound by its device where that is predicted to work so much longer than its host launches."""

_COMPARABLE = frozenset({Status.OK, Status.OUT_OF_MEMORY})


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A predicted number and the measured one, both in bytes or in seconds; None is not known."""

    predicted: float | None
    measured: float | None

    @property
    def ratio(self) -> float | None:
        """The predicted number over the measured one."""
        return self.predicted / self.measured if self.predicted is not None and self.measured else None

    @property
    def error(self) -> float | None:
        """By how much the prediction is too high, as a share of what was measured."""
        return None if self.ratio is None else self.ratio - 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Beside:
    """A row with its prediction.

    Attributes:
        row: A cell that was measured to its end, or ran out of memory.
        unknown: Why nothing is predicted of it; empty where something is.
        peak: Bytes by the device's allocator, at the most. A CPU has none, so that nothing is compared there.
        step: Seconds of the whole step; of a cold cell nothing is compared, as what it loads is not predicted.
        phases: Seconds of each phase inside the step, in their order.
        bounds: What each phase is predicted to wait for.
        bound: The same of the longest phase.
        is_device_bound: Whether the device is predicted to work clearly longer than the host launches; None: not known.
        fit: Whether it was predicted to fit; None where that is not known.
    """

    row: Row
    unknown: str
    peak: Compared
    step: Compared
    phases: Mapping[str, Compared]
    bounds: Mapping[str, Bound]
    bound: Bound | None
    is_device_bound: bool | None
    fit: Fit | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Predictions beside measurements, of the rows of one machine.

    Attributes:
        beside: In the order of the rows.
        source: Where the rates come from, in words; None where none are known of the device.
        stride: Of the distinct cells, every so many-th was predicted: 1 is all of them.
    """

    beside: tuple[Beside, ...]
    source: str | None
    stride: int


def predictions_of(rows: Sequence[Row], *, most_cells: int = MOST_CELLS) -> Predictions:
    """Predict the cells of some rows of one machine, by its calibration or else its datasheet.

    Nothing of it is stored: a better prediction judges old results too.

    Args:
        rows: Of one machine; those that failed but for memory are left out.
        most_cells: How many distinct cells are predicted at most.
    """
    comparable = [row for row in rows if row.record.status in _COMPARABLE]
    if not comparable:
        return Predictions(beside=(), source=None, stride=1)
    target = target_of(comparable[-1])
    cells = list(dict.fromkeys(row.cell for row in comparable))
    stride = ceil(len(cells) / most_cells)
    found = {cell: predict(cell, target) for cell in cells[::stride]}
    beside = tuple(_beside(row, found[row.cell]) for row in comparable if row.cell in found)
    return Predictions(beside=beside, source=target.ceilings.source if target.ceilings else None, stride=stride)


def target_of(row: Row) -> Target:
    """Return the device of a row, with the ceilings of its calibration where it has one."""
    environment = row.environment
    peaks = peaks_of(environment.device_name)
    ceilings = calibrated_ceilings(row.calibration, peaks) if row.calibration else None
    return target_named(environment.device_name, memory_bytes=environment.device_memory_bytes, ceilings=ceilings)


def _beside(row: Row, prediction: Prediction) -> Beside:
    time = prediction.time
    inner = row.phases[:-1]
    return Beside(
        row=row,
        unknown=prediction.unknown,
        peak=_peak(row, prediction),
        step=Compared(predicted=time.seconds if time else None, measured=_seconds(row)),
        phases={phase: _phase(row, time, phase) for phase in inner},
        bounds={name: one.bound for name, one in time.phases.items() if one.bound} if time else {},
        bound=time.bound if time else None,
        is_device_bound=_is_device_bound(time) if time else None,
        fit=prediction.fit,
    )


def _peak(row: Row, prediction: Prediction) -> Compared:
    if row.cell.device == "cpu":  # a resident set: Python and libraries are in it
        return Compared(predicted=None, measured=None)
    return Compared(
        predicted=prediction.memory.peak_bytes if prediction.memory else None,
        measured=row.peak_bytes if row.is_ok else None,
    )


def _phase(row: Row, time: TimePrediction | None, phase: str) -> Compared:
    """Return the time of a phase; in rows of older versions the loss is part of forward."""
    names = {phase, "loss"} if phase == "forward" and "loss" not in row.phases else {phase}
    parts = [one.seconds for name, one in time.phases.items() if name in names] if time else []
    known = [seconds for seconds in parts if seconds is not None]
    predicted = sum(known) if known and len(known) == len(parts) else None
    return Compared(predicted=predicted, measured=_seconds(row, phase))


def _seconds(row: Row, phase: str | None = None) -> float | None:
    """Return the measured time of a phase; None where it was not measured to its end, or holds a cold start."""
    estimate = None if row.plan.is_cold or not row.is_ok else row.estimate(phase)
    return estimate.value if estimate else None


def _is_device_bound(time: TimePrediction) -> bool | None:
    if time.seconds is None:
        return None
    device = sum(phase.device_seconds or 0.0 for phase in time.phases.values())
    launch = sum(phase.launch_seconds or 0.0 for phase in time.phases.values())
    return device >= DEVICE_SHARE * launch
