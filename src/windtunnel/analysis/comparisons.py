"""Which rows may stand side by side: rows that differ in one thing only."""

import statistics
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter

from windtunnel.analysis.results import Row
from windtunnel.records.record import ColdCause, Record
from windtunnel.statistics.interval import Estimate


def grid_point(row: Row, *, without: tuple[str, ...] = ()) -> Hashable:
    """Return all that a row's number depends on, without the named things (`workload`, `warmup`, …)."""
    return _point_of(without)(row)


@cache
def _point_of(without: tuple[str, ...]) -> Callable[[Row], Hashable]:
    """Return one getter of plain values."""
    unknown = set(without) - set(_POINT)
    assert not unknown, unknown
    return attrgetter(*(path for name, paths in _POINT.items() if name not in without for path in paths))


_POINT = {
    "model": ("shape",),
    "precision": ("cell.precision",),
    "attention": ("cell.attention",),
    "compile": ("cell.compile",),
    "checkpoint": ("cell.checkpoint",),
    "batch_size": ("cell.batch_size",),
    "context_length": ("cell.context_length",),
    "workload": ("cell.workload",),
    "warmup": ("plan.warmup",),
    "steps": ("plan.steps", "plan.target", "plan.max_samples", "plan.max_seconds"),
    "processes": ("plan.processes",),
    "cache": ("plan.cache",),
    "device": ("cell.device",),
    "seed": ("cell.seed",),
    "machine": ("machine",),
}


def matched(rows: Iterable[Row], others: Iterable[Row], *, but_for: tuple[str, ...]) -> tuple[tuple[Row, Row], ...]:
    """Pair each row with the other one that agrees with it in everything `but_for` the named things."""
    by_point = {grid_point(other, without=but_for): other for other in others}
    points = ((row, grid_point(row, without=but_for)) for row in rows)
    return tuple((row, by_point[point]) for row, point in points if point in by_point)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRatio:
    """A forward-only cell beside the forward_backward cell of the same point.

    `ratio` is that of the estimates of the whole steps: at least 1 is expected, about 3 by the count of FLOPs.
    `phase_ratio` is backward over forward, both timed inside the same steps (the loss is in neither of them, but in
    forward in records without a phase of that name); None where a phase was not timed.
    The spans are those of `ratio_span`; None where an estimate has no interval.
    """

    forward: Row
    forward_backward: Row
    ratio: float
    span: tuple[float, float] | None
    phase_ratio: float | None
    phase_span: tuple[float, float] | None


def step_ratios(rows: Iterable[Row]) -> tuple[StepRatio, ...]:
    """Compare forward with forward_backward, point by point, where both were measured to their end."""
    measured = [row for row in rows if row.is_ok]
    pairs = matched(_of(measured, "forward"), _of(measured, "forward_backward"), but_for=("workload",))
    return tuple(
        StepRatio(
            forward=forward,
            forward_backward=both,
            ratio=_median(both) / _median(forward),
            span=ratio_span(both.estimate(), forward.estimate()),
            phase_ratio=_phase_ratio(both),
            phase_span=ratio_span(both.estimate("backward"), both.estimate("forward")),
        )
        for forward, both in pairs
    )


def ratio_span(above: Estimate | None, below: Estimate | None) -> tuple[float, float] | None:
    """Divide the ends of two intervals crosswise: from the lowest ratio that they allow to the highest.

    However the two errors depend on each other, this is at least as wide as an interval of the ratio that has their
    confidence. None where one of them has no interval.
    """
    if not (above and below and above.low and above.high and below.low and below.high):
        return None
    return above.low / below.high, above.high / below.low


def _of(rows: Iterable[Row], workload: str) -> list[Row]:
    return [row for row in rows if row.cell.workload == workload]


def _median(row: Row) -> float:
    estimate = row.estimate()
    assert estimate is not None  # a row that is ok has samples
    return estimate.value


def _phase_ratio(row: Row) -> float | None:
    forward, backward = row.estimate("forward"), row.estimate("backward")
    return backward.value / forward.value if forward and backward else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """A cell without warm-up beside the warm cell of the same point with the most warm-up.

    Seconds: `first` is the first step of its process, `rest` the median of the steps after it, `warm` the
    median of the warm cell (None when there is none), `cost` what the first step took beyond the rest. With several
    processes `first` is the median of their first steps. `others` are the steps after the first ones, in nanoseconds.

    Two causes of the cost are known on their own, in seconds, or None: `allocator`, what a step with an empty
    allocator cache took beyond the rest (CUDA), and `clocks`, what a step of the others would take longer at the
    clock that the device had during the first step; medians over the processes, too. `libraries` is what is left.
    """

    cold: Row
    warm_row: Row | None
    first: float
    rest: float
    warm: float | None
    others: tuple[int, ...]
    allocator: float | None
    clocks: float | None

    @property
    def cost(self) -> float:
        """Seconds that the first step took longer than the median of the others."""
        return self.first - self.rest

    @property
    def libraries(self) -> float:
        """The cost without the known causes: libraries and kernels loaded at first use, and all else.

        Below 0 where the known causes, each timed on its own, are together more than the cost.
        """
        return self.cost - (self.allocator or 0.0) - (self.clocks or 0.0)


def cold_starts(rows: Iterable[Row]) -> tuple[ColdStart, ...]:
    """Compare the first sample of each cell that had no warm-up, and was first in its process, with what followed.

    Compiled cells are left out: compiling has run a step before their first sample.
    """
    measured = [row for row in rows if row.is_ok]
    cold = [row for row in measured if shows_cold_start(row)]
    warm = sorted((row for row in measured if not row.plan.is_cold), key=lambda row: row.plan.warmup_rank)
    warm_of = dict(matched(cold, warm, but_for=("warmup",)))
    return tuple(_cold_start(row, warm_of.get(row)) for row in cold)


def shows_cold_start(row: Row) -> bool:
    """Tell whether the first sample of a row is the first step of its process, with others to compare it with."""
    is_compiled = row.cell.compile != "off" or "compile" in row.record.stages  # an attention may compile itself
    is_first = row.plan.is_cold and row.record.is_first_in_process and not is_compiled
    return is_first and min(map(len, row.samples_by_process()), default=0) > 1


def _cold_start(row: Row, warm: Row | None) -> ColdStart:
    each = row.samples_by_process()
    others = tuple(nanoseconds for samples in each for nanoseconds in samples[1:])
    rest = statistics.median(others) * 1e-9
    records = [stored.record for stored in row.processes]
    return ColdStart(
        cold=row,
        warm_row=warm,
        first=statistics.median([samples[0] for samples in each]) * 1e-9,
        rest=rest,
        warm=_median(warm) if warm else None,
        others=others,
        allocator=cold_cause(row, ColdCause.ALLOCATOR),
        clocks=_median_of(_clock_cost(record, samples[0], rest) for record, samples in zip(records, each, strict=True)),
    )


def cold_cause(row: Row, cause: ColdCause) -> float | None:
    """Return the seconds of a cause that was timed on its own, median over processes; None where it was not."""
    return _median_of(stored.record.cold_causes.get(cause) for stored in row.processes)


def _clock_cost(record: Record, first: int, rest: float) -> float | None:
    """Return the seconds that a step of `rest` seconds takes longer at the clock of the first step.

    Only the usual work of a step is counted: what a first step does besides, such as reading libraries from a disk,
    need not depend on the device's clock. None where the clock of the first step or of the others was not read.
    """
    telemetry = record.telemetry
    if telemetry is None or not telemetry.clock_mhz or not record.began_nanoseconds:
        return None
    begin = record.began_nanoseconds[0]
    readings = tuple(zip(telemetry.nanoseconds, telemetry.clock_mhz, strict=True))
    during = [mhz for at, mhz in readings if begin <= at <= begin + first]
    after = [mhz for at, mhz in readings if at > begin + first]
    if not during or not after or not min(during):
        return None
    return rest * (statistics.median(after) / statistics.fmean(during) - 1)


def _median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def varying(rows: Iterable[Row], getters: dict[str, Callable[[Row], Hashable]]) -> tuple[str, ...]:
    """Return the names of those properties that take more than one value among the rows."""
    seen = list(rows)
    return tuple(name for name, get in getters.items() if _differ(map(get, seen)))


def _differ(values: Iterable[Hashable]) -> bool:
    """Tell whether there are two unequal values, without looking further than the first such two."""
    runs = groupby(values)
    next(runs, None)
    return next(runs, None) is not None
