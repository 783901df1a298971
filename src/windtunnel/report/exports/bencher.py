"""Bencher Metric Format: for each benchmark its measures, each with a value and where known an interval."""

import json

from windtunnel.analysis.flat_table import PhaseOf, phases_of
from windtunnel.analysis.results import Results

_NANOSECONDS = 1e9


def render_bencher(results: Results, *, with_samples: bool) -> str:
    """Return the measures `latency` (nanoseconds, Bencher's own), `peak_memory` (bytes) and `failed` (0 or 1).

    A failed cell has `failed` 1 and no latency: a threshold on that measure catches it.
    """
    assert not with_samples
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in phases_of(results):
        name = f"{one.label} · {one.phase}" if one.phase else one.label
        found[name] = _measures(one)
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _measures(one: PhaseOf) -> dict[str, dict[str, float]]:
    row, measures = one.row, dict[str, dict[str, float]]()
    estimate = row.estimate(one.phase) if one.phase else None
    if estimate:
        latency = {"value": estimate.value * _NANOSECONDS}
        if estimate.low is not None and estimate.high is not None:
            latency |= {"lower_value": estimate.low * _NANOSECONDS, "upper_value": estimate.high * _NANOSECONDS}
        measures["latency"] = latency
    is_whole = one.phase in {None, row.record.total}
    if is_whole and row.record.memory and row.record.memory.peak_bytes is not None:
        measures["peak_memory"] = {"value": row.record.memory.peak_bytes}
    if is_whole:
        measures["failed"] = {"value": 0.0 if row.is_ok else 1.0}
    return measures
