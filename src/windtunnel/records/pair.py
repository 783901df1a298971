"""One comparison of two cells: what was asked of each side, whose turn it was when, and every raw sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from windtunnel.records.record import ClockName, Failure, Samples, Status
from windtunnel.spec.cell import Task
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import Differences, PairPlan, Turn, differences


class Pairing(StrEnum):
    """How the two sides of a pair come next to each other."""

    TOGETHER = "together"
    """Both cells are in one process; a turn is one step."""
    PROCESS = "process"
    """Each turn is a fresh process with one cell in it; its number is the median of its steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSide:
    """One of the two cells and all its steps, in the order of its turns.

    Attributes:
        task: The cell and its warm-up; how many steps were timed, its turns say.
        total: The name of the phase that is the whole step.
        samples: One series for each phase and clock; the warm-up steps of all its processes follow one another too.
        steps: How many timed steps each of its turns has.
        warmup_steps: How many warm-up steps each of its processes ran.
        project: The folder that its process ran in, as the user wrote it; None: that of the command.
        commit: The commit of that folder; None where it has none or is not known.
        python: The interpreter of its process, as the user wrote it; None: that of the command.
    """

    task: Task
    total: str
    samples: tuple[Samples, ...] = ()
    steps: tuple[int, ...] = ()
    warmup_steps: tuple[int, ...] = ()
    project: str | None = None
    commit: str | None = None
    python: str | None = None

    def phases(self) -> tuple[str, ...]:
        """Return the timed phases, the whole step last."""
        return tuple(dict.fromkeys(series.phase for series in self.samples))

    def series(self, phase: str, clock: ClockName) -> Samples | None:
        """Return the samples of a phase on a clock, or None where there are none."""
        return next((s for s in self.samples if s.phase == phase and s.clock == clock), None)

    def medians(self, phase: str, clock: ClockName) -> Iterator[float]:
        """Yield the median of each turn in nanoseconds, at least 1."""
        series = self.series(phase, clock)
        nanoseconds = series.nanoseconds if series else ()
        begin = 0
        for count in self.steps:
            yield max(1.0, median(nanoseconds[begin : begin + count]))
            begin += count


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRecord:
    """What became of one comparison.

    Attributes:
        pairing: How the sides came next to each other.
        a: The first side, which the second is compared with.
        b: The second side.
        plan: When to stop, as it was asked.
        seed: Of the order of the turns.
        status: How it ended; a failure of either side is one of the comparison.
        turns: All complete turns of both sides, in the order in which they ran.
        failure: Why it has no or not all pairs; None where it has.
        failed_side: Whose failure it is; None where there is none, or where it is that of both together.
        block_seconds: How long each process sampled at least; None where both sides share one.
        calls_per_sample: How often either side ran each phase in a row for one step, whose time is that of one run.
        warnings: What a reader should know before trusting the numbers.
        started_at: UTC, ISO 8601.
        run_started_at: The same of the command; comparisons of one command are one family of tests.
    """

    # By default pydantic writes inf and nan as null, which is no number when it is read.
    __pydantic_config__: ClassVar = ConfigDict(ser_json_inf_nan="strings")

    pairing: Pairing
    a: PairSide
    b: PairSide
    plan: PairPlan
    seed: int
    status: Status
    turns: tuple[Turn, ...]
    failure: Failure | None
    failed_side: Side | None
    block_seconds: float | None
    warnings: tuple[str, ...]
    started_at: str
    run_started_at: str
    calls_per_sample: int = 1

    @property
    def is_same(self) -> bool:
        """Whether A and B are the same request: a check of windtunnel itself, which must find no difference."""
        a, b = self.a, self.b
        return (a.task, a.project, a.commit, a.python) == (b.task, b.project, b.commit, b.python)

    def side(self, side: Side) -> PairSide:
        """Return one of the two."""
        return self.a if side is Side.A else self.b

    def differences(self, phase: str | None = None, clock: ClockName = ClockName.HOST) -> Differences:
        """Return the differences of the pairs in a phase (default: the whole steps, whatever each side calls it)."""
        medians = {side: self.side(side).medians(phase or self.side(side).total, clock) for side in Side}
        return differences(self.turns, [next(medians[turn.side]) for turn in self.turns])


_ADAPTER = TypeAdapter(PairRecord)


def pair_to_json(record: PairRecord) -> str:
    """Write a comparison as one JSON object."""
    return _ADAPTER.dump_json(record).decode()


def pair_from_json(text: str | bytes) -> PairRecord:
    """Read a comparison; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a comparison.
    """
    return _ADAPTER.validate_json(text)
