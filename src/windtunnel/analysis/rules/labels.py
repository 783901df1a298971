"""What is wrong with a table itself, and what it does not state though its numbers mean nothing without."""

from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Observed
from windtunnel.analysis.published.entries import UNNAMED
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.screening import sources

_READINGS = {
    "column_lost": ("rows_are_configurations",),
    "averages_unlike_cells": ("average_describes_cells",),
    "describes_unlike_cells": ("average_describes_cells",),
}
"""What a defect rules out."""


def judge_labels(observed: Observed) -> Iterator[Finding]:
    """Yield each defect, and the list of what is not stated."""
    for defect in observed.defects:
        yield Finding(
            kind="table",
            claim=defect.claim,
            subject=defect.subject,
            numbers=dict(defect.numbers),
            evidence=defect.sources,
            strength=Strength.MEASURED,
            severity=Severity.WARNING,
            rules_out=_READINGS.get(defect.claim, ()),
        )
    times = observed.valid()
    if not times:
        return
    if told := observed.valid("communication"):
        yield Finding(
            kind="share",
            claim="communication_not_told_apart",
            subject="communication",
            evidence=sources(told),
            strength=Strength.NOT_MEASURED,
            command="windtunnel predict --size small --mode train_step --parallel ddp --world-size 2",
        )
    missing = [
        name
        for name, is_missing in (
            ("gpu", all(one.config.gpu is None for one in times)),
            ("precision", all(one.config.precision is None for one in times)),
            ("batch", all(one.config.batch_size is None for one in times)),
            ("context", all(one.config.context_length is None for one in times)),
            ("samples", all(one.n is None for one in times)),
            ("warmup", all(one.config.warmup is None for one in times)),
            ("phase", any(one.phase == UNNAMED for one in times)),
            ("deviation", all(one.std_seconds is None for one in times)),
        )
        if is_missing
    ]
    yield Finding(
        kind="statement",
        claim="not_stated",
        subject="the tables",
        numbers={"missing": (*missing, "region", "clock")},
        evidence=sources(times[:1]),
        strength=Strength.NOT_MEASURED,
        command=step_command(times[0].config),
    )
