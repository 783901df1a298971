"""`windtunnel report`: what is stored becomes a report."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from windtunnel.analysis.results import load_results
from windtunnel.cli.console import make_console
from windtunnel.errors import SpecError, unknown_name
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.build import build_document
from windtunnel.report.terminal import render_terminal
from windtunnel.report.write import FORMATS, write_report


def command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")] = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the files go. [dim]default: STORE/report[/]")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="NAME,…", help="terminal, md, html, latex, or several with commas.")
    ] = "terminal,md,html",
) -> None:
    """Write the report of a store; needs no torch and no GPU.

    [bold]Examples[/]

    windtunnel report

    windtunnel report results/h200 --format html --out .
    """
    # The process ends soon, and until then nearly all objects live: collecting would take a third of the time. So it
    # stays off, and the interpreter is kept from it at its own end, too; a caller of this function in a process that
    # goes on switches it on again.
    gc.disable()
    names = [name.strip() for name in formats.split(",")]
    known = ("terminal", *FORMATS)
    if unknown := [unknown_name("report format", name, known) for name in names if name not in known]:
        raise SpecError(*unknown)
    document = build_document(load_results(store))
    console = make_console()
    if "terminal" in names:
        console.print(render_terminal(document))
    files = [name for name in names if name != "terminal"]
    if files:
        for path in write_report(document, out or store / "report", formats=tuple(files)):
            console.print(f"report: [bold]{path}[/]", soft_wrap=True)
    gc.freeze()
