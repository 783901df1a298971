"""Writing the report of a whole store: its files, and its claim ledger in the store."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel import __version__
from windtunnel.analysis.results import load_results
from windtunnel.errors import StoreError
from windtunnel.language import languages, texts_of
from windtunnel.records.store import open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.write import check_report_folder, write_report


def _known(language: str) -> str:
    texts_of(language)  # an unknown one is refused before anything is read or measured
    return language


Language = Annotated[
    str,
    typer.Option(
        "--lang",
        metavar="NAME",
        callback=_known,
        help=f"Language of what is reported: {', '.join(sorted(languages()))}. Names and commands stay as they are.",
    ),
]
"""The option of all commands that write or print a report, also of one table or a comparison."""


def _writable(folder: Path | None) -> Path | None:
    if folder is not None:
        check_report_folder(folder)  # before anything is measured for it
    return folder


ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="DIR", callback=_writable, help="Where the report goes. [dim]default: STORE/report[/]"
    ),
]
"""The option of all commands that measure and then write a report."""


def write_files(document: Document, store: Path, out: Path | None, formats: Sequence[str], console: Console) -> None:
    """Write the report, by default into the store's folder, and keep its claims in the store.

    A store that cannot be written still has a report, whose claims are in its files only: this is said.
    """
    name_files(write_report(document, out or store / "report", formats=formats), console)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with open_store(store) as opened:
            opened.add_claims(document.claims, written_at=now, windtunnel=__version__, language=document.language)
    except StoreError as error:
        console.print(f"note: the claim ledger is in the report only: {error}", soft_wrap=True, markup=False)


def report_store(store: Path, out: Path | None, console: Console, *, language: str) -> None:
    """Write the report of all that a store holds."""
    write_files(build_document(load_results(store), language=language), store, out, ("html", "md"), console)


def name_files(paths: Sequence[Path], console: Console) -> None:
    """Print where the files of a report are."""
    for path in paths:
        console.print(f"report: [bold]{escape(str(path))}[/]", soft_wrap=True)
