"""`windtunnel gate`: did anything become slower?"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from windtunnel.analysis.gate import MISSING, Gate, judge_stores
from windtunnel.analysis.selection import choose
from windtunnel.cli import EXIT_NO
from windtunnel.cli.confirming import Confirmation, confirm
from windtunnel.cli.console import make_console
from windtunnel.cli.reporting import Language
from windtunnel.errors import SpecError, StoreError, unknown_name
from windtunnel.language import ENGLISH, writing_in
from windtunnel.report.gate import gate_document
from windtunnel.report.junit import render_junit
from windtunnel.report.markdown import render_markdown
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.quantities import parse_fraction, parse_seconds
from windtunnel.statistics.paired import Verdict
from windtunnel.sweep.launch import Place

_CONFIRM = "Measure again in pairs"


def command(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A store, or part of one: DIR@run=1, @label=…, @commit=…, @machine=…")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same of what is compared with it.")],
    margin: Annotated[
        str | None,
        typer.Option(
            "--margin",
            metavar="SHARE",
            help="A difference counts beyond this. [dim]default: 5% beyond what all cells did; of processes 2%[/]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        str, typer.Option("--false-discoveries", metavar="SHARE", help="Of all claims, how many may be false.")
    ] = "5%",
    fail_if: Annotated[
        str,
        typer.Option(
            "--fail-if",
            metavar="VERDICT,…",
            help=f"End with 1 if a cell is so: {', '.join(Verdict)}, or {MISSING} from NEW.",
        ),
    ] = Verdict.SLOWER.value,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the summary for a pull request there.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")] = None,
    language: Language = ENGLISH,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    should_confirm: Annotated[
        bool,
        typer.Option(
            "--confirm",
            rich_help_panel=_CONFIRM,
            help="Measure cells that changed, or may have, again: processes of BASE's and NEW's code in turn.",
        ),
    ] = False,
    base_project: Annotated[
        str | None, typer.Option("--base-project", metavar="DIR", rich_help_panel=_CONFIRM, help="BASE's code.")
    ] = None,
    new_project: Annotated[
        str | None, typer.Option("--new-project", metavar="DIR", rich_help_panel=_CONFIRM, help="NEW's code.")
    ] = None,
    base_python: Annotated[
        str | None, typer.Option("--base-python", metavar="EXE", rich_help_panel=_CONFIRM, help="BASE's interpreter.")
    ] = None,
    new_python: Annotated[
        str | None, typer.Option("--new-python", metavar="EXE", rich_help_panel=_CONFIRM, help="NEW's interpreter.")
    ] = None,
    most: Annotated[
        int, typer.Option("--most", min=1, rich_help_panel=_CONFIRM, help="At most so many cells, the worst first.")
    ] = 5,
    max_pairs: Annotated[
        int, typer.Option("--max-pairs", metavar="N", rich_help_panel=_CONFIRM, help="The most pairs of a cell.")
    ] = 8,
    max_time: Annotated[
        str, typer.Option("--max-time", metavar="TIME", rich_help_panel=_CONFIRM, help="The longest time of a cell.")
    ] = "1h",
    block_time: Annotated[
        str, typer.Option("--block-time", metavar="TIME", rich_help_panel=_CONFIRM, help="How long a process samples.")
    ] = "5s",
) -> None:
    """Judge the results of NEW against those of BASE, cell by cell: slower, faster, equivalent, or not known.

    Refuses to compare what differs in machine, model, batch, context, precision or timed region. Ends with 1 if a cell
    became slower, or failed in NEW only; --fail-if adds what else is a no, as a cell that is missing from NEW.

    [bold]Examples[/]

    windtunnel gate results/main results/branch

    windtunnel gate my-results@run=1 my-results@run=-1 --markdown summary.md --junit gate.xml

    windtunnel gate results/main results/branch --confirm --base-project ../main --new-project .
    """
    unwanted = _unwanted(fail_if)
    places = (
        Place(project=base_project, python=base_python),
        Place(project=new_project, python=new_python),
    )
    asked = Confirmation(
        places=places,
        most=most,
        max_pairs=max_pairs,
        max_seconds=_seconds("max-time", max_time),
        block_seconds=_seconds("block-time", block_time),
    )
    if faults := asked.faults(is_asked=should_confirm):
        raise SpecError(*faults)
    console = Console(stderr=True) if as_json else make_console()
    with writing_in(language):
        gate = judge_stores(
            choose(base),
            choose(new),
            margin=None if margin is None else _fraction("margin", margin),
            rate=_fraction("false-discoveries", rate),
        )
        if should_confirm:
            gate = confirm(gate, asked, console=console)
        document = gate_document(gate)
    if as_json:
        typer.echo(json.dumps(_as_json(gate, unwanted), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        console.print(render_terminal(document))
    _write(markdown, render_markdown(document), console)
    _write(junit, render_junit(gate, unwanted=unwanted), console)
    if gate.is_no(unwanted):
        raise typer.Exit(EXIT_NO)


def _unwanted(text: str) -> tuple[str, ...]:
    known = [*(verdict.value for verdict in Verdict), MISSING]
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [unknown_name("verdict", name, known) for name in names if name not in known]:
        raise SpecError(*unknown)
    return names


def _fraction(name: str, text: str) -> float:
    try:
        return parse_fraction(text)
    except ValueError as error:
        raise SpecError(f"{name} {error}") from None


def _seconds(name: str, text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SpecError(f"{name} {error}") from None


def _write(file: Path | None, text: str, console: Console) -> None:
    if file is None:
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}; choose another file") from error
    console.print(f"written: [bold]{file}[/]", soft_wrap=True)


def _as_json(gate: Gate, unwanted: tuple[str, ...]) -> dict[str, object]:
    """Return the verdicts for programs: changes are fractions, times are seconds, None is not known."""
    return {
        "base": gate.base.text,
        "new": gate.new.text,
        "is_no": gate.is_no(unwanted),
        "software": [str(field) for field in gate.software],
        "failed_in_new_only": [row.record.task.cell_label() for _, row in gate.broken],
        "missing_from_new": [row.record.task.cell_label() for row in gate.missing],
        "not_compared": [one.row.record.task.cell_label() for one in gate.unmatched],
        "cells": [
            {
                "cell": cell.base.record.task.cell_label(),
                "keys": [cell.base.key, cell.new.key],
                "verdict": cell.verdict.value,
                "is_in_pairs": cell.confirmed is not None and cell.confirmed.whole is not None,
                "reason": cell.whole.difference.reason,
                "moved": [one.phase for one in cell.moved],
                "phases": [
                    {
                        "phase": one.phase,
                        "base_seconds": one.base_seconds,
                        "new_seconds": one.new_seconds,
                        "change": one.difference.value,
                        "low": one.difference.low,
                        "high": _finite(one.difference.high),
                        "margin": one.difference.margin,
                        "claimed_beyond": [one.difference.faster_from, one.difference.slower_from],
                        "p_value": one.difference.p_value,
                        "verdict": one.difference.verdict.value,
                    }
                    for one in (cell.whole, *cell.phases)
                ],
            }
            for cell in gate.cells
        ],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else value
