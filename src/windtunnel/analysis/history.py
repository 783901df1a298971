"""Each cell over many runs: one number a run, in the order of time, and where its level changed."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from windtunnel.analysis.alike import Field, differing_software, hardware_of, point_of
from windtunnel.analysis.results import FEWEST_REPEATS, Results, Row
from windtunnel.analysis.selection import RunRows, rows_by_run, split_by_run
from windtunnel.errors import SpecError
from windtunnel.statistics.change_points import ChangePoint, Course, course_of
from windtunnel.statistics.interval import Estimate

_Seen = tuple[str, str, Row]
"""When a cell ran, what its run was called, and its row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A cell in one run. `estimate` is in seconds, None where the cell failed; `since` is what versions changed.

    `copies` is how often the stores hold the run: one of a folder that is given twice, or of a copy, counts once.
    """

    row: Row
    copies: int
    started_at: str
    label: str
    estimate: Estimate | None
    since: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True)
class History:
    """A cell on one kind of machine over all runs that measured it, oldest first; `phase` None: the whole step."""

    label: str
    machine: str
    phase: str | None
    moments: tuple[Moment, ...]

    @cached_property
    def measured(self) -> tuple[tuple[Moment, Estimate], ...]:
        """The runs in which the cell has a number."""
        return tuple((moment, moment.estimate) for moment in self.moments if moment.estimate)

    @cached_property
    def course(self) -> Course:
        """What the numbers did."""
        return course_of([estimate.value for _, estimate in self.measured])

    def at(self, change: ChangePoint) -> Moment:
        """Return the first run after a change."""
        return self.measured[change.index][0]


def histories_of(folders: Iterable[Path], *, phase: str | None = None, containing: str = "") -> tuple[History, ...]:
    """Return the history of each cell of some stores; machines that differ in hardware are never joined.

    Args:
        folders: Stores, in any order.
        phase: Of which phase; None: of the whole step.
        containing: Only cells whose name holds this text.

    Raises:
        SpecError: No cell is left.
        StoreError: A store cannot be read.
    """
    runs = [run for folder in folders for run in rows_by_run(folder)]
    groups = _groups(runs, containing)
    if not groups:
        names = {row.record.task.cell_label() for run in runs for row in run.rows}
        asked = f"no cell holds {containing!r}" if containing else "the stores hold no times"
        raise SpecError(f"{asked}; there are: {'; '.join(sorted(names)[:5]) or 'none'}")
    found = tuple(_history(group, phase) for group in groups)
    if phase is not None and not any(history.measured for history in found):
        phases = dict.fromkeys(name for group in groups for _, _, row in group for name in row.phases)
        raise SpecError(f"no cell has a phase {phase!r}; there are: {', '.join(phases)}")
    return found


def histories_in(results: Results) -> tuple[History, ...]:
    """Return the history of the whole step of each cell that three runs of a store or more have measured."""
    runs = split_by_run(results.repeats, results.runs, calibration=lambda _machine: None)  # times need no ceiling
    return tuple(_history(group, None) for group in _groups(runs) if len(group) >= FEWEST_REPEATS)


def _groups(runs: Iterable[RunRows], containing: str = "") -> list[list[_Seen]]:
    """Return the rows of each cell on one kind of machine, with what names their runs."""
    groups: dict[Hashable, list[_Seen]] = {}
    for run in runs:
        label = str(run.run.sweep.get("name", "")) if run.run else ""
        for row in run.rows:
            if row.plan.purpose == "time" and containing in row.record.task.cell_label():
                # When the cell ran, not the call: a run that goes on later has cells of several days.
                groups.setdefault((point_of(row), hardware_of(row)), []).append((row.record.started_at, label, row))
    return list(groups.values())


def _history(group: list[_Seen], phase: str | None) -> History:
    moments: list[Moment] = []
    before: Row | None = None
    for copies in _copies(group):
        started_at, label, row = copies[-1]
        moments.append(
            Moment(
                row=row,
                copies=len(copies),
                started_at=started_at,
                label=label,
                estimate=row.estimate(phase) if row.is_ok else None,
                since=differing_software(before, row) if before else (),
            )
        )
        before = row
    row = moments[-1].row
    return History(
        label=row.record.task.cell_label(),
        machine=row.environment.device_name,
        phase=phase,
        moments=tuple(moments),
    )


def _copies(group: Iterable[_Seen]) -> Iterable[list[_Seen]]:
    """Return the runs in the order of time, each with all its copies, of which the last has most processes."""
    found: dict[Hashable, list[_Seen]] = {}
    for seen in sorted(group, key=lambda one: (one[0], len(one[2].processes))):
        first = seen[2].processes[0]
        found.setdefault((first.key, seen[2].machine, first.record.started_at), []).append(seen)
    return found.values()
