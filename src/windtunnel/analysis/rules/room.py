"""Memory that a table prints: matrices held by attention alone, order, and the floor below which no step can be."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Configuration, Held, Observed
from windtunnel.analysis.published.precisions import precision_of
from windtunnel.analysis.rules.commands import memory_command

_FP32_BYTES = 4
_HALF_BYTES = 2
_TENSORS = 4
"""Q, K, V and O, which grow with the length, not with its square."""
_ROUNDING = 0.02
_PEAK = re.compile(r"peak|max|reserved|峰值", re.IGNORECASE)
"""What a column is called that holds all of the memory."""


def judge_memory(observed: Observed) -> Iterator[Finding]:
    """Yield what the memory columns say."""
    for name in dict.fromkeys(one.name for one in observed.memory):
        held = [one for one in observed.memory if one.name == name]
        yield from _matrices(name, held)
        yield from _falls(name, held)
        yield from _under_floor(name, held)


def _matrices(name: str, held: list[Held]) -> Iterator[Finding]:
    """Yield how many S x S matrices are held, from what is added between the two longest lengths of each width."""
    found: list[tuple[float, Held, Held]] = []
    for group in _along(held, "context_length"):
        if len(group) < 2 or not group[-1].config.is_attention or group[-1].config.batch_size is None:
            continue
        before, after = group[-2:]
        matrix = _square(after.config) - _square(before.config)
        linear = _inputs(after.config) - _inputs(before.config)
        found.append(((after.num_bytes - before.num_bytes - linear) / matrix, before, after))
    if not found:
        return
    values = [value for value, _, _ in found]
    _, _, last = found[-1]
    yield Finding(
        kind="matrices",
        claim="score_matrices_held",
        subject=name,
        numbers={
            "name": name,
            "low": min(values),
            "high": max(values),
            "matrix_bytes": _square(last.config),
            "batch": last.config.batch_size or 0,
            "length": last.config.context_length or 0,
            "count": len(found),
        },
        evidence=tuple(dict.fromkeys(one.source for _, *pair in found for one in pair)),
        strength=Strength.INFERRED,
        rules_out=("one_score_matrix",) if min(values) > 1.5 else (),
        advice="name_the_memory",
        command=memory_command(last.config),
    )


def _square(config: Configuration) -> float:
    return (config.batch_size or 0) * (config.context_length or 0) ** 2 * _element_bytes(config)


def _inputs(config: Configuration) -> float:
    tokens = (config.batch_size or 0) * (config.context_length or 0)
    return _TENSORS * tokens * (config.d_model or 0) * _element_bytes(config)


def _element_bytes(config: Configuration) -> int:
    return _HALF_BYTES if precision_of(config.precision or "") in {"bf16", "fp16", "bf16-pure"} else _FP32_BYTES


def _falls(name: str, held: list[Held]) -> Iterator[Finding]:
    for axis in ("context_length", "batch_size"):
        for group in _along(held, axis):
            for before, after in itertools.pairwise(group):
                if after.num_bytes < before.num_bytes * (1 - _ROUNDING):
                    yield Finding(
                        kind="memory_order",
                        claim="memory_falls",
                        subject=f"{name}, {before.config.name}, {before.source}, {axis}",
                        numbers={
                            "name": name,
                            "less_name": before.config.name,
                            "less_bytes": before.num_bytes,
                            "more_name": after.config.name,
                            "more_bytes": after.num_bytes,
                        },
                        evidence=(before.source, after.source),
                        strength=Strength.MEASURED,
                        severity=Severity.WARNING,
                        advice="fresh_process_each",
                        command=memory_command(before.config),
                    )


def _under_floor(name: str, held: list[Held]) -> Iterator[Finding]:
    """Yield the cells that hold less than their own weights in two bytes each."""
    for one in held:
        parameters = one.config.parameters() if _PEAK.search(name) else None  # an increment has no floor
        if parameters and one.num_bytes < _HALF_BYTES * parameters * (1 - _ROUNDING):
            yield Finding(
                kind="memory_floor",
                claim="memory_under_floor",
                subject=f"{name}, {one.config.name}, {one.source}",
                numbers={
                    "name": name,
                    "what": one.config.name,
                    "bytes": one.num_bytes,
                    "floor_bytes": _HALF_BYTES * parameters,
                },
                evidence=(one.source,),
                strength=Strength.INFERRED,
                severity=Severity.ERROR,
                advice="check_what_was_declared",
                command=memory_command(one.config),
            )


def _along(held: list[Held], axis: str) -> Iterator[list[Held]]:
    """Yield the cells that differ in one axis only, in its order."""
    groups: dict[tuple[int, Configuration], list[Held]] = {}
    for one in held:
        if getattr(one.config, axis) is not None:
            groups.setdefault((one.series, replace(one.config, **{axis: None})), []).append(one)
    for group in groups.values():
        first = {getattr(one.config, axis): one for one in reversed(group)}  # of one printed twice the first counts
        yield [first[place] for place in sorted(first)]
