"""What each cell holds, phase by phase, beside what no backend can do without."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.attention import MemoryUse, in_order, memory_use
from windtunnel.analysis.results import Row
from windtunnel.language import counted
from windtunnel.records.record import Status
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import WORKLOAD, Scope
from windtunnel.units import NOT_KNOWN, mebibytes_scale, percent, ratio
from windtunnel.units import memory as memory_text

_LEAST_SHARE = 0.99
"""A peak below this share of the least is a fault; the rest is for tensors that an allocator shares."""


def memory(scope: Scope) -> Section | None:
    """Return a table for each workload; None where no memory of a phase is known."""
    uses = {row: use for row in scope.measured if (use := memory_use(row))}
    if not uses:
        return None
    groups: dict[str, list[Row]] = {}
    for row in in_order(scope.rows):
        if row in uses or row.record.status is Status.OUT_OF_MEMORY:
            groups.setdefault(row.cell.workload, []).append(row)
    blocks: list[Block] = [Paragraph(text=_explained(scope, list(uses.values())))]
    blocks += [_table(scope, rows, uses) for rows in groups.values()]
    if fault := _below_least(scope, uses):
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=fault))
    return Section(heading="Memory by phase", blocks=tuple(blocks))


def _explained(scope: Scope, uses: Sequence[MemoryUse]) -> str:
    is_counted = any(use.peak is not None for use in uses)
    saved = "what autograd saved for backward, without Q, K and V"
    how = (
        f"what is allocated before backward, without Q, K, V, dO and O; for matrices below 320 MiB, of which the "
        f"workspace would pass for a part, into {saved}"
        if is_counted
        else f"{saved}, as this device does not count what is allocated"
    )
    capacity = scope.environment.device_memory_bytes
    sentences = [
        "One call on its own, after the samples, with all that was there before the cell taken off.",
        "Workspaces of libraries (cuBLAS) are in it." if is_counted else "",
        "Least: what no backend can do without, which is inputs, O, and for backward dO, the gradients and one "
        "log-sum-exp a query.",
        f"N x N held: how many queries x keys matrices of all heads, in the format of Q, fit into {how}."
        if any(use.matrices is not None for use in uses)
        else "",
        f"The device has {memory_text(capacity)}." if capacity else "",
    ]
    return " ".join(filter(None, sentences))


def _table(scope: Scope, rows: Sequence[Row], uses: dict[Row, MemoryUse]) -> Table:
    found = [uses[row] for row in rows if row in uses]
    kinds = {
        "before backward": ([use.before_backward for use in found], "Allocated when forward is over."),
        "saved": ([use.saved for use in found], "What autograd keeps for backward, each storage once, inputs too."),
        "forward peak": ([use.forward_peak for use in found], "Most in use during forward."),
        "backward peak": ([use.backward_peak for use in found], "Most in use during backward."),
    }
    shown = [name for name, (values, _) in kinds.items() if any(value is not None for value in values)]
    size = mebibytes_scale(
        value for values in [*(kinds[name][0] for name in shown), [use.least for use in found]] for value in values
    )
    has_peak = any(use.peak is not None for use in found)
    has_matrices = any(use.matrices is not None for use in found)
    has_failed = any(row not in uses for row in rows)
    columns: list[Column] = [
        *scope.columns(without=(WORKLOAD,)),
        *(number_column(name, size.unit, kinds[name][1]) for name in shown),
        number_column("least", size.unit, "What no backend can do without."),
    ]
    columns += [number_column("peak / least", description="The higher peak over the least.")] if has_peak else []
    columns += [number_column("N x N held", description="Matrices of queries x keys.")] if has_matrices else []
    columns += [Column(name="ran out", description="In which phase, and what was asked for.")] if has_failed else []

    def cells(row: Row) -> Iterator[Cell]:
        use = uses.get(row)
        values = (
            {
                "before backward": use.before_backward,
                "saved": use.saved,
                "forward peak": use.forward_peak,
                "backward peak": use.backward_peak,
            }
            if use
            else {}
        )
        for name in shown:
            yield Cell(text=size.text(values[name])) if values else GAP
        yield Cell(text=size.text(use.least)) if use else GAP
        if has_peak:
            yield Cell(text=ratio(use.over_least)) if use else GAP
        if has_matrices:
            yield Cell(text=_matrices(use.matrices if use else None))
        if has_failed:
            yield Cell(text="") if use else Cell(text=_ran_out(row), is_failure=True)

    return Table(
        caption=f"Memory of {scope.value(WORKLOAD, rows[0])}",
        columns=tuple(columns),
        rows=tuple((*scope.cells(row, without=(WORKLOAD,)), *cells(row)) for row in rows),
    )


def _matrices(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1f}"


def _ran_out(row: Row) -> str:
    failure = row.record.failure
    if failure is None:
        return row.record.status.value
    asked = f", asked {memory_text(failure.requested_bytes)}" if failure.requested_bytes else ""
    return f"{failure.phase or failure.stage}{asked}"


def _below_least(scope: Scope, uses: dict[Row, MemoryUse]) -> str:
    """Say which cell needs less than is possible; empty when none does."""
    below = [
        (share, row)
        for row, use in uses.items()
        if (share := use.over_least) and "backward" in row.phases and share < _LEAST_SHARE
    ]
    if not below:
        return ""
    share, row = min(below, key=lambda found: found[0])
    others = f", and {counted(len(below) - 1, 'other cell')}" if len(below) > 1 else ""
    return (
        f"A fault in the measurement or the declared precision: {scope.label(row)}{others} held at most "
        f"{percent(share)} of what its inputs and results alone take."
    )
