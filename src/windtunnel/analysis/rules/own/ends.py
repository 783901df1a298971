"""Where memory ends: what ran out of it and by how much, out of which order, and what would fit by prediction."""

from collections.abc import Iterator
from dataclasses import replace

from windtunnel.analysis.finding import Finding, Number, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.predictions import target_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.order import judge_ends
from windtunnel.analysis.rules.own.commands import changed_flags, step_of
from windtunnel.cost.alternatives import alternatives
from windtunnel.cost.layout import Layout


def judge_memory_ends(measured: Measured) -> Iterator[Finding]:
    """Yield the cells that ran out of memory, whether less than one of them did so, and what would fit instead."""
    failed = measured.out_of_memory
    if not failed:
        return
    for finding in judge_ends(measured.wholes):
        if finding.severity is Severity.ERROR:
            yield replace(finding, kind="memory_order")
    row = min(failed, key=_demand)
    yield _ended(measured, row)
    yield from _would_fit(measured, row)


def _demand(row: Row) -> tuple[int, int]:
    """Order rows by what they ask for, roughly: parameters, then tokens."""
    return row.size_rank, row.cell.batch_size * row.cell.context_length


def _ended(measured: Measured, row: Row) -> Finding:
    failure = row.record.failure
    numbers: dict[str, Number] = {
        "count": len(measured.out_of_memory),
        "of": len(measured.rows),
        "name": measured.name(row),
        "phase": (failure.phase or failure.stage) if failure else "",
    }
    is_known = failure is not None and failure.requested_bytes is not None and failure.free_bytes is not None
    if failure and is_known:
        numbers |= {"requested": failure.requested_bytes or 0, "free": failure.free_bytes or 0}
    return Finding(
        kind="out_of_memory",
        claim="ran_out_of_memory_by" if is_known else "ran_out_of_memory",
        subject="cells",
        numbers=numbers,
        evidence=evidence_of(row, *measured.out_of_memory),
        strength=Strength.MEASURED,
    )


def _would_fit(measured: Measured, row: Row) -> Iterator[Finding]:
    """Yield the first change by which the smallest of the failed cells is predicted to fit."""
    found = alternatives(row.cell, target_of(row), layout=Layout(), optimizer="adamw")
    for one in found.fitting[:1]:
        changed = row.cell.model_copy(update=dict(one.changes))
        yield Finding(
            kind="would_fit",
            claim="would_fit",
            subject=measured.name(row),
            numbers={
                "name": measured.name(row),
                "flags": changed_flags(row.cell, changed) or "",
                "bytes": one.peak_bytes,
            },
            evidence=evidence_of(row),
            strength=Strength.INFERRED,
            advice="make_it_fit",
            command=step_of(changed),
        )
