"""Times that do not follow the work: constant per layer, over the context or over the precision, or too short."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.observed import SIZE_FIELDS, Observation, Observed, by_size, grouped
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.screening import all_near, scope, series_name, sources, usable

_CONSTANT = 0.10
_LEAST_WORK_RATIO = 2.0
_SHORTEST = 0.3e-3
"""Cells below this are not ranked (R4 of the method)."""
_SHORT = 1e-3
_LOOSE = 0.10


def judge_launch(observed: Observed) -> Iterator[Finding]:
    """Yield each signature of a fixed cost per kernel; whether it is one, only a profile of the GPU's gaps says."""
    for series in by_size(usable(observed)):
        yield from _per_layer(series)
    flat = [*_flat(observed, "context_length", "constant_over_context")]
    flat += _flat(observed, "precision", "constant_over_precision")
    yield from flat
    yield from _too_short(observed)


def _per_layer(series: tuple[Observation, ...]) -> Iterator[Finding]:
    layered = [
        (one, one.mean / layers, (one.config.parameters() or 0) / layers)
        for one in series
        if (layers := one.config.num_layers) and one.config.parameters()
    ]
    length = next(
        (
            length
            for length in range(len(layered), 2, -1)
            if all_near([seconds for _, seconds, _ in layered[:length]], _CONSTANT)
        ),
        0,
    )
    if length < 3:
        return
    run = layered[:length]
    work = run[-1][2] / run[0][2]
    if work < _LEAST_WORK_RATIO:
        return
    members = [one for one, _, _ in run]
    yield Finding(
        kind="layers",
        claim="follows_layers",
        subject=scope(members[0], *SIZE_FIELDS),
        numbers={
            "phase": members[0].phase,
            "what": series_name(members[0], *SIZE_FIELDS),
            "first": members[0].config.size or members[0].config.name,
            "last": members[-1].config.size or members[-1].config.name,
            "low_seconds": min(seconds for _, seconds, _ in run),
            "high_seconds": max(seconds for _, seconds, _ in run),
            "work_ratio": work,
            "count": length,
        },
        evidence=sources(members),
        strength=Strength.INFERRED,
        rules_out=("size_shows_utilisation",),
        advice="look_at_gaps",
        command=step_command(members[0].config, members[0].phase),
    )


def _flat(observed: Observed, axis: str, claim: str) -> Iterator[Finding]:
    """Yield one finding a phase for the cells whose time does not change along an axis that changes the work."""
    for phase in observed.phases():
        groups = [
            group
            for group in grouped(usable(observed, phase), axis)
            if _changes_work(group, axis) and all_near([one.mean for one in group], _CONSTANT)
        ]
        if not groups:
            continue
        members = [one for group in groups for one in group]
        yield Finding(
            kind=axis,
            claim=claim,
            subject=phase,
            numbers={
                "phase": phase,
                "groups": len(groups),
                "what": tuple(dict.fromkeys(group[0].config.without(axis).name for group in groups)),
                "most": max(max(one.mean for one in g) / min(one.mean for one in g) for g in groups),
                **_growth(groups, axis),
            },
            evidence=sources(members),
            strength=Strength.INFERRED,
            rules_out=("ranking_shows_kernels",),
            advice="look_at_gaps",
            command=step_command(members[0].config, phase),
        )


def _growth(groups: list[tuple[Observation, ...]], axis: str) -> dict[str, float]:
    """Return by how much the context grows in the group where it grows least; a precision has no such number."""
    if axis != "context_length":
        return {}
    lengths = [[one.config.context_length or 1 for one in group] for group in groups]
    return {"grows": min(max(each) / min(each) for each in lengths)}


def _changes_work(group: tuple[Observation, ...], axis: str) -> bool:
    if axis == "precision":
        return len({one.config.precision for one in group}) > 1
    lengths = [one.config.context_length for one in group]
    known = [length for length in lengths if length]
    return len(known) == len(group) > 1 and max(known) >= _LEAST_WORK_RATIO * min(known)


def _too_short(observed: Observed) -> Iterator[Finding]:
    for phase in observed.phases():
        short = [
            one
            for one in observed.valid(phase)
            if one.mean < _SHORTEST or (one.mean < _SHORT and (one.cv or 0.0) >= _LOOSE)
        ]
        if short:
            yield Finding(
                kind="short",
                claim="too_short_to_rank",
                subject=phase,
                numbers={
                    "phase": phase,
                    "count": len(short),
                    "longest_seconds": max(one.mean for one in short),
                    "highest": max((one.cv or 0.0) for one in short),
                    "inversions": _inversions(short),
                },
                evidence=sources(short),
                strength=Strength.MEASURED,
                rules_out=("ranking_shows_kernels",),
                advice="look_at_gaps",
                command=step_command(short[0].config, phase),
            )


def _inversions(short: list[Observation]) -> int:
    """Count the pairs in which the wider of two heads or models, all else equal, took less time."""
    return sum(
        a.mean > b.mean and (a.config.d_model or 0) < (b.config.d_model or 0)
        for group in grouped(short, "size", "d_model", "d_ff", "num_heads")
        for a in group
        for b in group
    )
