"""Advice that can be tested by a comparison: the cells that its command compares, and what stored pairs say of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from windtunnel.analysis.finding import Finding
from windtunnel.analysis.pairs import Compared, effects_of
from windtunnel.records.store import StoredComparison
from windtunnel.spec.cell import Task
from windtunnel.spec.flag_text import sides_of
from windtunnel.spec.sides import match_sides
from windtunnel.spec.sweep import make_sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A finding whose command compares, and the cells of A and B that it compares: several where they are a grid."""

    finding: Finding
    pairs: tuple[tuple[Task, Task], ...]

    @property
    def command(self) -> str:
        """The command, which is there."""
        assert self.finding.command is not None
        return self.finding.command


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the pairs of an advice say, one for each pair of cells that was compared."""

    advice: Advice
    compared: tuple[Compared, ...]

    @property
    def is_complete(self) -> bool:
        """Whether each pair of cells was compared."""
        return len(self.compared) == len(self.advice.pairs)


def advised_by(findings: Iterable[Finding], device: str) -> tuple[Advice, ...]:
    """Return what findings advise to compare on a device, in their order; a command stands once, whoever has it.

    Raises:
        SpecError: A command asks for what cannot be compared, so a rule is wrong.
    """
    found: dict[str, Advice] = {}
    for finding in findings:
        if one := advice_of(finding, device):
            found.setdefault(one.command, one)
    return tuple(found.values())


def advice_of(finding: Finding, device: str) -> Advice | None:
    """Return what a finding advises to compare on a device; None where its command, if any, does something else.

    Raises:
        SpecError: The command asks for what cannot be compared, so a rule is wrong.
    """
    sides = sides_of(finding.command) if finding.command else None
    if sides is None:
        return None
    a, b = (make_sweep(side) for side in sides)
    return Advice(finding=finding, pairs=match_sides(a, b, device))


def outcome_of(advice: Advice, comparisons: Sequence[StoredComparison]) -> Outcome | None:
    """Return what stored comparisons of one machine say of an advice, the latest of each; None where none does.

    They are known by the cells that they compared, whoever asked for them.
    """
    latest = {(one.record.a.task.cell, one.record.b.task.cell): one for one in comparisons}
    found = [latest[a.cell, b.cell] for a, b in advice.pairs if (a.cell, b.cell) in latest]
    if not found:
        return None
    return Outcome(advice=advice, compared=tuple(Compared(stored=one, effects=effects_of(one.record)) for one in found))
