"""How the processes that measured one cell differ from one another, beside what one of them could tell by itself."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from windtunnel.analysis.results import Row
from windtunnel.statistics.interval import median_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """The whole steps of one cell that several processes measured.

    `medians` are those of the processes, in seconds and in their order. `spread` is their sample standard deviation
    over their mean. `within` is the median, over processes, of the relative half-width of the 95 % interval that a
    process has from its own samples; None where none has one. `between` is that of the row's own interval, None with
    two processes. All three are fractions of 1.
    """

    row: Row
    medians: tuple[float, ...]
    spread: float
    within: float | None
    between: float | None


def between_processes(rows: Iterable[Row]) -> tuple[Between, ...]:
    """Return what differs between processes, for each row that was measured to its end in two or more."""
    return tuple(_between(row) for row in rows if row.is_ok and len(row.processes) > 1)


def _between(row: Row) -> Between:
    each, estimate = row.samples_by_process(), row.estimate()
    medians = tuple(statistics.median(samples) * 1e-9 for samples in each)
    widths = [width for samples in each if (width := median_interval(samples).relative_half_width) is not None]
    return Between(
        row=row,
        medians=medians,
        spread=statistics.stdev(medians) / statistics.fmean(medians),
        within=statistics.median(widths) if widths else None,
        between=estimate.relative_half_width if estimate else None,
    )
