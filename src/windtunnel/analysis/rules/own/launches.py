"""Times that do not follow the work, with what a profile of one of these cells says of it, or how long they wait."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, waits_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.launch import judge_launch
from windtunnel.analysis.rules.own.commands import profile_of
from windtunnel.records.profile import Unit

_CONFIRMED = ("follows_layers", "constant_over_context", "constant_over_precision")


def judge_launches(measured: Measured) -> Iterator[Finding]:
    """Yield the signatures of a fixed cost of launching; a profile decides whether it is one, and else the waits."""
    for finding in judge_launch(measured.wholes):
        members = measured.rows_behind(finding)
        if finding.claim in _CONFIRMED:
            yield _with_profile(measured, finding, members) or _with_waits(measured, finding, members)
        else:
            yield replace(finding, command=profile_of(members[0].cell))


def _with_profile(measured: Measured, finding: Finding, members: Sequence[Row]) -> Finding | None:
    cells = [row.cell for row in members]
    for evidence, cell, view in reversed(measured.profile_views):
        if cell in cells and view.profile.unit is Unit.KERNELS:
            return replace(
                finding,
                claim=f"{finding.claim}_{'waiting' if view.gaps.is_launch_bound else 'not_waiting'}",
                numbers={
                    **finding.numbers,
                    "profiled": measured.cell_name(cell),
                    "wait": view.gaps.launch_wait_share,
                    "idle": view.idle_share,
                },
                evidence=(*finding.evidence, evidence),
                strength=Strength.MEASURED,
                advice="launch_less" if view.gaps.is_launch_bound else None,
            )
    return None


def _with_waits(measured: Measured, finding: Finding, members: Sequence[Row]) -> Finding:
    """Return the finding with the shares of a step in which the device waits for the host, where each cell has one."""
    waits = waits_of(members)
    if len(waits) < len(set(members)):
        return replace(finding, command=profile_of(members[0].cell))
    least, most = min(waits, key=waits.__getitem__), max(waits, key=waits.__getitem__)
    return replace(
        finding,
        claim=f"{finding.claim}_with_waits",
        numbers={
            **finding.numbers,
            "low_wait": waits[least],
            "low_name": measured.name(least),
            "high_wait": waits[most],
            "high_name": measured.name(most),
        },
        strength=Strength.MEASURED,
        command=profile_of(members[0].cell),
    )
