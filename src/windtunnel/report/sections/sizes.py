"""The grid again, one table a size, for those who look for their own model."""

from collections.abc import Hashable

from windtunnel.analysis.results import Row
from windtunnel.language import say
from windtunnel.report.axes import SIZE
from windtunnel.report.document import Section, Table
from windtunnel.report.measures import explain_marks, measures_of
from windtunnel.report.scope import Scope

MAX_ROWS = 2000
"""A grid longer than this is not written twice: it is searched, and its page is slow enough."""


def sizes(scope: Scope) -> Section | None:
    """Return a table for each size, where there are several and something else varies too."""
    if SIZE not in scope.axes or len(scope.axes) == 1 or len(scope.rows) > MAX_ROWS:
        return None
    rows_of: dict[Hashable, list[Row]] = {named.shape: [] for named in scope.models}
    for row in scope.rows:
        rows_of[SIZE.get(row)].append(row)
    tables: list[Table] = []
    for named in scope.models:
        rows = rows_of[named.shape]
        measures = measures_of(rows, scope.marks)
        tables.append(
            Table(
                caption=say("Size {name}", name=named.name),
                columns=(*scope.columns(without=(SIZE,)), *measures.columns),
                rows=tuple((*scope.cells(row, without=(SIZE,)), *measures.cells(row)) for row in rows),
                note=explain_marks(rows, scope.marks),
            )
        )
    return Section(heading=say("Results by size"), blocks=tuple(tables), is_detail=True)
