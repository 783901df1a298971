"""The columns of measured numbers that several sections show, each in one unit for all its rows."""

from collections.abc import Iterable
from dataclasses import dataclass

from windtunnel.analysis.results import Row
from windtunnel.report.document import Cell, Column, ColumnKind
from windtunnel.units import NOT_KNOWN, PERCENT, Scale, memory_scale, percent_scale, rate_scale, time_scale


def number_column(name: str, unit: str = "", description: str = "", group: str = "") -> Column:
    """Return a column of numbers."""
    return Column(name=name, unit=unit, kind=ColumnKind.NUMBER, description=description, group=group)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """The measured columns of whole steps, and the entries of a row under them.

    A column whose numbers are known for no row at all is left out.
    """

    columns: tuple[Column, ...]
    time: Scale
    rate: Scale
    fraction: Scale
    ceiling_fraction: Scale
    memory: Scale
    has_rate: bool
    has_peak: bool
    has_ceiling: bool
    has_memory: bool

    def cells(self, row: Row) -> tuple[Cell, ...]:
        """Return the entries of a row; a failed one has its status in place of numbers."""
        peak = self._peak_memory(row)
        summary = row.summary()
        if not row.is_ok or summary is None:
            gaps = (_GAP,) * (3 + self.has_rate + self.has_peak + self.has_ceiling)
            return (_GAP, Cell(text=row.record.status.value, is_failure=True), *gaps, *peak)
        cells = [
            Cell(text=samples_text(row), sort=summary.n if row.plan.processes > 1 else None),
            Cell(text=self.time.spread(summary.mean, summary.std)),
            Cell(text=self.time.text(row.location())),
            self._interval(row),
            Cell(text=PERCENT.text(summary.cv)),
        ]
        if self.has_rate:
            cells.append(Cell(text=self.rate.text(row.flops_per_second())))
        if self.has_peak:
            cells.append(Cell(text=self.fraction.text(row.peak_fraction())))
        if self.has_ceiling:
            cells.append(Cell(text=self.ceiling_fraction.text(row.ceiling_fraction())))
        return (*cells, *peak)

    def _interval(self, row: Row) -> Cell:
        estimate = row.estimate()
        if estimate is None or estimate.low is None or estimate.high is None:
            return _GAP
        text = f"{self.time.text(estimate.low)} to {self.time.text(estimate.high)}"
        return Cell(text=text, sort=estimate.relative_half_width)

    def _peak_memory(self, row: Row) -> tuple[Cell, ...]:
        return (Cell(text=self.memory.text(peak_bytes(row))),) if self.has_memory else ()


_GAP = Cell(text=NOT_KNOWN)


def measures_of(rows: Iterable[Row]) -> Measures:
    """Choose the columns and their units for `rows`."""
    seen = tuple(rows)
    summaries = [summary for row in seen if row.is_ok and (summary := row.summary())]
    time = time_scale(value for summary in summaries for value in (summary.mean, summary.median))
    rates = [row.flops_per_second() for row in seen if row.is_ok]
    rate = rate_scale(rates)
    memory = memory_scale(peak_bytes(row) for row in seen)
    has_rate = any(rates)
    has_peak = has_rate and any(row.peak_flops_per_second for row in seen)
    has_ceiling = has_rate and any(row.ceiling_flops_per_second for row in seen)
    has_memory = any(peak_bytes(row) for row in seen)
    columns = [
        number_column("n", description="Number of samples: timed steps; 5 x 10 are 10 in each of 5 processes."),
        number_column("mean ± std", time.unit, "Mean and sample standard deviation of the whole step, host clock."),
        number_column(
            "median", time.unit, "Half of the samples are shorter; of several processes, the mean of their medians."
        ),
        number_column(
            "95 % interval",
            time.unit,
            "Of the median: binomial ranks, wider where samples depend on one another; of several processes, a t "
            "interval over their medians.",
        ),
        number_column("CV", PERCENT.unit, "Coefficient of variation: standard deviation over mean."),
    ]
    if has_rate:
        columns.append(
            number_column("rate", rate.unit, "Matrix-product FLOPs by closed form over the median of the step.")
        )
    if has_peak:
        columns.append(
            number_column(
                "of peak", PERCENT.unit, "Rate over the datasheet's dense peak of this device for this precision."
            )
        )
    if has_ceiling:
        columns.append(
            number_column(
                "of ceiling",
                PERCENT.unit,
                "Rate over the fastest matrix product of this precision in this machine's calibration.",
            )
        )
    if has_memory:
        columns.append(number_column("peak memory", memory.unit, "Most bytes in use at any one time."))
    return Measures(
        columns=tuple(columns),
        time=time,
        rate=rate,
        fraction=percent_scale(row.peak_fraction() for row in seen if row.is_ok),
        ceiling_fraction=percent_scale(row.ceiling_fraction() for row in seen if row.is_ok),
        memory=memory,
        has_rate=has_rate,
        has_peak=has_peak,
        has_ceiling=has_ceiling,
        has_memory=has_memory,
    )


def peak_bytes(row: Row) -> int | None:
    """Return the most bytes that a process of a row held at any one time; None where that is not known."""
    memories = [stored.record.memory for stored in row.processes]
    peaks = [memory.peak_bytes for memory in memories if memory and memory.peak_bytes is not None]
    return max(peaks, default=None)


def samples_text(row: Row) -> str:
    """Return how many samples a measured row has: 100; 5 x 100 from as many processes; 2 of 5 x 100 where some lack."""
    if row.plan.processes == 1:
        return str(len(row.samples()))
    counts = [len(samples) for samples in row.samples_by_process()]
    found = str(len(counts)) if row.is_complete else f"{len(counts)} of {row.plan.processes}"
    each = str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"{found} x {each}"
