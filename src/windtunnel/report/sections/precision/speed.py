"""How fast precisions are against fp32, size by size, where they were measured in pairs."""

from collections.abc import Sequence

from windtunnel.analysis.number_formats import precision_comparisons
from windtunnel.analysis.pairs import Compared, judge_runs
from windtunnel.language import say, word
from windtunnel.records.store import StoredComparison
from windtunnel.report.axes import workload_name
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.spec.tables import PRECISIONS
from windtunnel.units import change

_Point = tuple[str, ...]


def speed_table(comparisons: Sequence[StoredComparison]) -> Table | None:
    """Return the change of the whole step by size and precision, the latest of each; None where none was compared."""
    found: dict[_Point, dict[str, Compared]] = {}
    for run in judge_runs(precision_comparisons(comparisons)).values():
        for one in run:
            cell = one.record.b.task.cell
            point = (
                cell.model.name,
                str(cell.context_length),
                str(cell.batch_size),
                workload_name(cell.workload),
                cell.attention_name,
            )
            found.setdefault(point, {})[cell.precision] = one
    if not found:
        return None
    shown = [name for name in PRECISIONS if any(name in row for row in found.values())]
    return Table(
        caption=say("Time of a step against fp32, by size and precision"),
        columns=(
            Column(name=word("size")),
            number_column(word("context")),
            number_column(word("batch")),
            Column(name=word("workload")),
            Column(name=word("attention")),
            *(
                number_column(name, description=say("Change in the time of the whole step, with its interval."))
                for name in shown
            ),
        ),
        rows=tuple(
            (*(Cell(text=part) for part in point), *(_entry(row.get(name)) for name in shown))
            for point, row in found.items()
        ),
        note=say("From pairs in one process: -50 % is half the time of fp32. Times of both stand under Comparisons."),
    )


def _entry(one: Compared | None) -> Cell:
    if one is None:
        return GAP
    if one.whole is None:
        return Cell(text=word(one.record.status.value), is_failure=True)
    effect = one.whole.effect
    high = f" {change(effect.high)}" if effect.high < float("inf") else ""
    return Cell(
        text=f"{change(effect.value)} [{change(effect.low)},{high}] {word(one.whole.verdict.value)}", sort=effect.value
    )
