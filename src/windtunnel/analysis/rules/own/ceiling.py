"""How far steps are from what the machine can do: of its calibration where it has one, else of its datasheet."""

from collections.abc import Iterator, Mapping

from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.results import Row


def judge_ceiling(measured: Measured) -> Iterator[Finding]:
    """Yield the range of what cells reach; nothing where neither is known of the device."""
    calibrated = {row: share for row in measured.warm if (share := row.ceiling_fraction())}
    datasheet = {row: share for row in measured.warm if (share := row.peak_fraction())}
    if calibrated:
        yield _finding(measured, calibrated, "calibration")
    elif datasheet:
        yield _finding(measured, datasheet, "datasheet")
    elif any(row.flops() for row in measured.warm) and measured.heaviest:
        yield Finding(
            kind="ceiling",
            claim="ceiling_not_measured",
            subject="steps",
            evidence=evidence_of(measured.heaviest),
            strength=Strength.NOT_MEASURED,
            command=f"windtunnel calibrate{' --device cpu' if measured.heaviest.cell.device == 'cpu' else ''}",
        )


def _finding(measured: Measured, shares: Mapping[Row, float], source: str) -> Finding:
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    ceiling = most.ceiling_flops_per_second if source == "calibration" else most.peak_flops_per_second
    return Finding(
        kind="ceiling",
        claim=f"of_{source}" if len(shares) == 1 else f"of_{source}_range",
        subject="steps",
        numbers={
            "name": measured.name(most),
            "rate": most.flops_per_second() or 0.0,
            "precision": most.cell.precision,
            "ceiling": ceiling or 0.0,
            "high": shares[most],
            "high_name": measured.name(most),
            "low": shares[least],
            "low_name": measured.name(least),
            "count": len(shares),
        },
        evidence=evidence_of(least, most),
        strength=Strength.MEASURED if source == "calibration" else Strength.INFERRED,
    )
