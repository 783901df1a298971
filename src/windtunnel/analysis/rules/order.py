"""What must be in order: parts below wholes, less work below more, and memory that runs out once and for all."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import SIZE_FIELDS, Configuration, Observation, Observed, grouped
from windtunnel.analysis.published.entries import MEMORY
from windtunnel.analysis.rules.commands import memory_command, step_command
from windtunnel.analysis.rules.screening import cell, differ, has_outlier, pairs_of, sources, standard_error, usable

_WHOLES = (
    ("forward", "forward_backward"),
    ("backward", "forward_backward"),
    ("forward", "step"),
    ("backward", "step"),
    ("forward_backward", "step"),
    ("optimizer", "step"),
    ("forward", "total"),
    ("backward", "total"),
    ("forward_backward", "total"),
    ("optimizer", "total"),
)
_WORK = ("context_length", "batch_size", "d_model", "num_layers")
_NOTICEABLE = 0.05


def judge_order(observed: Observed) -> Iterator[Finding]:
    """Yield what is out of order, and where memory ends if that is in order."""
    yield from judge_times(observed)
    yield from judge_ends(observed)


def judge_times(observed: Observed) -> Iterator[Finding]:
    """Yield parts that take longer than their whole, and less work that takes longer than more."""
    yield from _phases(observed)
    yield from _sums(observed)
    yield from _work(observed)


def _phases(observed: Observed) -> Iterator[Finding]:
    cells = _cells(observed)
    for part, whole in _WHOLES:
        for whole_time, part_time in pairs_of(observed, whole, part):
            at = cells.get((whole_time.series, whole_time.config), {})
            if part_time in _parts(whole, at) and _is_longer(part_time, whole_time, 0.0):
                yield Finding(
                    kind="phases",
                    claim="part_over_whole",
                    subject=f"{cell(part_time)} in {cell(whole_time)}",
                    numbers={
                        "part": part,
                        "whole": whole,
                        "name": part_time.config.name,
                        "part_seconds": part_time.mean,
                        "whole_seconds": whole_time.mean,
                    },
                    evidence=sources([part_time, whole_time]),
                    strength=Strength.MEASURED,
                    severity=Severity.ERROR,
                    advice="check_what_was_declared",
                    command=step_command(part_time.config),
                )


def _sums(observed: Observed) -> Iterator[Finding]:
    """Yield the wholes that take noticeably less than their parts together, where no part alone takes longer."""
    for at in _cells(observed).values():
        for whole in ("forward_backward", "step", "total"):
            parts = _disjoint(_parts(whole, at))
            if whole not in at or len(parts) < 2 or any(_is_longer(part, at[whole], 0.0) for part in parts):
                continue
            together = _together(parts)
            if _is_longer(together, at[whole], _NOTICEABLE):
                yield Finding(
                    kind="phases",
                    claim="parts_over_whole",
                    subject=f"parts of {cell(at[whole])}",
                    numbers={
                        "parts": tuple(part.phase for part in parts),
                        "whole": whole,
                        "name": at[whole].config.name,
                        "part_seconds": together.mean,
                        "whole_seconds": at[whole].mean,
                    },
                    evidence=sources([*parts, at[whole]]),
                    strength=Strength.MEASURED,
                    severity=Severity.ERROR,
                    advice="check_what_was_declared",
                    command=step_command(at[whole].config),
                )


def _cells(observed: Observed) -> dict[tuple[int, Configuration], dict[str, Observation]]:
    """Return the times of each cell by their phases, without those that one outlier made."""
    cells: dict[tuple[int, Configuration], dict[str, Observation]] = {}
    for one in observed.valid():
        if not has_outlier(one):
            cells.setdefault((one.series, one.config), {})[one.phase] = one
    return cells


def _parts(whole: str, at: Mapping[str, Observation]) -> tuple[Observation, ...]:
    """Return what was timed of a whole in one cell; a total that both passes make up has no optimizer in it."""
    parts = [at[part] for part, of in _WHOLES if of == whole and whole in at and part in at]
    passes = [one for one in _disjoint(parts) if one.phase != "optimizer"]
    is_of_passes = {one.phase for one in passes} in ({"forward", "backward"}, {"forward_backward"}) and not differ(
        _together(passes), at[whole], _NOTICEABLE
    )
    return tuple(one for one in parts if one.phase != "optimizer" or whole != "total" or not is_of_passes)


def _disjoint(parts: Iterable[Observation]) -> tuple[Observation, ...]:
    """Return parts that do not overlap: both passes timed together stand for each of them."""
    phases = {one.phase for one in parts}
    return tuple(one for one in parts if "forward_backward" not in phases or one.phase not in {"forward", "backward"})


def _together(parts: Sequence[Observation]) -> Observation:
    """Return parts as one time, whose deviation is the standard error of their sum."""
    errors = [error for one in parts if (error := standard_error(one)) is not None]
    return replace(
        parts[0],
        mean_seconds=sum(one.mean for one in parts),
        std_seconds=math.hypot(*errors) if errors else None,
        n=1,
    )


def _is_longer(one: Observation, other: Observation, share: float) -> bool:
    return one.mean > other.mean and differ(one, other, share)


def _work(observed: Observed) -> Iterator[Finding]:
    """Yield the nearest pairs in which more work took noticeably less time."""
    for group in grouped(usable(observed), *_WORK, *SIZE_FIELDS):
        for one, faster in _larger_and_faster(group):
            other = next((other for other in faster if differ(one, other, _NOTICEABLE)), None)
            if other:
                yield Finding(
                    kind="work",
                    claim="more_work_less_time",
                    subject=cell(one),
                    numbers={
                        "phase": one.phase,
                        "less_name": one.config.name,
                        "less_seconds": one.mean,
                        "more_name": other.config.name,
                        "more_seconds": other.mean,
                    },
                    evidence=sources([one, other]),
                    strength=Strength.MEASURED,
                    severity=Severity.WARNING,
                    advice="mind_the_order",
                    command=step_command(one.config, one.phase),
                )


def _larger_and_faster(group: tuple[Observation, ...]) -> Iterator[tuple[Observation, Iterator[Observation]]]:
    """Yield each observation with those of more work and noticeably less time, the fastest first.

    A group of a large store has thousands, so whole columns are compared at once.
    """
    ordered = sorted(group, key=lambda one: one.mean)
    means = np.array([one.mean for one in ordered])
    work = np.array([[getattr(one.config, name) or _NOT_SAID for name in _WORK] for one in ordered])
    for place, one in enumerate(ordered):
        faster = int(np.searchsorted(means, one.mean / (1 + _NOTICEABLE)))
        more = np.flatnonzero((work[:faster] >= work[place]).all(axis=1))
        if len(more):
            larger = [ordered[at] for at in cast("list[int]", more.tolist())]
            yield one, (other for other in larger if _is_more(other.config, one.config))


_NOT_SAID = -1


def judge_ends(observed: Observed) -> Iterator[Finding]:
    """Yield where memory ends, phase by phase, or that it does so out of order."""
    for phase in observed.phases():
        failed = [one for one in observed.times if one.phase == phase and one.state == "out of memory"]
        fits = (*observed.memory, *observed.valid()) if phase == MEMORY else observed.valid(phase)
        broken = [
            (one, other)
            for one in failed
            for other in fits
            if one.series == other.series and _is_more(other.config, one.config, alone=True)
        ]
        for one, other in broken[:1]:
            yield Finding(
                kind="out_of_memory",
                claim="memory_not_monotone",
                subject=phase,
                numbers={
                    "phase": phase,
                    "failed": one.config.name,
                    "fits": other.config.name,
                    "count": len(broken),
                },
                evidence=tuple(dict.fromkeys((one.source, other.source))),
                strength=Strength.MEASURED,
                severity=Severity.ERROR,
                advice="fresh_process_each",
                command=memory_command(one.config),
            )
        if failed and not broken:
            yield Finding(
                kind="out_of_memory",
                claim="memory_ends",
                subject=phase,
                numbers={"phase": phase, "count": len(failed), "names": tuple(one.config.name for one in failed)},
                evidence=sources(failed),
                strength=Strength.MEASURED,
                advice="capacity_decides",
                command=memory_command(failed[0].config),
            )


def _is_more(a: Configuration, b: Configuration, *, alone: bool = False) -> bool:
    """Whether `a` has at least the work of `b` in each respect and more in one, all else equal."""
    sizes = [(getattr(a, name), getattr(b, name)) for name in _WORK]
    if any((x is None) != (y is None) for x, y in sizes):
        return False
    known = [(x, y) for x, y in sizes if x is not None]
    names = (*_WORK, *SIZE_FIELDS)
    if alone and a.without(*names) != b.without(*names):
        return False
    return bool(known) and all(x >= y for x, y in known) and any(x > y for x, y in known)
