"""What rows of attention alone say together: how far backends get, what they hold, and which is faster where."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from windtunnel.analysis.comparisons import grid_point, ratio_span
from windtunnel.analysis.results import Row
from windtunnel.cost.attention import attention_bytes, score_matrix_bytes
from windtunnel.cost.step import attention_cost
from windtunnel.language import say
from windtunnel.records.record import Status, TensorError
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.tables import PRECISIONS

SHORT_SECONDS = 0.3e-3
"""Two medians below this make no speed-up and no rank: what differs there is launching more often than attention."""

SMALLEST_LEAD = 0.01
"""Two medians less than 1 % apart are not told apart, however narrow their intervals are."""


WORKSPACE_BYTES = 32 * 2**20
"""What cuBLAS keeps for itself on a Hopper GPU: it is in what a cell holds, and is no matrix of attention."""

_SMALLEST_MATRIX_BYTES = 10 * WORKSPACE_BYTES  # of a larger one, the workspace is less than 0.1


class Variant(NamedTuple):
    """What a kernel developer compares: a backend, compiled or not."""

    backend: str
    compile: str

    @property
    def name(self) -> str:
        """What tables call it: eager, or eager compiled (default)."""
        if self.compile == "off":
            return self.backend
        return say("{backend} compiled ({mode})", backend=self.backend, mode=self.compile)


def variant_of(row: Row) -> Variant:
    """Return the variant that a row measured."""
    return Variant(row.cell.attention, row.cell.compile)


def shape_of(row: Row) -> AttentionSpec:
    """Return the shape of a row of attention alone."""
    assert isinstance(row.cell.model, AttentionSpec), row.cell.model
    return row.cell.model


def in_order(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Sort by batch, heads, mask, width and length; rows of one point stay in the order of the store."""
    return tuple(sorted(rows, key=_place))


def _place(row: Row) -> tuple[int, int, int, str, int, int]:
    shape, cell = shape_of(row), row.cell
    return cell.batch_size, shape.num_heads, shape.kv_heads, shape.mask, shape.d_head, cell.context_length


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """How far a series of cells gets that differ in the length of the sequence only.

    Attributes:
        rows: The series, shortest first.
        longest: The longest that was measured; None where none was.
        out: The shortest that ran out of memory; None where none did.
        others: How many failed in another way.
    """

    rows: tuple[Row, ...]
    longest: Row | None
    out: Row | None
    others: int

    @property
    def is_monotone(self) -> bool:
        """Whether nothing was measured that is longer than what ran out: else memory was not the cell's alone."""
        return not self.out or not self.longest or self.longest.cell.context_length < self.out.cell.context_length


def frontiers(rows: Iterable[Row]) -> tuple[Frontier, ...]:
    """Return the frontier of each series, in the order of its first row."""
    series: dict[object, list[Row]] = {}
    for row in rows:
        series.setdefault(grid_point(row, without=("context_length",)), []).append(row)
    return tuple(_frontier(sorted(members, key=lambda row: row.cell.context_length)) for members in series.values())


def _frontier(rows: Sequence[Row]) -> Frontier:
    measured = [row for row in rows if row.is_ok]
    out = [row for row in rows if row.record.status is Status.OUT_OF_MEMORY]
    return Frontier(
        rows=tuple(rows),
        longest=measured[-1] if measured else None,
        out=out[0] if out else None,
        others=len(rows) - len(measured) - len(out),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryUse:
    """What one cell holds, in bytes; None where that is not known or does not apply.

    Attributes:
        before_backward: Allocated on the device when forward is over.
        saved: What autograd keeps for backward, each storage once.
        forward_peak: The most during forward.
        backward_peak: The most during backward.
        least: What no backend can do without.
        matrices: How many queries x keys matrices of all heads are held for backward, in the format of Q.
    """

    before_backward: int | None
    saved: int | None
    forward_peak: int | None
    backward_peak: int | None
    least: int
    matrices: float | None

    @property
    def peak(self) -> int | None:
        """The most of all phases."""
        return max((peak for peak in (self.forward_peak, self.backward_peak) if peak is not None), default=None)

    @property
    def over_least(self) -> float | None:
        """The peak over what no backend can do without: below 1 the measurement is at fault."""
        return self.peak / self.least if self.peak is not None else None


def memory_use(row: Row) -> MemoryUse | None:
    """Return what a cell holds by phase, of several processes the most; None where no phase's memory is known."""
    trains = "backward" in row.phases
    allocated = _most(row, "forward", "allocated_bytes") if trains else None
    saved = _most(row, "forward", "saved_bytes") if trains else None
    forward, backward = _most(row, "forward", "peak_bytes"), _most(row, "backward", "peak_bytes")
    if all(value is None for value in (allocated, saved, forward, backward)):
        return None
    return MemoryUse(
        before_backward=allocated,
        saved=saved,
        forward_peak=forward,
        backward_peak=backward,
        least=attention_cost(row.cell, shape_of(row)).floor_bytes,
        matrices=matrices_held(row, allocated=allocated, saved=saved) if trains else None,
    )


def _most(row: Row, phase: str, field: str) -> int | None:
    found = (getattr(seen, field) for one in row.processes for seen in one.record.phase_memory if seen.phase == phase)
    return max((value for value in found if value is not None), default=None)


def matrices_held(row: Row, *, allocated: int | None, saved: int | None) -> float | None:
    """Return how many queries x keys matrices fit into what is held for backward.

    By what is allocated once forward is over, without Q, K, V, dO and O. Where that is not known, or a matrix is so
    small that a library's workspace would pass for part of one, by what autograd saved, without Q, K and V. Smaller
    tensors stay in it, so a backend without such a matrix has a little more than 0, less for longer sequences. None
    where neither is known.
    """
    shape, cell = shape_of(row), row.cell
    element_bytes = PRECISIONS[cell.precision].product_bytes
    size = score_matrix_bytes(
        shape, batch_size=cell.batch_size, seq_len=cell.context_length, element_bytes=element_bytes
    )
    if allocated is not None and size >= _SMALLEST_MATRIX_BYTES:
        resident = attention_cost(cell, shape).least_bytes
        return max(0.0, (allocated - resident["inputs"] - resident["output"]) / size)
    if saved is None:
        return None
    inputs = attention_bytes(
        shape, batch_size=cell.batch_size, seq_len=cell.context_length, element_bytes=element_bytes, trains=False
    )["inputs"]
    return max(0.0, (saved - inputs) / size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The rows of one point of a grid, which differ in the variant only, in the order of the store."""

    rows: dict[Variant, Row]

    @property
    def first(self) -> Row:
        """Any of the rows: all have the same point."""
        return next(iter(self.rows.values()))


def points_of(rows: Iterable[Row]) -> tuple[Point, ...]:
    """Group rows by all that their numbers depend on but the variant."""
    points: dict[object, dict[Variant, Row]] = {}
    for row in rows:
        points.setdefault(grid_point(row, without=("attention", "compile")), {})[variant_of(row)] = row
    return tuple(Point(rows=found) for found in points.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedUp:
    """Time of a reference over that of another row: more than 1 where the other is faster.

    `span` is that of `ratio_span`. Both are None where the two medians are so short that a ratio would say little.
    """

    ratio: float | None
    span: tuple[float, float] | None


def speed_up(reference: Row, row: Row, phase: str | None = None) -> SpeedUp | None:
    """Divide the medians of a phase (default: the whole step); None where one of the rows has no time of it."""
    if not (reference.is_ok and row.is_ok):
        return None
    old, new = reference.estimate(phase), row.estimate(phase)
    if old is None or new is None:
        return None
    if max(old.value, new.value) < SHORT_SECONDS:
        return SpeedUp(ratio=None, span=None)
    return SpeedUp(ratio=old.value / new.value, span=ratio_span(old, new))


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Which variant has the shortest median at each of several points.

    Attributes:
        wins: For each variant that was fastest somewhere, at how many points; most first.
        close: At how many points the first is not told apart from the second.
        short: At how many points the medians of the first two are so short that they are not ranked.
    """

    wins: dict[Variant, int]
    close: int
    short: int

    @property
    def num_points(self) -> int:
        """How many points were looked at."""
        return sum(self.wins.values()) + self.close + self.short


def race(rows: Iterable[Row]) -> Race | None:
    """Rank the variants at each point that several of them measured, by the whole step; None where there is none.

    The first is told apart from another where no ratio that their two intervals allow is below 1, and the medians are
    more than 1 % apart.
    """
    wins: dict[Variant, int] = {}
    close = short = 0
    for point in points_of(row for row in rows if row.is_ok and row.estimate()):
        if len(point.rows) < 2:
            continue
        best, *others = sorted(point.rows.values(), key=_median)
        if _median(others[0]) < SHORT_SECONDS:
            short += 1
        elif all(_is_behind(other, best) for other in others):
            wins[variant_of(best)] = wins.get(variant_of(best), 0) + 1
        else:
            close += 1
    found = Race(wins=dict(sorted(wins.items(), key=lambda item: -item[1])), close=close, short=short)
    return found if found.num_points else None


def _median(row: Row) -> float:
    estimate = row.estimate()
    assert estimate is not None  # rows without one are left out before
    return estimate.value


def _is_behind(row: Row, best: Row) -> bool:
    span = ratio_span(row.estimate(), best.estimate())
    return span is not None and span[0] > 1 and _median(row) > (1 + SMALLEST_LEAD) * _median(best)


def errors_of(row: Row) -> dict[str, TensorError]:
    """Return the error of each result by its tensor, of several processes the largest."""
    found: dict[str, TensorError] = {}
    for error in (error for stored in row.processes for error in stored.record.errors):
        if error.tensor not in found or _size(error) > _size(found[error.tensor]):
            found[error.tensor] = error
    return found


_WRONG_IN_FP32 = 1e-3
_WRONG_IN_FEWER_BITS = 0.05
"""From these relative errors on a result is not imprecise but another one: in docs/results/h200/seed-004 they err by
2.4e-6 at most in float32, and by 7.6e-3 in bf16."""


def is_wrong(row: Row) -> bool:
    """Whether a result of attention is so far from the one in float64 that something else was computed, or not finite.

    Its times are no times of attention. False where nothing was compared.
    """
    most = _WRONG_IN_FP32 if row.cell.precision == "fp32" else _WRONG_IN_FEWER_BITS
    return any(not error.relative_error < most for error in errors_of(row).values())


def worst_errors(rows: Iterable[Row]) -> dict[str, tuple[TensorError, Row]]:
    """Return the largest error of each tensor among rows, with the row that has it; nan is larger than all."""
    found: dict[str, tuple[TensorError, Row]] = {}
    for row in rows:
        for tensor, error in errors_of(row).items():
            if tensor not in found or _size(error) > _size(found[tensor][0]):
                found[tensor] = error, row
    return found


def _size(error: TensorError) -> tuple[bool, float]:
    is_nan = math.isnan(error.relative_error)
    return is_nan, 0.0 if is_nan else error.relative_error
