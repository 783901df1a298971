"""Where a step's time goes: in phases, in none of them, in waiting for the device and in waiting for the host."""

from windtunnel.analysis.ledger import (
    LARGE_RESIDUAL,
    Ledger,
    Share,
    enqueue_share,
    launch_bound_share,
    ledger_of,
    synchronising_penalty,
)
from windtunnel.analysis.results import Row
from windtunnel.language import counted, passage, say
from windtunnel.records.record import ClockName
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import NOT_KNOWN, PERCENT, percent, time_scale


def ledger(scope: Scope) -> Section | None:
    """Return the ledger of each cell whose phases were timed; the probes' columns where any cell has them."""
    ledgers = {row: found for row in scope.measured if (found := ledger_of(row))}
    if not ledgers:
        return None
    is_on_device = any(found.phase_clock == ClockName.DEVICE for found in ledgers.values())
    blocks: list[Block] = [Paragraph(text=_explained(is_on_device=is_on_device)), _phases(scope, ledgers)]
    if large := {row: found for row, found in ledgers.items() if found.is_residual_large}:
        blocks.append(_pointed_out(scope, large))
    if probed := [(row, one) for row in scope.measured for one in row.apart() if one.record.probes]:
        blocks += [Paragraph(text=_how_probed()), _probes(scope, probed)]
    return Section(heading=say("Where a step's time goes"), blocks=tuple(blocks), is_detail=True)


def _explained(*, is_on_device: bool) -> str:
    sums = say("Phases and residual add up to the whole step; all three are means, as medians do not add up.")
    if is_on_device:
        residual = say(
            "The residual is what is in no phase: the launch before the device's first kernel, the gaps between "
            "phases, and the wait at the end. The whole step is on the host clock, its phases are timed by device "
            "events."
        )
    else:
        residual = say(
            "The residual is what is in no phase: what happens between phases. On a CPU a call returns when its work "
            "is done, so waiting after each phase costs nothing there, and nothing is launched ahead."
        )
    return passage([sums, residual])


def _how_probed() -> str:
    return say(
        "After the samples, steps were run in three ways in turn, in rounds of random order: as the samples were, "
        "waiting for the device after each phase, and with the device kept busy until the host had launched the whole "
        "step. What the second takes more than the first, on the host clock, is what timing phases from the host "
        "would cost. Launch-bound is the part of the step on the device that the third one saves: time in which the "
        "device waits for the host. In fp16 training steps and in steps of more than about 1,000 launches it is a "
        "lower bound."
    )


def _phases(scope: Scope, ledgers: dict[Row, Ledger]) -> Table:
    on_device = {row: ledger_of(row, ClockName.DEVICE) for row in ledgers}
    time = time_scale(value for found in ledgers.values() for value in (found.whole, found.in_phases))
    left = time_scale(abs(found.residual) for found in ledgers.values())
    has_device = any(on_device.values())
    columns = [
        number_column(say("whole step"), time.unit, say("Mean on the host clock.")),
        number_column(say("phases"), time.unit, say("Sum of the means of all phases.")),
        number_column(say("residual"), left.unit, say("Whole step minus phases.")),
        number_column(say("residual"), PERCENT.unit, say("Of the whole step.")),
    ]
    if has_device:
        said = say("Of the step on the device: what no phase has there.")
        columns.append(number_column(say("between phases"), PERCENT.unit, said))
    return Table(
        caption=say("Phases and what is in none of them"),
        columns=(*scope.columns(), *columns),
        rows=tuple(
            (
                *scope.cells(row),
                Cell(text=time.text(found.whole)),
                Cell(text=time.text(found.in_phases)),
                Cell(text=left.text(found.residual)),
                Cell(text=PERCENT.text(found.residual_fraction)),
                *((Cell(text=_fraction(on_device[row])),) if has_device else ()),
            )
            for row, found in ledgers.items()
        ),
    )


def _fraction(found: Ledger | None) -> str:
    return PERCENT.text(found.residual_fraction) if found else NOT_KNOWN


def _pointed_out(scope: Scope, large: dict[Row, Ledger]) -> Callout:
    row, most = max(large.items(), key=lambda entry: abs(entry[1].residual_fraction))
    return Callout(
        kind=CalloutKind.NOTE,
        text=say(
            "In {cells} more than {limit} of the step is in no phase, most in {most}: {share}.",
            cells=counted(len(large), "cell"),
            limit=percent(LARGE_RESIDUAL, 0),
            most=scope.label(row),
            share=percent(most.residual_fraction),
        ),
    )


def _probes(scope: Scope, probed: list[tuple[Row, Row]]) -> Table:
    """Return the table of rows and the processes of each that were probed, those as rows of one process."""
    device, host = say("waiting for the device"), say("waiting for the host")
    return Table(
        caption=say("What waiting for the device and for the host costs, one row for each process of a cell"),
        columns=(
            *scope.columns(),
            number_column(say("rounds"), description=say("Steps run in each way.")),
            number_column(
                say("longer"), PERCENT.unit, say("Whole step on the host clock when each phase is waited for."), device
            ),
            number_column(say("95 % interval"), PERCENT.unit, say("From the rounds, by signed ranks."), device),
            number_column(
                say("launch-bound"), PERCENT.unit, say("Of the step on the device: saved when all is queued."), host
            ),
            number_column(say("95 % interval"), PERCENT.unit, say("From the rounds, by signed ranks."), host),
            number_column(
                say("enqueue"), PERCENT.unit, say("Median time to launch a step over the median of the step."), host
            ),
        ),
        rows=tuple((*scope.cells(row), *_probe_cells(one)) for row, one in probed),
    )


def _probe_cells(row: Row) -> tuple[Cell, ...]:
    waiting, bound = synchronising_penalty(row.record), launch_bound_share(row.record)
    return (
        Cell(text=str(waiting.rounds) if waiting else NOT_KNOWN),
        *_share_cells(waiting),
        *_share_cells(bound),
        Cell(text=PERCENT.text(enqueue_share(row))),
    )


def _share_cells(share: Share | None) -> tuple[Cell, Cell]:
    if share is None:
        return Cell(text=NOT_KNOWN), Cell(text=NOT_KNOWN)
    value = Cell(text=PERCENT.text(share.value))
    if share.low is None or share.high is None:
        return value, Cell(text=NOT_KNOWN)
    return value, Cell(text=PERCENT.interval(share.low, share.high), sort=share.high - share.low)
