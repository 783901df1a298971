"""What each cell holds, phase by phase, beside what no backend can do without."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.attention import MemoryUse, in_order, memory_use
from windtunnel.analysis.results import Row
from windtunnel.language import counted, passage, say, word
from windtunnel.records.record import Status
from windtunnel.report.axes import WORKLOAD
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import stage_name
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
    return Section(heading=say("Memory by phase"), blocks=tuple(blocks))


def _explained(scope: Scope, uses: Sequence[MemoryUse]) -> str:
    is_counted = any(use.peak is not None for use in uses)
    capacity = scope.environment.device_memory_bytes
    return passage(
        (
            say("One call on its own, after the samples, with all that was there before the cell taken off."),
            say("Workspaces of libraries (cuBLAS) are in it.") if is_counted else "",
            say(
                "Least: what no backend can do without, which is inputs, O, and for backward dO, the gradients and one "
                "log-sum-exp a query."
            ),
            _of_matrices(is_counted=is_counted) if any(use.matrices is not None for use in uses) else "",
            say("The device has {memory}.", memory=memory_text(capacity)) if capacity else "",
        )
    )


def _of_matrices(*, is_counted: bool) -> str:
    if is_counted:
        return say(
            "N x N held: how many queries x keys matrices of all heads, in the format of Q, fit into what is allocated "
            "before backward, without Q, K, V, dO and O; for matrices below 320 MiB, of which the workspace would pass "
            "for a part, into what autograd saved for backward, without Q, K and V."
        )
    return say(
        "N x N held: how many queries x keys matrices of all heads, in the format of Q, fit into what autograd saved "
        "for backward, without Q, K and V, as this device does not count what is allocated."
    )


def _table(scope: Scope, rows: Sequence[Row], uses: dict[Row, MemoryUse]) -> Table:
    found = {row: uses[row] for row in rows if row in uses}
    kinds = {
        say("before backward"): (
            {row: use.before_backward for row, use in found.items()},
            say("Allocated when forward is over."),
        ),
        say("saved"): (
            {row: use.saved for row, use in found.items()},
            say("What autograd keeps for backward, each storage once, inputs too."),
        ),
        say("forward peak"): (
            {row: use.forward_peak for row, use in found.items()},
            say("Most in use during forward."),
        ),
        say("backward peak"): (
            {row: use.backward_peak for row, use in found.items()},
            say("Most in use during backward."),
        ),
    }
    shown = [name for name, (values, _) in kinds.items() if any(value is not None for value in values.values())]
    size = mebibytes_scale(
        value
        for values in [*(kinds[name][0].values() for name in shown), [use.least for use in found.values()]]
        for value in values
    )
    has_peak = any(use.peak is not None for use in found.values())
    has_matrices = any(use.matrices is not None for use in found.values())
    has_failed = any(row not in uses for row in rows)
    columns: list[Column] = [
        *scope.columns(without=(WORKLOAD,)),
        *(number_column(name, size.unit, kinds[name][1]) for name in shown),
        number_column(say("least"), size.unit, say("What no backend can do without.")),
    ]
    columns += (
        [number_column(say("peak / least"), description=say("The higher peak over the least."))] if has_peak else []
    )
    columns += (
        [number_column(say("N x N held"), description=say("Matrices of queries x keys."))] if has_matrices else []
    )
    columns += [_ran_out_column()] if has_failed else []

    def cells(row: Row) -> Iterator[Cell]:
        use = uses.get(row)
        for name in shown:
            yield Cell(text=size.text(kinds[name][0][row])) if use else GAP
        yield Cell(text=size.text(use.least)) if use else GAP
        if has_peak:
            yield Cell(text=ratio(use.over_least)) if use else GAP
        if has_matrices:
            yield Cell(text=_matrices(use.matrices if use else None))
        if has_failed:
            yield Cell(text="") if use else Cell(text=_ran_out(row), is_failure=True)

    return Table(
        caption=say("Memory of {workload}", workload=scope.value(WORKLOAD, rows[0])),
        columns=tuple(columns),
        rows=tuple((*scope.cells(row, without=(WORKLOAD,)), *cells(row)) for row in rows),
    )


def _ran_out_column() -> Column:
    return Column(name=say("ran out"), description=say("In which phase, and what was asked for."))


def _matrices(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1f}"


def _ran_out(row: Row) -> str:
    failure = row.record.failure
    if failure is None:
        return word(row.record.status.value)
    where = stage_name(failure.phase or failure.stage)
    if not failure.requested_bytes:
        return where
    return say("{phase}, asked {memory}", phase=where, memory=memory_text(failure.requested_bytes))


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
    if len(below) > 1:
        return say(
            "A fault in the measurement or the declared precision: {cell}, and {others} held at most {share} of what "
            "its inputs and results alone take.",
            cell=scope.label(row),
            others=counted(len(below) - 1, "other cell"),
            share=percent(share),
        )
    return say(
        "A fault in the measurement or the declared precision: {cell} held at most {share} of what its inputs and "
        "results alone take.",
        cell=scope.label(row),
        share=percent(share),
    )
