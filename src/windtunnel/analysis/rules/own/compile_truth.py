"""Whether what was asked for is what ran: compiled code, and the attention by name; and what compiling took."""

from collections.abc import Iterator

from windtunnel.analysis.comparisons import cold_cause
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.kernels import verdict_of
from windtunnel.analysis.measured import Measured, evidence_of
from windtunnel.analysis.rules.own.commands import profile_of
from windtunnel.records.record import ColdCause


def judge_compile(measured: Measured) -> Iterator[Finding]:
    """Yield cells that ran other code than was asked for, compiled cells of which nobody looked, and compile times."""
    verdicts = {row: verdict for row in measured.timed if (verdict := verdict_of(row))}
    wrong = [row for row, verdict in verdicts.items() if not verdict.is_as_asked]
    if wrong:
        yield Finding(
            kind="ran",
            claim="ran_something_else",
            subject="kernels",
            numbers={
                "count": len(wrong),
                "of": len(verdicts),
                "name": measured.name(wrong[0]),
                "said": verdicts[wrong[0]].sentence,
            },
            evidence=evidence_of(*wrong),
            strength=Strength.MEASURED,
            severity=Severity.WARNING,
            rules_out=("asked_is_what_ran",),
            advice="look_at_kernels",
            command=profile_of(wrong[0].cell),
        )
    elif verdicts:
        yield Finding(
            kind="ran",
            claim="ran_as_asked",
            subject="kernels",
            numbers={"count": len(verdicts)},
            evidence=evidence_of(*verdicts),
            strength=Strength.MEASURED,
        )
    yield from _compiled(measured)


def _compiled(measured: Measured) -> Iterator[Finding]:
    compiled = [row for row in measured.timed if row.cell.compile != "off"]
    unseen = [row for row in compiled if verdict_of(row) is None]
    if unseen:
        yield Finding(
            kind="compiled",
            claim="compiled_not_looked_at",
            subject="compiled cells",
            numbers={"count": len(unseen), "name": measured.name(unseen[0])},
            evidence=evidence_of(*unseen),
            strength=Strength.NOT_MEASURED,
            command=profile_of(unseen[0].cell),
        )
    seconds = {row: taken for row in compiled if (taken := cold_cause(row, ColdCause.COMPILE)) is not None}
    if seconds:
        most = max(seconds, key=seconds.__getitem__)
        yield Finding(
            kind="compile_time",
            claim="compiling_takes" if len(seconds) > 1 else "compiling_one_takes",
            subject="compiled cells",
            numbers={
                "count": len(seconds),
                "low_seconds": min(seconds.values()),
                "high_seconds": seconds[most],
                "name": measured.name(most),
            },
            evidence=evidence_of(*seconds),
            strength=Strength.MEASURED,
        )
