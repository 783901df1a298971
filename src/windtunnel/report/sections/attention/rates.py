"""How much work a second each cell does, and how much of what the machine can do that is."""

from collections.abc import Mapping

from windtunnel.analysis.attention import SHORT_SECONDS, in_order
from windtunnel.analysis.results import Row
from windtunnel.language import counted, passage, say, word
from windtunnel.report.axes import WORKLOAD
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.attention.results import phase_name
from windtunnel.units import duration, percent, percent_scale, rate, rate_scale

_MOST_OF_CEILING = 1.02
"""Above this a rate is a fault, as a ceiling is known to a percent or two."""


def rates(scope: Scope) -> Section | None:
    """Return a table of rates for each workload; None where nothing was measured."""
    groups: dict[str, list[Row]] = {}
    for row in in_order(scope.measured):
        if row.flops_per_second():
            groups.setdefault(row.cell.workload, []).append(row)
    if not groups:
        return None
    said = (
        say(
            "FLOPs of the matrix products that the mask lets through, by closed form: forward 2 products for each pair "
            "of query and key, 4·B·H·S²·d where the mask is full; backward 5, so 2.5 times as many, whatever a backend "
            "computes. A rate is these over the median."
        ),
        _of_what(scope),
        say(
            "Below {short} a rate says how long a launch takes as much as how fast the kernel is.",
            short=duration(SHORT_SECONDS),
        ),
    )
    blocks: list[Block] = [Paragraph(text=passage(said)), *(_table(scope, rows) for rows in groups.values())]
    if fault := _above(scope):
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=fault))
    return Section(heading=say("Rates"), blocks=tuple(blocks))


def fraction_of(row: Row, phase: str | None = None, *, of_ceiling: bool) -> float | None:
    """Return the share that a row reaches of the calibrated ceiling, or else of the datasheet's peak."""
    return row.ceiling_fraction(phase) if of_ceiling else row.peak_fraction(phase)


def is_calibrated(scope: Scope) -> bool:
    """Tell whether shares are of rates that this machine reached, and not of a datasheet's."""
    return any(row.ceiling_flops_per_second for row in scope.measured)


def _of_what(scope: Scope) -> str:
    if is_calibrated(scope):
        return say("The ceiling is the fastest matrix product of that precision in this machine's calibration.")
    if any(row.peak_flops_per_second for row in scope.measured):
        return say("The peak is the dense one of the datasheet: this machine is not calibrated (windtunnel calibrate).")
    return say("No ceiling is known: this machine is neither calibrated (windtunnel calibrate) nor in the datasheets.")


def _table(scope: Scope, rows: list[Row]) -> Table:
    phases = rows[0].phases
    speeds = {(row, phase): row.flops_per_second(phase) for row in rows for phase in phases}
    of_ceiling = is_calibrated(scope)
    shares = {(row, phase): fraction_of(row, phase, of_ceiling=of_ceiling) for row in rows for phase in phases}
    has_shares = any(share is not None for share in shares.values())
    speed, share = rate_scale(speeds.values()), percent_scale(shares.values())
    columns = list(scope.columns(without=(WORKLOAD,)))
    for phase in phases:
        columns.append(number_column(phase_name(rows[0], phase), speed.unit, say("FLOPs over the median.")))
        if has_shares and of_ceiling:
            said = say("Rate of {phase} over the ceiling.", phase=word(phase))
            columns.append(number_column(say("of ceiling"), share.unit, said))
        elif has_shares:
            said = say("Rate of {phase} over the peak.", phase=word(phase))
            columns.append(number_column(say("of peak"), share.unit, said))

    def cells(row: Row) -> tuple[Cell, ...]:
        found: list[Cell] = []
        for phase in phases:
            found.append(Cell(text=speed.text(speeds[row, phase])))
            found += [Cell(text=share.text(shares[row, phase])) if shares[row, phase] else GAP] if has_shares else []
        return tuple(found)

    return Table(
        caption=say("Rates of {workload}", workload=scope.value(WORKLOAD, rows[0])),
        columns=tuple(columns),
        rows=tuple((*scope.cells(row, without=(WORKLOAD,)), *cells(row)) for row in rows),
    )


def _above(scope: Scope) -> str:
    """Say which cell is furthest above what the machine can do; empty when none is."""
    of_ceiling = is_calibrated(scope)
    shares: Mapping[tuple[Row, str], float] = {
        (row, phase): share
        for row in scope.measured
        for phase in row.phases
        if (share := fraction_of(row, phase, of_ceiling=of_ceiling)) and share > _MOST_OF_CEILING
    }
    if not shares:
        return ""
    row, phase = max(shares, key=lambda found: shares[found])
    fields = {
        "cell": scope.label(row),
        "rate": rate(row.flops_per_second(phase)),
        "phase": phase_name(row, phase),
        "share": percent(shares[row, phase]),
    }
    claim = (
        say(
            "A fault in the measurement, the calibration or the declared precision: {cell} does {rate} in {phase}, "
            "{share} of what this machine can, and {others} above {most}.",
            **fields,
            others=counted(len(shares) - 1, "other phase"),
            most=percent(_MOST_OF_CEILING, 0),
        )
        if len(shares) > 1
        else say(
            "A fault in the measurement, the calibration or the declared precision: {cell} does {rate} in {phase}, "
            "{share} of what this machine can.",
            **fields,
        )
    )
    why = say(
        "A backend that skips products that are counted (eager keeps P and does not compute S again) may be the reason."
    )
    return passage((claim, why))
