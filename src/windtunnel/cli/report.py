"""`windtunnel report`: what is stored becomes a report."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from windtunnel.analysis.results import load_results
from windtunnel.cli import EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.reporting import Language, write_files
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import ENGLISH
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.build import build_document
from windtunnel.report.terminal import render_terminal
from windtunnel.report.write import FORMATS


def command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")] = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the files go. [dim]default: STORE/report[/]")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="NAME,…", help="terminal, md, html, latex, or several with commas.")
    ] = "terminal,md,html",
    language: Language = ENGLISH,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify-advice",
            help="First make the comparisons that findings advise, on this machine; what came of each stands in the "
            "report.",
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="With --verify-advice: the time to spend. [dim]default: 5m[/]"),
    ] = None,
) -> None:
    """Write the report of a store; needs no torch and no GPU, unless advice is to be verified.

    [bold]Examples[/]

    windtunnel report

    windtunnel report results/h200 --format html --out .

    windtunnel report --lang zh

    windtunnel report --verify-advice --budget 5m
    """
    # The process ends soon, and until then nearly all objects live: collecting would take a third of the time. So it
    # stays off, and the interpreter is kept from it at its own end, too; a caller of this function in a process that
    # goes on switches it on again.
    gc.disable()
    names = [name.strip() for name in formats.split(",")]
    known = ("terminal", *FORMATS)
    if unknown := [unknown_name("report format", name, known) for name in names if name not in known]:
        raise SpecError(*unknown)
    if budget is not None and not verify:
        raise SpecError("--budget has no effect without --verify-advice: a report measures nothing; leave it out")
    console = make_console()
    went_well = True
    if verify:
        from windtunnel.cli.advice import verify_advice  # only now: a report imports nothing that measures

        went_well = verify_advice(store, budget=budget, console=console)
    document = build_document(load_results(store), language=language)
    if "terminal" in names:
        console.print(render_terminal(document))
    files = [name for name in names if name != "terminal"]
    if files:
        write_files(document, store, out, tuple(files), console)
    gc.freeze()
    if not went_well:
        raise typer.Exit(EXIT_NO)
