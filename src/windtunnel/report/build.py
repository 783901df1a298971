"""The table of sections, and the document that they make."""

from collections.abc import Callable
from dataclasses import replace

from windtunnel.analysis.results import Results
from windtunnel.report.document import Document, Paragraph, Section
from windtunnel.report.scope import Scope, scopes_of
from windtunnel.report.sections.charts import charts
from windtunnel.report.sections.cold import cold
from windtunnel.report.sections.compare import compare
from windtunnel.report.sections.conditions import conditions
from windtunnel.report.sections.failures import failures
from windtunnel.report.sections.grid import grid
from windtunnel.report.sections.ledger import ledger
from windtunnel.report.sections.machine import machine
from windtunnel.report.sections.method import method
from windtunnel.report.sections.noise import noise
from windtunnel.report.sections.overview import overview
from windtunnel.report.sections.phases import phases
from windtunnel.report.sections.processes import processes
from windtunnel.report.sections.ratio import ratio
from windtunnel.report.sections.sizes import sizes
from windtunnel.report.sections.warnings import warnings

SECTIONS: tuple[Callable[[Scope], Section | None], ...] = (
    overview,
    charts,
    compare,
    grid,
    processes,
    ratio,
    phases,
    ledger,
    cold,
    sizes,
    failures,
    warnings,
    noise,
    conditions,
    method,
    machine,
)
"""Every section in its order; one with nothing to say returns None."""


def build_document(results: Results, *, title: str | None = None) -> Document:
    """Return the report of `results`: all sections of one machine, then all of the next.

    Rows of different machines never share a table; with several machines every heading names its own.
    """
    scopes = scopes_of(results)
    sections = [
        section if len(scopes) == 1 else replace(section, heading=f"{section.heading}, {scope.name}")
        for scope in scopes
        for make in (SECTIONS if scope.rows else (compare,))
        if (section := make(scope))
    ]
    if not scopes:
        sections = [Section(heading="Overview", blocks=(Paragraph(text="The store holds no results."),))]
    return Document(title=title or _title(scopes), sections=tuple(sections))


def _title(scopes: tuple[Scope, ...]) -> str:
    if not scopes:
        return "No results"
    sweep = next((name for scope in scopes for run in scope.runs[-1:] if (name := run.sweep.get("name"))), "")
    where = " and ".join(scope.name for scope in scopes) if len(scopes) < 3 else f"{len(scopes)} machines"
    what = "Step times" if any(scope.rows for scope in scopes) else "Comparisons"
    return f"{sweep or what} on {where}"
