"""Where memory goes: the range of the peaks, and what fills the peak of a step where a ledger was taken."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.rules.own.commands import memory_of


def judge_memory_use(measured: Measured) -> Iterator[Finding]:
    """Yield what each ledger says, the latest first, and the range of the peaks of all cells."""
    for evidence, cell, view in reversed(measured.ledger_views):
        if view.peak and view.peak.total:
            yield _filled(measured.cell_name(cell), evidence, view)
    yield from _peaks(measured)


def _filled(name: str, evidence: str, view: LedgerView) -> Finding:
    peak = view.peak
    assert peak is not None  # asked by the caller
    first, second = (*sorted(peak.by_category.items(), key=lambda item: -item[1]), None)[:2]
    assert first is not None  # a peak above 0 has a category
    numbers: dict[str, Number] = {
        "name": name,
        "bytes": peak.total,
        "phase": view.peak_phase,
        "first": first[0].value,
        "first_share": first[1] / peak.total,
    }
    if second:
        numbers |= {"second": second[0].value, "second_share": second[1] / peak.total}
    return Finding(
        kind="memory_filled",
        claim="memory_is_filled_by_two" if second else "memory_is_filled_by",
        subject=evidence,
        numbers=numbers,
        evidence=(evidence,),
        strength=Strength.MEASURED,
    )


def _peaks(measured: Measured) -> Iterator[Finding]:
    peaks = {row: peak for row in measured.timed if (peak := row.peak_bytes)}
    if not peaks:
        return
    least, most = min(peaks, key=peaks.__getitem__), max(peaks, key=peaks.__getitem__)
    capacity = most.environment.device_memory_bytes
    numbers: dict[str, Number] = {
        "low": peaks[least],
        "low_name": measured.name(least),
        "high": peaks[most],
        "high_name": measured.name(most),
        "count": len(peaks),
    }
    if capacity:
        numbers |= {"share": peaks[most] / capacity, "capacity": capacity}
    stem = "peak_memory" if peaks[least] == peaks[most] else "peaks_of_memory"
    yield Finding(
        kind="peak_memory",
        claim=stem if capacity else f"{stem}_without_capacity",
        subject="peaks",
        numbers=numbers,
        evidence=evidence_of(least, most),
        strength=Strength.MEASURED,
    )
    looked_at = [cell for _, cell, _ in measured.ledger_views]
    if most.cell not in looked_at and not measured.is_attention:
        yield Finding(
            kind="memory_filled",
            claim="memory_not_looked_at",
            subject=measured.name(most),
            numbers={"name": measured.name(most), "bytes": peaks[most]},
            evidence=evidence_of(most),
            strength=Strength.NOT_MEASURED,
            command=memory_of(most.cell),
        )
