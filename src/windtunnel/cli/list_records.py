"""`windtunnel list`: what a store holds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.analysis.results import Row, load_results
from windtunnel.cli.console import make_console
from windtunnel.records.store import DEFAULT_STORE


def command(
    store: Annotated[Path, typer.Argument(metavar="[STORE]", help="Folder of the store.")] = DEFAULT_STORE,
) -> None:
    """List the records of a store, the latest of each cell and process.

    [bold]Example[/]

    windtunnel list results/h200
    """
    results = load_results(store)
    console = make_console()
    for rows in results.by_machine().values():
        environment = rows[-1].environment
        table = Table(
            title=f"{escape(environment.device_name)} · torch {escape(environment.torch)}", title_justify="left"
        )
        table.add_column("key", no_wrap=True)
        table.add_column("cell", overflow="fold")
        table.add_column("status", no_wrap=True)
        table.add_column("median", justify="right", no_wrap=True)
        table.add_column("95 % interval", justify="right", no_wrap=True)
        table.add_column("n", justify="right")
        table.add_column("measured at (UTC)", no_wrap=True)
        for process in (process for row in rows for process in row.apart()):  # each has a key for `show`
            table.add_row(*_cells(process))
        console.print(table)
    records = sum(len(row.processes) for row in results)
    console.print(f"{records} records in {store}; one of them in full: windtunnel show KEY --store {store}")


def _cells(row: Row) -> tuple[str, ...]:
    estimate = row.estimate()
    return (
        row.key,
        escape(row.record.task.label()),
        row.record.status.value if row.is_ok else f"[red]{row.record.status.value}[/]",
        units.duration(estimate.value) if estimate else units.NOT_KNOWN,
        units.half_width(estimate.relative_half_width) if estimate else units.NOT_KNOWN,
        str(estimate.n) if estimate else units.NOT_KNOWN,
        row.record.started_at[:19].replace("T", " "),
    )
