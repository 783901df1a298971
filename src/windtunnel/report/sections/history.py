"""How the cells that several runs have measured changed from run to run."""

from dataclasses import replace

from windtunnel.analysis.history import History
from windtunnel.language import say
from windtunnel.report.document import Block, Figure, Paragraph, Section
from windtunnel.report.history import chart_of, overview
from windtunnel.report.scope import Scope

MOST_DRAWN = 4
"""Cells that have a chart; those whose level changed come first."""


def history(scope: Scope) -> Section | None:
    """Return one row for each cell of three runs or more, and the charts of a few; None where there is none."""
    if not scope.histories:
        return None
    names = {row.key: scope.label(row) for row in scope.rows}
    found = [replace(one, label=names.get(one.moments[-1].row.key, one.label)) for one in scope.histories]
    drawn = sorted(found, key=lambda one: not one.course.changes)[:MOST_DRAWN]
    said = say(
        "One number a run, of each cell that three runs or more have measured; all other sections show the latest run. "
        "windtunnel history shows every run of every cell."
    )
    blocks: list[Block] = [Paragraph(text=said), *overview(found)]
    blocks += [_named(figure, one) for one in drawn for figure in chart_of(one)]
    return Section(heading=say("From run to run"), blocks=tuple(blocks))


def _named(figure: Figure, one: History) -> Figure:
    return replace(figure, caption=say("{what}: {text}", what=one.label, text=figure.caption))
