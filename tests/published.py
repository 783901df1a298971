"""Published tables for tests: those of the five reports, and short ways to read and to audit."""

from pathlib import Path

from windtunnel.analysis.audit import audit
from windtunnel.analysis.finding import Finding
from windtunnel.analysis.published.entries import Declared
from windtunnel.analysis.published.read import Published, parse_published

FOLDER = Path(__file__).parent / "data" / "published"
SEEDS = ("seed-000", "seed-001", "seed-002", "seed-003", "seed-004")
NOTHING = Declared()


def seed_text(name: str) -> str:
    """Return the tables of a published report, numbers and headings as they were printed."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def read(text: str, declared: Declared = NOTHING) -> Published:
    """Read the tables of a text."""
    return parse_published(text, declared)


def findings_of(text: str, declared: Declared = NOTHING) -> tuple[Finding, ...]:
    """Audit the tables of a text."""
    return audit(read(text, declared).observed)


def the(findings: tuple[Finding, ...], claim: str, subject: str = "") -> Finding:
    """Return the one finding with this claim whose subject begins so."""
    found = [one for one in findings if one.claim == claim and one.subject.startswith(subject)]
    assert len(found) == 1, [(one.claim, one.subject) for one in findings]
    return found[0]


def contradicted(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    """Return every reading that is contradicted, with what it is about."""
    return {(name, one.subject) for one in findings for name in one.rules_out}


def markdown(headings: list[str], rows: list[list[object]]) -> str:
    """Return a table as Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
