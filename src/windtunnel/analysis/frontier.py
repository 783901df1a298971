"""Where memory ends along each line that was searched: from the probes in the store and the course of the search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from windtunnel.analysis.results import Row
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.record import Status
from windtunnel.records.store import Run
from windtunnel.spec.frontier import Frontier
from windtunnel.spec.model import ModelSpec
from windtunnel.sweep.frontier import limit_of
from windtunnel.sweep.lines import Line, identity_of, lines_of

_RAN = frozenset({Status.OK, Status.BAD_NUMERICS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How the search of a line went, as it was noted when it ended.

    Attributes:
        budget_bytes: What the prediction was held against.
        has_prediction: Whether it started at a prediction; `predicted` is its value, None where not even the smallest
            was predicted to fit.
        probes: How many probes it took, those that were stored before included.
        contradictions: Values that failed once and fitted at another attempt.
        broken: The value whose failure was not one of memory and ended the search; None where there is none.
        is_settled: Whether nothing is left between what fits and what does not.
        is_exhausted: Whether all that could be asked for fits.
    """

    budget_bytes: int
    has_prediction: bool
    predicted: int | str | None
    probes: int
    contradictions: tuple[int | str, ...]
    broken: int | str | None
    is_settled: bool
    is_exhausted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierLine:
    """A line with its probes, smallest first, and what they say.

    Attributes:
        along: The name of the axis that was searched.
        largest: The largest that ran; None where none did.
        smallest: The smallest above it that ran out of memory; None where none did.
        course: How the search went; None where it was killed on the way.
    """

    along: str
    line: Line
    rows: tuple[Row, ...]
    largest: Row | None
    smallest: Row | None
    course: Course | None

    def value(self, row: Row) -> int | str:
        """Return what was searched of a row: a number, or the name of a size."""
        value = getattr(row.cell, self.line.field)
        return value.name if isinstance(value, ModelSpec) else value

    @property
    def fits_nowhere(self) -> bool:
        """Whether the search showed that not even the smallest fits; without a largest it may have ended before."""
        course = self.course
        return self.largest is None and course is not None and course.is_settled and course.broken is None

    @property
    def prediction_error(self) -> float | None:
        """The prediction over what was found, less 1; None where either is no number, or no end was found."""
        if self.course is None or self.largest is None or self.smallest is None:
            return None
        predicted, found = self.course.predicted, self.value(self.largest)
        return predicted / found - 1 if isinstance(predicted, int) and isinstance(found, int) else None


def frontier_lines(rows: Sequence[Row], runs: Sequence[Run]) -> tuple[FrontierLine, ...]:
    """Return each line that one of the runs searched, as the last of them left it; all of one machine.

    Raises:
        StoreError: A run cannot be read as a search.
    """
    found: dict[tuple[str, str, int | None], FrontierLine] = {}
    groups: dict[str, Mapping[tuple[str, int | None], list[Row]]] = {}
    for run in runs if rows else ():
        if run.sweep.get("kind") != "fit":
            continue
        frontier, lines = _asked(run, rows[-1])
        courses = _courses(run)
        if frontier.field not in groups:
            groups[frontier.field] = _by_line(rows, frontier.field)
        for line in lines:
            limit = line.plan.memory_limit_bytes
            probes = _in_order(line, groups[frontier.field].get((line.identity, limit), ()))
            if probes:
                key = (frontier.along, line.identity, limit)
                found[key] = _judge(frontier.along, line, probes, courses.get(line.identity))
    return tuple(found.values())


def _asked(run: Run, row: Row) -> tuple[Frontier, tuple[Line, ...]]:
    try:
        frontier = Frontier.model_validate(run.sweep)
        limit = limit_of(frontier, row.environment)
        return frontier, lines_of(frontier, device=row.cell.device, memory_limit_bytes=limit)
    except (ValidationError, SpecError) as error:
        raise StoreError(f"the search of {run.started_at} cannot be read: {error}; choose another --store") from error


def _by_line(rows: Sequence[Row], field: str) -> Mapping[tuple[str, int | None], list[Row]]:
    """Group probes by what lines along a field keep fixed."""
    groups: dict[tuple[str, int | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((identity_of(row.cell, field), row.plan.memory_limit_bytes), []).append(row)
    return groups


def _in_order(line: Line, probes: Sequence[Row]) -> list[Row]:
    """Return the probes that are on the line, smallest first; sizes in its own order."""
    places: dict[object, int] = {value: place for place, value in enumerate(line.values)} if _is_of_sizes(line) else {}

    def place_of(row: Row) -> int | None:
        value = getattr(row.cell, line.field)
        return places.get(value) if _is_of_sizes(line) else value

    placed = [(place, row) for row in probes if (place := place_of(row)) is not None]
    return [row for _, row in sorted(placed, key=lambda entry: entry[0])]


def _is_of_sizes(line: Line) -> bool:
    return line.field == "model"


def _judge(along: str, line: Line, probes: list[Row], course: Course | None) -> FrontierLine:
    ran = [place for place, row in enumerate(probes) if row.record.status in _RAN]
    last = ran[-1] if ran else -1
    out = [row for row in probes[last + 1 :] if row.record.status is Status.OUT_OF_MEMORY]
    return FrontierLine(
        along=along,
        line=line,
        rows=tuple(probes),
        largest=probes[last] if ran else None,
        smallest=out[0] if out else None,
        course=course,
    )


def _courses(run: Run) -> Mapping[str, Course]:
    """Return the course of each line that the search came to the end of."""
    summary = cast("Mapping[str, Any]", run.summary or {})
    try:
        return {
            of["identity"]: Course(
                budget_bytes=summary["budget_bytes"],
                contradictions=tuple(of["contradictions"]),
                **{name: of[name] for name in _COPIED},
            )
            for of in summary.get("lines", ())
        }
    except (KeyError, TypeError) as error:
        raise StoreError(f"the summary of the search of {run.started_at} is damaged: {error}") from error


_COPIED = ("has_prediction", "predicted", "probes", "broken", "is_settled", "is_exhausted")
