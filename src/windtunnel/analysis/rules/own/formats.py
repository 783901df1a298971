"""What looks at number formats found: overflow, gradients that are lost, and how far numbers are off."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Severity, Strength
from windtunnel.analysis.measured import KEY_LENGTH, Measured
from windtunnel.analysis.number_formats import shares_of, typical_error
from windtunnel.analysis.rules.own.commands import precision_of
from windtunnel.records.precision_look import Numerics
from windtunnel.spec.cell import Cell

_NOTABLE = 1e-3
"""From this share of lost gradient elements on a look is worth a warning."""


def judge_formats(measured: Measured) -> Iterator[Finding]:
    """Yield of each look the operations that overflowed, and the errors of its numbers."""
    for stored in measured.precision_looks:
        cell, evidence = stored.look.request.cell, f"formats {stored.key[:KEY_LENGTH]}"
        name = measured.cell_name(cell)
        if stored.look.formats and stored.look.formats.overflows:
            first = stored.look.formats.overflows[0]
            yield Finding(
                kind="overflow",
                claim="operations_overflow",
                subject=evidence,
                numbers={
                    "name": name,
                    "count": stored.look.formats.num_overflows,
                    "operation": first.operation,
                    "module": first.module,
                    "phase": first.phase,
                    "dtype": first.dtype,
                },
                evidence=(evidence,),
                strength=Strength.MEASURED,
                severity=Severity.WARNING,
                rules_out=("numbers_are_finite",),
                advice="use_more_range",
                command=precision_of(cell.model_copy(update={"precision": "bf16"})),
            )
        if stored.look.numerics:
            yield from _errors(name, evidence, cell, stored.look.numerics)


def _errors(name: str, evidence: str, cell: Cell, numerics: Numerics) -> Iterator[Finding]:
    run = numerics.runs[0]
    typical, shares = typical_error(run), shares_of(run)
    logits = run.logits.relative_error
    if typical is None or logits is None or shares is None:
        return
    lost = shares.zeros + shares.subnormal + shares.not_finite
    numbers: dict[str, Number] = {
        "name": name,
        "precision": cell.precision,
        "reference": numerics.reference,
        "logits": logits,
        "gradients": typical,
        "lost": lost,
    }
    yield Finding(
        kind="errors",
        claim="gradients_are_lost" if lost >= _NOTABLE else "numbers_are_off",
        subject=evidence,
        numbers=numbers,
        evidence=(evidence,),
        strength=Strength.MEASURED,
        severity=Severity.WARNING if lost >= _NOTABLE else Severity.NOTE,
        advice="scale_the_loss" if lost >= _NOTABLE else None,
        command=precision_of(cell) if lost >= _NOTABLE else None,
    )
