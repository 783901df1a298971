"""What steps wait for: measured where a profile was taken; without one only how long for the host, if that."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.measured import Measured, evidence_of, waits_of
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.profile_gaps import LAUNCH_BOUND_SHARE
from windtunnel.analysis.rules.own.commands import profile_of
from windtunnel.records.profile import Unit
from windtunnel.spec.cell import Cell


def judge_waiting(measured: Measured) -> Iterator[Finding]:
    """Yield what each profile says, the latest first; without one, how long the heaviest cell waits for the host.

    Where that was not measured either, what it waits for is open, whatever is predicted.
    """
    for evidence, cell, view in reversed(measured.profile_views):
        yield _profiled(measured.cell_name(cell), evidence, cell, view)
    row = measured.heaviest
    if row is None or measured.is_attention or any(cell == row.cell for _, cell, _ in measured.profile_views):
        return
    share = waits_of([row]).get(row)
    if share is not None:
        is_bound = share >= LAUNCH_BOUND_SHARE
        yield Finding(
            kind="waiting" if is_bound else "short_wait",
            claim="waits_for_host",
            subject=measured.name(row),
            numbers={"name": measured.name(row), "wait": share},
            evidence=evidence_of(row),
            strength=Strength.MEASURED,
            advice="launch_less" if is_bound else None,
            command=profile_of(row.cell),
        )
        return
    bound = next((one.bound for one in measured.predictions.beside if one.row is row and one.bound), None)
    numbers: dict[str, Number] = {"name": measured.name(row)}
    yield Finding(
        kind="waiting",
        claim="waiting_predicted" if bound else "waiting_not_measured",
        subject=measured.name(row),
        numbers=numbers | ({"bound": bound.value} if bound else {}),
        evidence=evidence_of(row),
        strength=Strength.NOT_MEASURED,
        command=profile_of(row.cell),
    )


def _profiled(name: str, evidence: str, cell: Cell, view: ProfileView) -> Finding:
    kind, longest = next(iter(view.kind_sums().items()))
    numbers: dict[str, Number] = {
        "name": name,
        "busy": 1 - view.idle_share,
        "idle": view.idle_share,
        "wait": view.gaps.launch_wait_share,
        "limit": LAUNCH_BOUND_SHARE,
        "calls": view.calls,
        "kind": kind.value,
        "share": longest.seconds / view.total,
        "products": view.share(WorkKind.MATMUL),
    }
    if view.profile.unit is not Unit.KERNELS:
        claim = "work_of_operators"
    else:
        claim = "launch_bound" if view.gaps.is_launch_bound else "not_launch_bound"
    return Finding(
        kind="waiting",
        claim=claim,
        subject=evidence,
        numbers=numbers,
        evidence=(evidence,),
        strength=Strength.MEASURED,
        advice="launch_less" if claim == "launch_bound" else None,
        command=profile_of(cell) if claim == "launch_bound" else None,
    )
