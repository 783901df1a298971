"""Whether the device's clock was held down while steps were timed; of a GPU whose clock nobody read this is open."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.measured import Measured, evidence_of


def judge_clock(measured: Measured) -> Iterator[Finding]:
    """Yield the cells that were throttled; or, of a GPU, that nobody can tell."""
    seen = {row: row.conditions for row in measured.timed if row.conditions}
    held = {
        row: max(one.throttled_share or 0.0 for one in conditions)
        for row, conditions in seen.items()
        if any(one.is_throttled for one in conditions)
    }
    if held:
        worst = max(held, key=held.__getitem__)
        reasons = [name for one in seen[worst] for name, _ in one.reasons]
        yield Finding(
            kind="clock",
            claim="clock_held_down" if reasons else "clock_low",
            subject="clock",
            numbers={
                "count": len(held),
                "of": len(seen),
                "name": measured.name(worst),
                "reasons": tuple(dict.fromkeys(reasons)),
                "share": held[worst],
            },
            evidence=evidence_of(worst, *held),
            strength=Strength.MEASURED,
            severity=Severity.WARNING,
            rules_out=("clock_was_free",),
            advice="hold_the_clock",
            command="windtunnel doctor",
        )
    unread = [row for row in measured.timed if row not in seen and row.cell.device != "cpu"]
    if unread:
        yield Finding(
            kind="clock_readings",
            claim="clock_not_read",
            subject="clock",
            numbers={"count": len(unread), "of": len(measured.timed), "name": measured.name(unread[0])},
            evidence=evidence_of(*unread),
            strength=Strength.NOT_MEASURED,
            command="windtunnel doctor",
        )
