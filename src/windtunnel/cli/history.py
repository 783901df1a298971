"""`windtunnel history`: how each cell changed over many runs."""

from pathlib import Path
from typing import Annotated

import typer

from windtunnel.analysis.history import histories_of
from windtunnel.cli.console import make_console
from windtunnel.cli.reporting import Language
from windtunnel.language import ENGLISH, writing_in
from windtunnel.report.history import history_document
from windtunnel.report.terminal import render_terminal
from windtunnel.report.write import write_report


def command(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE…", help="Folders of stores, in any order.")],
    cell: Annotated[str, typer.Option("--cell", metavar="TEXT", help="Only cells whose name holds this.")] = "",
    phase: Annotated[
        str | None,
        typer.Option("--phase", metavar="NAME", help="This phase. [dim]default: the whole step[/]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write history.html and history.md there.", show_default=False),
    ] = None,
    language: Language = ENGLISH,
) -> None:
    """Show one number for each run of each cell, oldest first, and from when on its level is another one.

    A run is one call of [cyan]windtunnel run[/], [cyan]step[/] or [cyan]attention[/]; with --fresh a store keeps the
    earlier ones.

    [bold]Examples[/]

    windtunnel history my-results

    windtunnel history nightly/* --cell "train_step" --out report
    """
    with writing_in(language):
        document = history_document(histories_of(stores, phase=phase, containing=cell))
    console = make_console()
    console.print(render_terminal(document))
    if out is not None:
        for path in write_report(document, out, name="history"):
            console.print(f"history: [bold]{path}[/]", soft_wrap=True)
