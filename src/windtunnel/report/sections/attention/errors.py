"""How far each backend's results are from the same in float64."""

from collections.abc import Iterable, Sequence

from windtunnel.analysis.attention import errors_of, in_order, worst_errors
from windtunnel.analysis.results import Row
from windtunnel.language import counted, passage, say
from windtunnel.records.record import TensorError
from windtunnel.report.axes import BACKEND, COMPILE, PRECISION, Axis
from windtunnel.report.document import Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.units import scientific

_OF = (BACKEND, COMPILE, PRECISION)
"""What an error belongs to: the same code in the same format."""


def errors(scope: Scope) -> Section | None:
    """Return the largest error of each backend in each precision; None where none is known."""
    rows = _compared(scope)
    if not rows:
        return None
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(axis.get(row) for axis in _OF), []).append(row)
    tensors = _tensors(rows)
    columns = [axis for axis in _OF if axis in scope.axes or axis is BACKEND]
    table = Table(
        caption=say("Largest error of each backend"),
        columns=(
            *(Column(name=axis.name, kind=axis.kind, description=axis.description) for axis in columns),
            number_column(say("cells")),
            *(
                number_column(tensor, description=say("||x - reference|| / ||reference||, the largest."))
                for tensor in tensors
            ),
            Column(name=say("largest of all at")),
        ),
        rows=tuple(_worst(scope, members, tensors, columns) for members in groups.values()),
    )
    return Section(heading=say("Errors against float64"), blocks=(Paragraph(text=_explained(rows, scope)), table))


def every_error(scope: Scope) -> Section | None:
    """Return the errors of each cell, where there are more of them than backends."""
    rows = _compared(scope)
    if len(rows) < 2:
        return None
    tensors = _tensors(rows)
    table = Table(
        caption=say("Errors of {cells}", cells=counted(len(rows), "cell")),
        columns=(
            *scope.columns(),
            *(number_column(tensor) for tensor in tensors),
            number_column(say("heads"), description=say("Query heads of the batch that were compared.")),
        ),
        rows=tuple((*scope.cells(row), *_cells(row, tensors)) for row in in_order(rows)),
    )
    return Section(heading=say("Errors of every cell"), blocks=(table,), is_detail=True)


def _compared(scope: Scope) -> list[Row]:
    return [row for row in scope.rows if row.record.errors]


def _tensors(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(tensor for row in rows for tensor in errors_of(row)))


def _explained(rows: Sequence[Row], scope: Scope) -> str:
    heads = sorted({error.num_heads for row in rows for error in row.record.errors})
    number = (
        say("{low} to {high} query heads", low=f"{heads[0]:,}", high=f"{heads[-1]:,}")
        if len(heads) > 1
        else counted(heads[0], "query head")
    )
    without = len(scope.measured) - sum(row.is_ok for row in rows)
    said = say(
        "||x - reference|| / ||reference||, where the reference computes in float64 from the same Q, K, V and dO. "
        "Compared: {heads} of each cell's batch.",
        heads=number,
    )
    left_out = say("Not compared: {cells}.", cells=counted(without, "measured cell")) if without else ""
    return passage((said, left_out))


def _worst(scope: Scope, rows: Sequence[Row], tensors: Sequence[str], columns: Sequence[Axis]) -> tuple[Cell, ...]:
    found = worst_errors(rows)
    largest = max(found.values(), key=lambda pair: _sort(pair[0]))
    place = scope.label(largest[1], without=_OF)
    return (
        *(Cell(text=scope.value(axis, rows[0])) for axis in columns),
        Cell(text=f"{len(rows):,}"),
        *(_cell(found[tensor][0] if tensor in found else None) for tensor in tensors),
        Cell(text=say("{what}: {text}", what=largest[0].tensor, text=place) if place else largest[0].tensor),
    )


def _cells(row: Row, tensors: Sequence[str]) -> tuple[Cell, ...]:
    found = errors_of(row)
    heads = max(error.num_heads for error in found.values())
    return *(_cell(found.get(tensor)) for tensor in tensors), Cell(text=f"{heads:,}")


def _cell(error: TensorError | None) -> Cell:
    if error is None:
        return GAP
    value = error.relative_error
    return Cell(text=scientific(value), sort=_sort(error), is_failure=not value < float("inf"))


def _sort(error: TensorError) -> float:
    """Order nan with the largest."""
    return error.relative_error if error.relative_error == error.relative_error else float("inf")
