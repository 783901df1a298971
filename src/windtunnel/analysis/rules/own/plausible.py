"""What cannot be: a part above its whole, a rate above the ceiling, memory that falls or is under its floor."""

import itertools
from collections.abc import Iterator

from windtunnel.analysis.comparisons import grid_point, matched, ratio_span
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of, seconds_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.own.commands import memory_of, step_of
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

_WHOLES = (
    ("forward", "forward_backward"),
    ("forward_backward", "train_step"),
    ("forward", "train_step"),
    ("attention_forward", "attention_forward_backward"),
)
_MOST_OF_CEILING = 1.02
"""Above this a rate is not a fast cell but a fault: the ceiling itself is known to a percent or two."""
_ROUNDING = 0.02


def judge_plausible(measured: Measured) -> Iterator[Finding]:
    """Yield each impossibility as an error; a peak that falls as a warning."""
    yield from _workloads(measured)
    yield from _above_ceiling(measured)
    if not any(row.cell.device == "cpu" for row in measured.rows):  # there a peak is that of a process, not of a cell
        yield from _falling(measured)
        yield from _under_floor(measured)


def _workloads(measured: Measured) -> Iterator[Finding]:
    for part, whole in _WHOLES:
        parts, wholes = ([row for row in measured.warm if row.cell.workload == name] for name in (part, whole))
        for one, other in matched(parts, wholes, but_for=("workload",)):
            span = ratio_span(one.estimate(), other.estimate())
            if span and span[0] > 1:
                yield Finding(
                    kind="phases",
                    claim="part_over_whole_here",
                    subject=f"{part} of {measured.name(other)}",
                    numbers={
                        "part": part,
                        "whole": whole,
                        "name": measured.name(other),
                        "part_seconds": seconds_of(one),
                        "whole_seconds": seconds_of(other),
                    },
                    evidence=evidence_of(one, other),
                    strength=Strength.MEASURED,
                    severity=Severity.ERROR,
                    advice="mind_the_order",
                    command=step_of(other.cell, "--processes", "5"),
                )


def _above_ceiling(measured: Measured) -> Iterator[Finding]:
    above = {row: share for row in measured.warm if (share := row.ceiling_fraction()) and share > _MOST_OF_CEILING}
    if above:
        worst = max(above, key=above.__getitem__)
        yield Finding(
            kind="ceiling_order",
            claim="rate_over_ceiling",
            subject="steps",
            numbers={
                "name": measured.name(worst),
                "rate": worst.flops_per_second() or 0.0,
                "ceiling": worst.ceiling_flops_per_second or 0.0,
                "share": above[worst],
                "count": len(above),
            },
            evidence=evidence_of(worst, *above),
            strength=Strength.INFERRED,
            severity=Severity.ERROR,
            advice="calibrate_again",
            command="windtunnel calibrate",
        )


def _falling(measured: Measured) -> Iterator[Finding]:
    for axis in ("context_length", "batch_size"):
        groups: dict[object, list[Row]] = {}
        for row in measured.timed:
            if row.peak_bytes:
                groups.setdefault(grid_point(row, without=(axis,)), []).append(row)
        for group in groups.values():
            for less, more in itertools.pairwise(sorted(group, key=lambda row: getattr(row.cell, axis))):
                if (more.peak_bytes or 0) < (less.peak_bytes or 0) * (1 - _ROUNDING):
                    yield Finding(
                        kind="memory_falls",
                        claim="memory_falls",
                        subject=f"{measured.name(less)}, {axis}",
                        numbers={
                            "name": "peak memory",
                            "less_name": measured.name(less),
                            "less_bytes": less.peak_bytes or 0,
                            "more_name": measured.name(more),
                            "more_bytes": more.peak_bytes or 0,
                        },
                        evidence=evidence_of(less, more),
                        strength=Strength.MEASURED,
                        severity=Severity.WARNING,
                        advice="fresh_process_each",
                        command=memory_of(less.cell),
                    )


def _under_floor(measured: Measured) -> Iterator[Finding]:
    """Yield the cells whose peak is less than their own weights take, if any, by the one that lacks most."""
    under = {row: peak / floor for row in measured.timed if (peak := row.peak_bytes) and (floor := _weights(row))}
    under = {row: share for row, share in under.items() if share < 1 - _ROUNDING}
    if under:
        worst = min(under, key=under.__getitem__)
        yield Finding(
            kind="memory_floor",
            claim="peak_under_floor",
            subject="peaks",
            numbers={
                "name": measured.name(worst),
                "bytes": worst.peak_bytes or 0,
                "floor_bytes": _weights(worst),
                "count": len(under),
            },
            evidence=evidence_of(worst, *under),
            strength=Strength.INFERRED,
            severity=Severity.ERROR,
            advice="check_what_was_declared",
            command=memory_of(worst.cell),
        )


def _weights(row: Row) -> int:
    return DTYPE_BYTES[PRECISIONS[row.cell.precision].weights] * (row.record.parameters or 0)
