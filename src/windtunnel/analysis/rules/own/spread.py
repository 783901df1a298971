"""How well medians are known: the range of their intervals, and which have none."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.labels import SMALLEST_EFFECT
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.rules.own.commands import step_of


def judge_spread(measured: Measured) -> Iterator[Finding]:
    """Yield how well the medians of warm cells are known, and how to know the loosest better."""
    widths = {row: width for row in measured.warm if (width := _width(row)) is not None}
    loose = [row for row in measured.warm if row not in widths or widths[row] > (row.plan.target or SMALLEST_EFFECT)]
    if widths:
        yield _known(measured, widths, loose)
    elif measured.warm:
        yield Finding(
            kind="spread",
            claim="no_median_is_known",
            subject="medians",
            numbers={"count": len(measured.warm), "n": len(measured.warm[0].samples())},
            evidence=evidence_of(measured.warm[0]),
            strength=Strength.NOT_MEASURED,
            command=step_of(measured.warm[0].cell, "--target", "1%"),
        )


def _known(measured: Measured, widths: dict[Row, float], loose: list[Row]) -> Finding:
    least, most = min(widths, key=widths.__getitem__), max(widths, key=widths.__getitem__)
    numbers: dict[str, Number] = {
        "low": widths[least],
        "low_name": measured.name(least),
        "high": widths[most],
        "high_name": measured.name(most),
        "count": len(measured.warm),
        "loose": len(loose),
        "limit": SMALLEST_EFFECT,
    }
    claim = "one_median_is_known" if len(widths) == 1 else "medians_are_known"
    has_others = len(measured.warm) > 1
    return Finding(
        kind="spread",
        claim=f"{claim}_not_all" if loose and has_others else claim,
        subject="medians",
        numbers=numbers,
        evidence=evidence_of(least, most, *loose),
        strength=Strength.MEASURED,
        advice="sample_to_target" if loose else None,
        command=step_of(loose[0].cell, "--target", "1%") if loose else None,
    )


def _width(row: Row) -> float | None:
    estimate = row.estimate()
    return estimate.relative_half_width if estimate else None
