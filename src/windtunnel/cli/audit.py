"""`windtunnel audit`: a table that somebody published, read and judged by the rules of our own reports."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from windtunnel.analysis.audit import audit
from windtunnel.analysis.finding import Finding, Severity
from windtunnel.analysis.published.entries import Declared
from windtunnel.analysis.published.read import Published, read_published
from windtunnel.analysis.published.values import SECONDS
from windtunnel.cli import EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.reporting import Language
from windtunnel.cost.devices import ALIASES
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import ENGLISH, writing_in
from windtunnel.report.audit import build_audit
from windtunnel.report.terminal import render_terminal
from windtunnel.report.wording import ruled_out, sentence
from windtunnel.spec.tables import PRECISIONS

_SAID = "What the table does not say itself"


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Markdown, text, CSV or TSV with one table or more.")],
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="NAME", rich_help_panel=_SAID, help=f"Measured on: {', '.join(ALIASES)}."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", metavar="NAME", rich_help_panel=_SAID, help=f"In: {', '.join(PRECISIONS)}."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, metavar="N", rich_help_panel=_SAID, help="Sequences of a step.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", min=1, metavar="N", rich_help_panel=_SAID, help="Tokens of each sequence."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, metavar="N", rich_help_panel=_SAID, help="Samples behind each mean."),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option("--unit", metavar="UNIT", rich_help_panel=_SAID, help="Of times without one: s, ms, us."),
    ] = None,
    language: Language = ENGLISH,
    json_: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Audit a published table: what it was understood to say, and what its numbers support, contradict and leave open.

    The rules need means and standard deviations only. What a table does not state can be given by options, which never
    overrule the table. A cause is never claimed: what was not measured comes with the command that would. Ends with 1
    where a number cannot be true as declared.

    [bold]Examples[/]

    windtunnel audit results.md

    windtunnel audit results.md --gpu h100 --precision fp32 --batch 4 --context 512 --steps 10

    windtunnel audit times.csv --unit ms --json
    """
    if precision is not None and precision not in PRECISIONS:
        raise SpecError(unknown_name("precision", precision, PRECISIONS))
    if unit is not None and unit not in SECONDS:
        raise SpecError(unknown_name("unit", unit, ("s", "ms", "us", "ns")))
    declared = Declared(gpu=gpu, precision=precision, batch_size=batch, context_length=context, steps=steps, unit=unit)
    with writing_in(language):
        published = read_published(file, declared)
        findings = audit(published.observed)
        if json_:
            typer.echo(json.dumps(_as_json(published, findings), indent=2, ensure_ascii=False))
        else:
            make_console().print(render_terminal(build_audit(published, findings, file=file.name)))
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(EXIT_NO)


def _as_json(published: Published, findings: tuple[Finding, ...]) -> dict[str, object]:
    return {
        "tables": [asdict(table) for table in published.tables],
        "facts": [{"line": line, "name": name, "value": value} for line, name, value in published.facts],
        "unread": [asdict(one) for one in published.unread],
        "findings": [
            {
                **asdict(finding),
                "text": sentence(finding),
                "contradicts": list(ruled_out(finding)),
            }
            for finding in findings
        ],
    }
