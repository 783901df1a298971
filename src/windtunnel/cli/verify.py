"""`windtunnel verify`: does a report say what its store gives?"""

import gc
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from windtunnel import __version__
from windtunnel.analysis.claims import FORMAT, Ledger
from windtunnel.analysis.results import load_results
from windtunnel.cli import EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.build import build_document
from windtunnel.report.displayed import is_html, read_report
from windtunnel.report.document import printable
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.report.verify import Verification, verify

_MOST_CHANGED = 5


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report as HTML or Markdown.")],
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="Folder of the store that it was made from.")
    ] = DEFAULT_STORE,
) -> None:
    """Recompute every sentence and table cell of a report from its store; end with 1 at the first that differs.

    A record that changed behind an equal display is found by its hash, and an edit around the sentences by its line.

    [bold]Examples[/]

    windtunnel verify windtunnel-results/report/report.html

    windtunnel verify report.md --store results/h200
    """
    gc.disable()  # as of `windtunnel report`: nearly all objects live until the end
    text = _read(report)
    said = read_report(text, report)
    _check_version(said.ledger, report)
    document = build_document(load_results(store), language=said.ledger.language)
    given = read_report(render_html(document) if is_html(text) else render_markdown(document), report)
    found = verify(said, given)
    gc.freeze()
    _print(found, make_console())
    if not found.is_true:
        raise typer.Exit(EXIT_NO)


def _read(report: Path) -> str:
    try:
        text = report.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise SpecError(f"cannot read the report {report}: {reason}; name a report.html or report.md") from None
    if is_html(text) and not text.rstrip().endswith("</html>"):
        raise SpecError(f"{report} was cut off: its last line is not the end of a page; write it again")
    return text


def _check_version(ledger: Ledger, report: Path) -> None:
    theirs = (ledger.windtunnel, ledger.format)
    if theirs != (__version__, FORMAT):
        raise SpecError(
            f"{report} was written by windtunnel {theirs[0]} (ledger format {theirs[1]}), and this is {__version__} "
            f"(format {FORMAT}), which words and rounds in its own way: verify it with that version, or "
            "write it again"
        )


def _print(found: Verification, console: Console) -> None:
    def say(text: str) -> None:
        console.print(printable(text), soft_wrap=True, markup=False, highlight=False)

    if found.is_true:
        say(
            f"verified: {counted(found.sentences, 'sentence')}, {counted(found.cells, 'table cell')}, "
            f"{counted(found.findings, 'finding')} and {counted(found.records, 'record')} are what the store gives"
        )
        if found.brings_another_plotly:
            say(
                "note: the page brings another plotly.js than the one installed here: the data of its charts are what "
                "the store gives, what that script draws of them was not looked at"
            )
        return
    if difference := found.difference:
        say(f"differs: {difference.where}")
        say(f"  the report says:  {difference.said}")
        say(f"  the store gives:  {difference.given}")
    elif found.changed:
        say("differs: every sentence and cell is as the store gives it, but not every record is what it was made of")
    for one in found.changed[:_MOST_CHANGED]:
        say(f"  {one.key}{f' of {one.scope}' if one.scope else ''} {one.how}")
    if len(found.changed) > _MOST_CHANGED:
        say(f"  and {counted(len(found.changed) - _MOST_CHANGED, 'other change')} of records")
