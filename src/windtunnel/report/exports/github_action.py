"""The JSON of github-action-benchmark's tool `customSmallerIsBetter`."""

import json

from windtunnel import units
from windtunnel.analysis.flat_table import PhaseOf, phases_of
from windtunnel.analysis.results import Results


def render_github_action(results: Results, *, with_samples: bool) -> str:
    """Return one entry for each phase of each cell, in milliseconds, and the number of failed cells.

    A failed cell is an entry of its own, 1 failure with its message: smaller is better there too.
    """
    assert not with_samples
    entries = [_entry(one) for one in phases_of(results) if one.phase or not one.row.is_ok]
    failed = sum(not row.is_ok for row in results)
    entries.append({"name": "failed cells", "unit": "cells", "value": failed})
    return json.dumps(entries, indent=2, allow_nan=False) + "\n"


def _entry(one: PhaseOf) -> dict[str, object]:
    row = one.row
    if one.phase is None:
        failure = row.record.failure
        message = f"{row.record.status.value}: {failure.message}" if failure else row.record.status.value
        return {"name": f"{one.label} · failed", "unit": "failures", "value": 1, "extra": message}
    estimate = row.estimate(one.phase)
    assert estimate is not None  # a phase that is listed has samples
    entry: dict[str, object] = {"name": f"{one.label} · {one.phase}", "unit": "ms", "value": estimate.value * 1e3}
    if estimate.relative_half_width is not None:
        entry["range"] = units.half_width(estimate.relative_half_width)
    entry["extra"] = f"n = {estimate.n}, {row.clock(one.phase).value} clock, {estimate.method}, key {row.key}"
    return entry
