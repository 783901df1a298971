"""What processes that take turns have measured, put together as the two sides of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from windtunnel.records.pair import PairSide
from windtunnel.records.record import ClockName, Record, Samples
from windtunnel.spec.cell import Task
from windtunnel.spec.tables import WORKLOADS
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import Differences, Turn, differences


def empty_side(task: Task) -> PairSide:
    """Return a side without any turn."""
    return PairSide(task=task, total=WORKLOADS[task.cell.workload].total)


class Sides:
    """Both sides of a comparison, and their turns so far, each the record of one process."""

    def __init__(self, sides: dict[Side, PairSide]) -> None:
        """Begin without any turn."""
        self.sides = sides
        self.turns: list[Turn] = []
        self.warnings: list[str] = []
        self._blocks: dict[Side, list[Record]] = {side: [] for side in sides}
        self._medians: list[float] = []

    def add(self, turn: Turn, block: Record) -> None:
        """Add a turn and the record that came of it."""
        series = block.whole_series()
        assert series is not None  # a record that is ok has samples
        self._medians.append(max(1.0, median(series.nanoseconds)))
        self._blocks[turn.side].append(block)
        self.turns.append(turn)
        for warning in block.warnings:
            self.warn(f"{turn.side.upper()}: {warning}")

    def warn(self, warning: str) -> None:
        """Keep a warning, once."""
        if warning not in self.warnings:  # the same one comes from each process
            self.warnings.append(warning)

    def differences(self) -> Differences:
        """Return the differences of the whole steps so far, each on the clock that it is judged by."""
        return differences(self.turns, self._medians)

    def complete(self, side: Side) -> PairSide:
        """Return a side with the samples of all its turns."""
        blocks = self._blocks[side]
        return replace(
            self.sides[side],
            samples=_joined(blocks),
            steps=tuple(len(block.samples[0].nanoseconds) for block in blocks),
            warmup_steps=tuple(len(block.samples[0].warmup_nanoseconds) for block in blocks),
        )


@dataclass(slots=True)
class _Series:
    nanoseconds: list[int]
    warmup_nanoseconds: list[int]


def _joined(blocks: Iterable[Record]) -> tuple[Samples, ...]:
    """Join the series of all blocks, phase by phase and clock by clock, in the order of the blocks."""
    joined: dict[tuple[str, ClockName], _Series] = {}
    for block in blocks:
        for samples in block.samples:
            series = joined.setdefault((samples.phase, samples.clock), _Series([], []))
            series.nanoseconds += samples.nanoseconds
            series.warmup_nanoseconds += samples.warmup_nanoseconds
    return tuple(
        Samples(
            phase=phase,
            clock=clock,
            nanoseconds=tuple(series.nanoseconds),
            warmup_nanoseconds=tuple(series.warmup_nanoseconds),
        )
        for (phase, clock), series in joined.items()
    )
