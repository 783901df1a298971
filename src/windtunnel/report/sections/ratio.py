"""Forward beside forward + backward, with the ratio of every pair of cells."""

from windtunnel.analysis.comparisons import StepRatio
from windtunnel.analysis.results import Row
from windtunnel.language import passage, say, word
from windtunnel.report.axes import WORKLOAD
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.phases import either
from windtunnel.units import ratio as ratio_text
from windtunnel.units import span, time_scale


def ratio(scope: Scope) -> Section | None:
    """Return the two ratios that are easily confused, side by side and named apart."""
    pairs = scope.step_ratios
    if not pairs:
        return None
    said = [
        say(
            "Each pair of cells differs in the workload only. The first ratio divides whole steps, and holds one "
            "forward, the loss and one backward over one forward: 3x where a backward takes twice a forward."
        ),
        say(
            "Beside each ratio stands its range, from the ends of the two intervals divided crosswise: at least as "
            "wide as a 95 % interval of the ratio would be."
        )
        if any(pair.span or pair.phase_span for pair in pairs)
        else say("There are too few samples for a range of the ratios."),
        say(
            "The two cells were measured one after the other, unpaired, so a drift of the machine between them is in "
            "their ratio."
        ),
    ]
    blocks: list[Block] = [
        Paragraph(text=passage(said)),
        _steps(scope, pairs),
    ]
    if inside := tuple(pair for pair in pairs if pair.phase_ratio is not None):
        blocks.append(_phases(scope, inside))
    return Section(heading=say("Forward against forward + backward"), blocks=tuple(blocks))


def _steps(scope: Scope, pairs: tuple[StepRatio, ...]) -> Table:
    medians = [(_median(pair.forward), _median(pair.forward_backward)) for pair in pairs]
    time = time_scale(value for both in medians for value in both)
    return Table(
        caption=say("Whole steps: forward + backward over forward"),
        columns=(
            *scope.columns(without=(WORKLOAD,)),
            number_column(word("forward"), time.unit, say("Median of the whole step without gradients.")),
            number_column(
                word("forward_backward"), time.unit, say("Median of the whole step with both phases and the loss.")
            ),
            number_column(say("ratio"), description=say("Median of forward + backward over median of forward.")),
            _range_column(),
        ),
        rows=tuple(
            (
                *scope.cells(pair.forward, without=(WORKLOAD,)),
                Cell(text=time.text(forward)),
                Cell(text=time.text(both)),
                Cell(text=ratio_text(pair.ratio)),
                Cell(text=span(pair.span)),
            )
            for pair, (forward, both) in zip(pairs, medians, strict=True)
        ),
        note=say("Medians of whole steps on the host clock."),
    )


def _phases(scope: Scope, pairs: tuple[StepRatio, ...]) -> Table:
    rows = [pair.forward_backward for pair in pairs]
    medians = [(_median(row, "forward"), _median(row, "backward")) for row in rows]
    time = time_scale(value for both in medians for value in both)
    clocks = either(word(row.clock(phase).value) for row in rows for phase in ("forward", "backward"))
    said = say("Medians of phases of the forward + backward cells on the {clock} clock.", clock=clocks)
    has_loss = all("loss" in row.phases for row in rows)
    return Table(
        caption=say("Inside one step: backward over forward"),
        columns=(
            *scope.columns(without=(WORKLOAD,)),
            number_column(
                say("forward with gradients"), time.unit, say("Median of the forward phase of forward + backward.")
            ),
            number_column(word("backward"), time.unit, say("Median of the backward phase of the same steps.")),
            number_column(
                say("ratio"), description=say("Median of backward over median of forward, in the same steps.")
            ),
            _range_column(),
        ),
        rows=tuple(
            (
                *scope.cells(pair.forward, without=(WORKLOAD,)),
                Cell(text=time.text(forward)),
                Cell(text=time.text(backward)),
                Cell(text=ratio_text(pair.phase_ratio)),
                Cell(text=span(pair.phase_span)),
            )
            for pair, (forward, backward) in zip(pairs, medians, strict=True)
        ),
        note=said if has_loss else passage([said, say("In cells of older versions forward has the loss.")]),
    )


def _range_column() -> Column:
    return number_column(
        say("range"),
        description=say("From the lowest to the highest ratio that the 95 % intervals of both medians allow."),
    )


def _median(row: Row, phase: str | None = None) -> float | None:
    estimate = row.estimate(phase)
    return estimate.value if estimate else None
