"""What the first step of a process costs, and what is left of that in the second."""

from collections.abc import Iterator
from statistics import median

from windtunnel.analysis.comparisons import ColdStart, cold_starts
from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.measured import Measured, evidence_of


def judge_cold(measured: Measured) -> Iterator[Finding]:
    """Yield the cost of the first step over all cells that show it, split where its parts were timed."""
    found = cold_starts(measured.rows)
    if not found:
        return
    least, most = min(found, key=lambda one: one.cost), max(found, key=lambda one: one.cost)
    numbers: dict[str, Number] = {
        "count": len(found),
        "low_seconds": least.cost,
        "high_seconds": most.cost,
        "name": measured.name(most.cold),
        "ratio": most.first / most.rest,
        "second": max((abs(_second(one) - 1) for one in found), default=0.0),
    }
    if most.allocator is not None:
        numbers |= {"allocator_seconds": most.allocator, "rest_seconds": most.libraries}
    claim = "first_step_costs" if len(found) == 1 else "first_steps_cost"
    yield Finding(
        kind="cold_start",
        claim=f"{claim}_split" if most.allocator is not None and most.libraries >= 0 else claim,
        subject="first steps",
        numbers=numbers,
        evidence=evidence_of(*(one.cold for one in found)),
        strength=Strength.MEASURED,
        rules_out=("cold_means_are_step_times",),
    )


def _second(one: ColdStart) -> float:
    """Return the second step over the median of all after the first; of several processes the median of theirs."""
    return median(samples[1] for samples in one.cold.samples_by_process()) * 1e-9 / one.rest
