"""`windtunnel export`: what is stored, in the formats of other programs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from windtunnel.analysis.results import load_results
from windtunnel.cli.console import make_console
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.export import EXPORTS, export_results


def command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")] = DEFAULT_STORE,
    name: Annotated[str, typer.Option("--format", metavar="NAME", help=f"{', '.join(EXPORTS)}.")] = "csv",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where it goes. [dim]default: standard output[/]")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Every raw sample: a line each, or beside the numbers where these fit.")
    ] = False,
    machine: Annotated[
        str, typer.Option("--machine", metavar="HASH", help="Only rows of this machine; the beginning is enough.")
    ] = "",
) -> None:
    """Write the results of a store for other programs: facts and derived numbers, units in the names, failures too.

    [bold]Examples[/]

    windtunnel export > results.csv

    windtunnel export my-results --format openmetrics --out results.prom

    windtunnel export my-results --format csv --samples --out samples.csv
    """
    if out is None and name in EXPORTS and EXPORTS[name].is_binary:
        raise SpecError(f"{name} is no text: say where it goes with --out FILE")
    written = export_results(load_results(store), name, with_samples=samples, machine=machine)
    if out is None:
        sys.stdout.write(written.decode())
        return
    try:
        out.write_bytes(written)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}; choose another file") from error
    make_console().print(f"{name}: [bold]{out}[/]", soft_wrap=True)
