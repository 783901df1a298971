"""What was seen of a CPU in the structure of torch's snapshot, for the public viewer (pytorch.org/memory_viz).

Source: the docstring of torch.cuda.memory._snapshot.
"""

import re
from collections.abc import Sequence
from typing import Any

from windtunnel.probe.allocation_log import Event
from windtunnel.probe.attribution import Attributed
from windtunnel.records.memory_ledger import Label

_SITE = re.compile(r"(?P<filename>.*):(?P<line>\d+) in (?P<name>.*)")


def viewer_snapshot(events: Sequence[Event], attributed: Attributed) -> dict[str, Any]:
    """Return all events as the trace of one device; allocations of the ledger have line, operation and category."""
    table = attributed.allocations
    labels = {born: attributed.labels[place] for born, place in zip(table.born, table.labels, strict=True)}
    trace: list[dict[str, Any]] = []
    live: dict[int, dict[str, Any]] = {}
    for number, event in enumerate(events):
        if event.size > 0:
            label = labels.get(number)
            entry = {
                "action": "alloc",
                "addr": event.address,
                "size": event.size,
                "stream": 0,
                "frames": _frames(label),
                "category": label.category.value if label else "unknown",
            }
            live[event.address] = entry
            trace.append(entry)
        elif event.address in live:
            entry = live.pop(event.address)
            trace += [{**entry, "action": action} for action in ("free_requested", "free_completed")]
    return {"segments": _segments(live), "device_traces": [trace]}


def _frames(label: Label | None) -> list[dict[str, Any]]:
    """Return the operation, the module and the line as a stack, innermost first."""
    if label is None:
        return []
    frames = [{"filename": "", "line": 0, "name": name} for name in (label.operation, label.module) if name]
    found = _SITE.fullmatch(label.site)
    return [*frames, {**found.groupdict(), "line": int(found["line"])}] if found else frames


def _segments(live: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a segment for each allocation that is left: the host's allocator has no larger ones."""
    return [
        {
            "device": 0,
            "address": address,
            "total_size": entry["size"],
            "allocated_size": entry["size"],
            "active_size": entry["size"],
            "requested_size": entry["size"],
            "stream": 0,
            "segment_type": "large",
            "blocks": [
                {
                    "address": address,
                    "size": entry["size"],
                    "requested_size": entry["size"],
                    "state": "active_allocated",
                    "frames": entry["frames"],
                }
            ],
        }
        for address, entry in live.items()
    ]
