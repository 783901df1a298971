"""What the workers said a reader should know before trusting the numbers."""

from windtunnel.language import apart, say
from windtunnel.report.document import Cell, Column, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope

_NAMED_CELLS = 3  # more names than this do not help to find the cells; the store lists them all


def warnings(scope: Scope) -> Section | None:
    """Return each warning once, with the cells that it was given for."""
    labels: dict[str, list[str]] = {}
    for row in scope.rows:
        for warning in dict.fromkeys(said for stored in row.processes for said in stored.record.warnings):
            labels.setdefault(warning, []).append(scope.label(row))
    if not labels:
        return None
    table = Table(
        caption=say("Warnings of the workers"),
        columns=(Column(name=say("warning")), number_column(say("cells")), Column(name=say("which"))),
        rows=tuple(
            (Cell(text=warning), Cell(text=f"{len(cells):,}"), Cell(text=_which(cells)))
            for warning, cells in labels.items()
        ),
    )
    return Section(heading=say("Warnings"), blocks=(table,))


def _which(cells: list[str]) -> str:
    named = apart(cells[:_NAMED_CELLS])
    if len(cells) <= _NAMED_CELLS:
        return named
    return say("{named}; and {n:,} more", named=named, n=len(cells) - _NAMED_CELLS)
