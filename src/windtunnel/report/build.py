"""The table of sections, and the document that they make."""

from collections.abc import Callable
from dataclasses import replace

from windtunnel.analysis.claims import ScopeClaims, digests_of, ledger_text
from windtunnel.analysis.judge import judge
from windtunnel.analysis.results import Results
from windtunnel.language import counted, current_language, say, word, writing_in
from windtunnel.report.anchors import with_anchors
from windtunnel.report.document import Document, Paragraph, Section
from windtunnel.report.judged import measured_of
from windtunnel.report.scope import Scope, scopes_of
from windtunnel.report.sections.advice import advice
from windtunnel.report.sections.attention.backends import backends, backends_by_phase
from windtunnel.report.sections.attention.charts import attention_charts
from windtunnel.report.sections.attention.errors import errors, every_error
from windtunnel.report.sections.attention.frontier import frontier
from windtunnel.report.sections.attention.kernels import kernels
from windtunnel.report.sections.attention.memory import memory
from windtunnel.report.sections.attention.rates import rates
from windtunnel.report.sections.attention.results import results as attention_results
from windtunnel.report.sections.charts import charts
from windtunnel.report.sections.checkpoints import checkpoints
from windtunnel.report.sections.cold import cold
from windtunnel.report.sections.compare import compare
from windtunnel.report.sections.conditions import conditions
from windtunnel.report.sections.failures import failures
from windtunnel.report.sections.findings import answer, findings, first_change, not_measured
from windtunnel.report.sections.fit import fit, probes
from windtunnel.report.sections.grid import grid
from windtunnel.report.sections.history import history
from windtunnel.report.sections.ledger import ledger
from windtunnel.report.sections.machine import machine
from windtunnel.report.sections.memory.ledger import memory_ledger
from windtunnel.report.sections.method import method
from windtunnel.report.sections.noise import noise
from windtunnel.report.sections.overview import overview
from windtunnel.report.sections.phases import phases
from windtunnel.report.sections.precision.section import precision, precision_operations
from windtunnel.report.sections.predictions import predictions, predictions_by_phase
from windtunnel.report.sections.processes import processes
from windtunnel.report.sections.profile.profiles import profiles
from windtunnel.report.sections.ratio import ratio
from windtunnel.report.sections.sizes import sizes
from windtunnel.report.sections.tune import tune
from windtunnel.report.sections.warnings import warnings

SECTIONS: tuple[Callable[[Scope], Section | None], ...] = (
    overview,
    answer,
    first_change,
    findings,
    charts,
    tune,
    advice,
    compare,
    checkpoints,
    grid,
    processes,
    history,
    ratio,
    phases,
    ledger,
    predictions,
    memory_ledger,
    precision,
    precision_operations,
    profiles,
    cold,
    sizes,
    not_measured,
    failures,
    warnings,
    noise,
    predictions_by_phase,
    conditions,
    method,
    machine,
)
"""Every section of steps of models in its order; one with nothing to say returns None."""

ATTENTION_SECTIONS: tuple[Callable[[Scope], Section | None], ...] = (
    overview,
    answer,
    first_change,
    findings,
    attention_charts,
    compare,
    backends,
    attention_results,
    rates,
    memory,
    predictions,
    frontier,
    errors,
    kernels,
    processes,
    history,
    cold,
    not_measured,
    failures,
    warnings,
    noise,
    backends_by_phase,
    every_error,
    predictions_by_phase,
    conditions,
    method,
    machine,
)
"""The same of attention alone."""

FIT_SECTIONS: tuple[Callable[[Scope], Section | None], ...] = (fit, probes, warnings, machine)
"""The same of probes of what fits, of either kind: they have no times."""


def build_document(results: Results, *, title: str | None = None, language: str | None = None) -> Document:
    """Return the report of `results`: all sections of one scope, then all of the next.

    Rows of different machines never share a table, nor do steps of models and attention alone; with several scopes
    every heading names its own. Without a `language` it is in the one of now, which is English unless it was changed.

    Raises:
        SpecError: The language is not known.
    """
    with writing_in(language or current_language()):
        return _build(results, title)


def _build(results: Results, title: str | None) -> Document:
    seen = [(scope, measured_of(scope)) for scope in scopes_of(results)]
    # Probes of what fits have no times, and a section of their own.
    scopes = tuple(scope if scope.is_fit else replace(scope, findings=judge(measured)) for scope, measured in seen)
    sections = [
        section
        if len(scopes) == 1
        else replace(section, heading=say("{heading}, {scope}", heading=section.heading, scope=scope.name))
        for scope in scopes
        for make in _sections_of(scope)
        if (section := make(scope))
    ]
    if not scopes:
        sections = [Section(heading=say("Overview"), blocks=(Paragraph(text=say("The store holds no results.")),))]
    claimed = [
        ScopeClaims(name=scope.name, machine=scope.machine, findings=scope.findings, records=digests_of(measured))
        for scope, (_, measured) in zip(scopes, seen, strict=True)
    ]
    claims = ledger_text(claimed, results.runs, current_language())
    return with_anchors(Document(title=title or _title(scopes), sections=tuple(sections), claims=claims))


def _sections_of(scope: Scope) -> tuple[Callable[[Scope], Section | None], ...]:
    if not scope.rows:
        return (answer, findings, compare, memory_ledger, precision, precision_operations, profiles, not_measured)
    if scope.is_fit:
        return FIT_SECTIONS
    return ATTENTION_SECTIONS if scope.is_attention else SECTIONS


def _title(scopes: tuple[Scope, ...]) -> str:
    if not scopes:
        return say("No results")
    sweep = next((name for scope in scopes for run in scope.runs[-1:] if (name := run.sweep.get("name"))), "")
    devices = tuple(dict.fromkeys(scope.device for scope in scopes))
    match devices:
        case (one,):
            where = one
        case (one, other):
            where = say("{one} and {other}", one=one, other=other)
        case _:
            where = counted(len(devices), "machine")
    kinds = {(scope.is_fit, scope.is_attention) for scope in scopes if scope.rows}
    if not kinds:
        what = _of_looks(scopes)
    elif all(is_fit for is_fit, _ in kinds):
        what = say("What fits")
    else:
        what = say("Attention times") if all(is_attention for _, is_attention in kinds) else say("Step times")
    return say("{what} on {where}", what=sweep or what, where=where)


def _of_looks(scopes: tuple[Scope, ...]) -> str:
    if any(scope.comparisons for scope in scopes):
        return say("Comparisons")
    found = {
        word("memory"): any(scope.ledgers for scope in scopes),
        say("number formats"): any(scope.precision_looks for scope in scopes),
        say("profiles"): any(scope.profiles for scope in scopes),
    }
    name, *others = (name for name, is_there in found.items() if is_there)
    for other in others:
        name = say("{one} and {other}", one=name, other=other)
    return f"{name[:1].upper()}{name[1:]}"
