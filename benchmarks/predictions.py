"""How near predictions come: each cell of a store beside what was predicted of it, memory and time with signed errors.

Run with `python benchmarks/predictions.py STORE`, of a CUDA machine; prints two tables and the worst cases. Times are
predicted from the latest calibration of the machine in the store, or from its datasheet where there is none.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel import units
from windtunnel.analysis.results import Row, load_results
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.prediction import Prediction, Target, predict, target_named
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.statistics.summary import summarize

MEMORY_GOAL = 0.05
TIME_GOAL = 0.25

DEVICE_SHARE = 1.5
"""A step counts as GPU-bound where its device is predicted to work so much longer than its host launches."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity of one cell: what was predicted, and what was measured."""

    label: str
    predicted: float
    measured: float
    note: str = ""

    @property
    def error(self) -> float:
        """By how much the prediction is too high, as a share of the measured."""
        return self.predicted / self.measured - 1


def main(store: Path) -> None:
    """Print the tables."""
    rows = [row for row in load_results(store) if row.is_ok and row.cell.device != "cpu"]
    predicted = [(row, predict(row.cell, _target(row))) for row in rows]
    known = [(row, one) for row, one in predicted if one.memory is not None]
    left = len(predicted) - len(known)
    print(f"{len(known)} cells of {store}; {left} without a closed form; those of a CPU and failures are left out")
    _print("Peak memory", [_memory(*pair) for pair in known], units.memory, MEMORY_GOAL)
    times = [line for pair in known for line in _times(*pair)]
    bound_by_gpu = [line for line in times if not line.note]
    _print("Time of a step that the GPU bounds", bound_by_gpu, units.duration, TIME_GOAL)
    _print("Time of a step that the host bounds, in part or whole", [x for x in times if x.note], units.duration, None)


def _target(row: Row) -> Target:
    environment = row.environment
    peaks = peaks_of(environment.device_name)
    ceilings = calibrated_ceilings(row.calibration, peaks) if row.calibration else None
    return target_named(environment.device_name, memory_bytes=environment.device_memory_bytes, ceilings=ceilings)


def _memory(row: Row, one: Prediction) -> Line:
    assert one.memory is not None
    memory = row.record.memory
    assert memory is not None
    assert memory.peak_bytes is not None
    return Line(
        label=row.record.task.cell_label(),
        predicted=one.memory.peak_bytes,
        measured=memory.peak_bytes,
        note=one.memory.peak_phase,
    )


def _times(row: Row, one: Prediction) -> Iterable[Line]:
    """Yield the time of the whole step, if it is known and the cell was not cold."""
    assert one.time is not None
    if one.time.seconds is None or row.record.task.plan.is_cold:
        return
    series = row.record.whole_series()
    assert series is not None
    device = sum(phase.device_seconds or 0.0 for phase in one.time.phases.values())
    launch = sum(phase.launch_seconds or 0.0 for phase in one.time.phases.values())
    yield Line(
        label=row.record.task.cell_label(),
        predicted=one.time.seconds,
        measured=summarize(series.nanoseconds).median,
        note="" if device >= DEVICE_SHARE * launch else f"device {device / launch:.2f} of host",
    )


def _print(title: str, lines: Sequence[Line], text: object, goal: float | None) -> None:
    assert callable(text)
    print(f"\n{title}")
    for line in lines:
        print(
            f"  {line.label:90} measured {text(line.measured):>10}  predicted {text(line.predicted):>10}  "
            f"{units.change(line.error):>8}  {line.note}"
        )
    if not lines:
        print("  no cell")
        return
    worst = max(lines, key=lambda line: abs(line.error))
    print(f"  worst: {units.change(worst.error)}, {worst.label}")
    if goal is not None:
        inside = sum(abs(line.error) <= goal for line in lines)
        print(
            f"  within {units.percent(goal, 0)}: {inside} of {len(lines)}: {'ok' if inside == len(lines) else 'MISSED'}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
