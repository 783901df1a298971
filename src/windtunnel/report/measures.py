"""The columns of measured numbers that several sections show, each in one unit for all its rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from windtunnel.analysis.labels import SMALLEST_EFFECT, Mark
from windtunnel.analysis.results import Row
from windtunnel.language import counted, current_texts, listed, passage, say, word
from windtunnel.report.document import Cell, Column, ColumnKind
from windtunnel.statistics.interval import Estimate
from windtunnel.statistics.series import FEWEST_SAMPLES
from windtunnel.statistics.summary import Spread
from windtunnel.units import (
    HALF_WIDTH,
    NOT_KNOWN,
    PERCENT,
    Scale,
    between,
    memory_scale,
    percent,
    percent_scale,
    rate_scale,
    time_scale,
)

Marks = Mapping[Row, tuple[Mark, ...]]

GAP = Cell(text=NOT_KNOWN)
"""The entry where there is no number."""


def mark_name(mark: Mark) -> str:
    """Return what tables call a mark."""
    return current_texts()["labels"][mark.value]


def _meaning(mark: Mark) -> str:
    """Return what the note under a table says of a mark."""
    match mark:
        case Mark.CAPPED:
            return say("warm-up was not steady, or sampling not at its target, when it reached its cap")
        case Mark.COLD:
            return say(
                "the first sample is the first step of its process, or the first ones are slow beside the others"
            )
        case Mark.DRIFTING:
            return say("the samples rise or fall in their order")
        case Mark.IMPRECISE:
            return say(
                "no interval, or one wider than the target that was asked for, ± {percent} where none was",
                percent=percent(SMALLEST_EFFECT, decimals=0),
            )
        case Mark.OTHER_KERNELS:
            return say("the kernels that ran are not those of the attention that was asked for, or not compiled ones")
        case Mark.STEP:
            return say("the level changes once")
        case Mark.THROTTLED:
            return say("the clock of the device was held down, or low in some of the steps")
        case Mark.TWO_STATES:
            return say("the samples go back and forth between two levels, which stand under Irregular samples")


def number_column(
    name: str, unit: str = "", description: str = "", group: str = "", *, is_detail: bool = False
) -> Column:
    """Return a column of numbers."""
    return Column(
        name=name, unit=unit, kind=ColumnKind.NUMBER, description=description, group=group, is_detail=is_detail
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One column, and what makes the entry of a row under it; `is_of_failed_too` where a failed row has one."""

    column: Column
    cell: Callable[[Row], Cell]
    is_of_failed_too: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """The measured columns of whole steps, and the entries of a row under them."""

    measures: tuple[Measure, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in their order: how many samples, what they say, how far to trust it, and the rest."""
        return tuple(measure.column for measure in self.measures)

    def cells(self, row: Row) -> tuple[Cell, ...]:
        """Return the entries of a row; a failed one has its status in place of numbers."""
        if row.is_ok and row.samples():
            return tuple([measure.cell(row) for measure in self.measures])
        others = self.measures[2:]  # after the number of samples and the median
        status = Cell(text=word(row.record.status.value), is_failure=True)
        return (GAP, status, *(measure.cell(row) if measure.is_of_failed_too else GAP for measure in others))


def measures_of(rows: Iterable[Row], marks: Marks) -> Measures:
    """Choose the columns and their units for `rows`; marks, rates and memory are left out where no row has one."""
    seen = tuple(rows)
    measured = tuple(row for row in seen if row.is_ok and row.samples())
    medians = [estimate.value for row in measured if (estimate := row.estimate())]
    means = [spread.mean for row in measured if (spread := row.spread())]
    time = time_scale([*medians, *means])
    return Measures(
        measures=(
            *_estimates(time),
            *_marks(measured, marks),
            *_rates(measured),
            *_memory(seen),
            *_spreads(time),
        )
    )


def _estimates(time: Scale) -> tuple[Measure, ...]:
    return (
        Measure(
            column=number_column(
                say("n"), description=say("Number of samples: timed steps; 5 x 10 are 10 in each of 5 processes.")
            ),
            cell=lambda row: Cell(text=samples_text(row), sort=len(row.samples()) if row.plan.processes > 1 else None),
        ),
        Measure(
            column=number_column(
                say("median"),
                time.unit,
                say(
                    "Half of the samples are shorter; of several processes, the mean of their medians. The whole step "
                    "on the host clock."
                ),
            ),
            cell=lambda row: median_cell(row.estimate(), time),
        ),
        Measure(
            column=number_column(say("95 % interval"), HALF_WIDTH.unit, say("Half of the interval over the median.")),
            cell=lambda row: half_width_cell(row.estimate()),
        ),
        Measure(
            column=number_column(
                say("95 % interval"),
                time.unit,
                say(
                    "Of the median: binomial ranks, wider where samples depend on one another; of several processes, a "
                    "t interval over their medians."
                ),
                is_detail=True,
            ),
            cell=lambda row: interval_cell(row.estimate(), time),
        ),
    )


def median_cell(estimate: Estimate | None, time: Scale) -> Cell:
    """Return the median of an estimate."""
    return Cell(text=time.text(estimate.value)) if estimate else GAP


def interval_cell(estimate: Estimate | None, time: Scale) -> Cell:
    """Return the ends of the interval of an estimate, ordered by how wide it is."""
    if estimate is None or estimate.low is None:
        return GAP
    return Cell(text=time.interval(estimate.low, estimate.high), sort=estimate.relative_half_width)


def spread_cell(spread: Spread | None, time: Scale) -> Cell:
    """Return the mean with the standard deviation."""
    return Cell(text=time.spread(spread.mean, spread.std)) if spread else GAP


def half_width_cell(estimate: Estimate | None) -> Cell:
    """Return half of the interval over the median."""
    return Cell(text=HALF_WIDTH.text(estimate.relative_half_width if estimate else None))


def _marks(rows: Sequence[Row], marks: Marks) -> tuple[Measure, ...]:
    if not any(marks[row] for row in rows):
        return ()
    column = Column(
        name=say("marks"), description=say("What to know before using the number; explained below the table.")
    )
    return (Measure(column=column, cell=lambda row: Cell(text=listed(map(mark_name, marks[row])))),)


def explain_marks(rows: Iterable[Row], marks: Marks) -> str:
    """Say what the marks of `rows` mean, and of how many rows drift, steps and states cannot be known."""
    seen = tuple(row for row in rows if row.is_ok)
    there = set(chain.from_iterable(marks[row] for row in seen))
    meanings = listed(
        say("{mark} ({meaning})", mark=mark_name(mark), meaning=_meaning(mark)) for mark in Mark if mark in there
    )
    short = sum(1 for row in seen if len(row.samples()) < FEWEST_SAMPLES)
    left_out = say(
        "Drift, steps and two states are looked for from {fewest} samples on: not in {short:,} of {cells}.",
        fewest=FEWEST_SAMPLES,
        short=short,
        cells=counted(len(seen), "measured cell"),
    )
    said = say("Marks: {meanings}.", meanings=meanings) if meanings else ""
    return passage([said, left_out if short else ""])


def _rates(rows: Sequence[Row]) -> tuple[Measure, ...]:
    rates = {row: row.flops_per_second() for row in rows}
    if not any(rates.values()):
        return ()
    rate = rate_scale(rates.values())
    is_counted = any(row.record.flops_by == "counter" for row in rows)
    if is_counted:
        described = say(
            "Matrix-product FLOPs by closed form, of a user's own model as counted, over the median of the step."
        )
    else:
        described = say("Matrix-product FLOPs by closed form over the median of the step.")
    measures = [
        Measure(
            column=number_column(say("rate"), rate.unit, described),
            cell=lambda row: Cell(text=rate.text(rates[row])),
        )
    ]
    peaks = {row: row.peak_fraction() for row in rows}
    if any(peaks.values()):
        peak = percent_scale(peaks.values())
        measures.append(
            Measure(
                column=number_column(
                    say("of peak"),
                    peak.unit,
                    say("Rate over the datasheet's dense peak of this device for this precision."),
                ),
                cell=lambda row: Cell(text=peak.text(peaks[row])),
            )
        )
    ceilings = {row: row.ceiling_fraction() for row in rows}
    if any(ceilings.values()):
        ceiling = percent_scale(ceilings.values())
        measures.append(
            Measure(
                column=number_column(
                    say("of ceiling"),
                    ceiling.unit,
                    say("Rate over the fastest matrix product of this precision in this machine's calibration."),
                ),
                cell=lambda row: Cell(text=ceiling.text(ceilings[row])),
            )
        )
    return tuple(measures)


def _memory(rows: Sequence[Row]) -> tuple[Measure, ...]:
    peaks = {row: row.peak_bytes for row in rows}
    if not any(peaks.values()):
        return ()
    memory = memory_scale(peaks.values())
    column = number_column(say("peak memory"), memory.unit, say("Most bytes in use at any one time."))
    return (Measure(column=column, cell=lambda row: Cell(text=memory.text(peaks[row])), is_of_failed_too=True),)


def _spreads(time: Scale) -> tuple[Measure, ...]:
    """Return mean and deviation, for those who compare with tables that give them."""
    return (
        Measure(
            column=number_column(
                say("mean ± std"),
                time.unit,
                say("Mean and sample standard deviation of the whole step."),
                is_detail=True,
            ),
            cell=lambda row: spread_cell(row.spread(), time),
        ),
        Measure(
            column=number_column(say("CV"), PERCENT.unit, say("Standard deviation over mean."), is_detail=True),
            cell=lambda row: Cell(text=PERCENT.text(spread.cv if (spread := row.spread()) else None)),
        ),
    )


def samples_text(row: Row) -> str:
    """Return how many samples a measured row has: 100; 5 x 100 from as many processes; 2 of 5 x 100 where some lack."""
    if row.plan.processes == 1:
        return str(len(row.samples()))
    counts = [len(samples) for samples in row.samples_by_process()]
    each = str(counts[0]) if min(counts) == max(counts) else between(min(counts), max(counts))
    if row.is_complete:
        return say("{processes} x {samples}", processes=len(counts), samples=each)
    return say("{some} of {all} x {samples}", some=len(counts), all=row.plan.processes, samples=each)
