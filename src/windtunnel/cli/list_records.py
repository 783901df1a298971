"""`windtunnel list`: what a store holds."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.analysis.pairs import Compared, describe_sides, judge_runs
from windtunnel.analysis.results import Row, load_results
from windtunnel.cli.console import make_console
from windtunnel.language import counted
from windtunnel.records.store import DEFAULT_STORE

_BETWEEN = " · "
"""Stands between the parts of a cell's label."""


def command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")] = DEFAULT_STORE,
) -> None:
    """List the records of a store, the latest of each cell and process, and its comparisons.

    [bold]Example[/]

    windtunnel list results/h200
    """
    results = load_results(store)
    console = make_console()
    for rows in results.by_machine().values():
        _print_records([process for row in rows for process in row.apart()], console)  # each has a key for `show`
    compared = [one for run in judge_runs(results.comparisons).values() for one in run]
    if compared:
        _print_comparisons(compared, console)
    records = counted(sum(len(row.processes) for row in results), "record")
    console.print(f"{records} in {store}; one of them in full: windtunnel show KEY --store {store}", soft_wrap=True)
    if compared:
        number = counted(len(compared), "comparison")
        console.print(f"{number} in {store}; phase by phase: windtunnel report {store}", soft_wrap=True)
    if results.precision_looks:
        number = counted(len(results.precision_looks), "precision look")
        console.print(f"{number} in {store}; in full: windtunnel report {store}", soft_wrap=True)
    if results.ledgers:
        number = counted(len(results.ledgers), "memory ledger")
        console.print(f"{number} in {store}; in full: windtunnel report {store}", soft_wrap=True)
    if results.profiles:
        number = counted(len(results.profiles), "profile")
        console.print(f"{number} in {store}; in full: windtunnel report {store}", soft_wrap=True)


def _print_records(rows: list[Row], console: Console) -> None:
    environment = rows[-1].environment
    labels = [row.record.task.label().split(_BETWEEN) for row in rows]
    same = [part for part in labels[0] if len(rows) > 1 and all(part in label for label in labels)]
    table = _make_table(f"{environment.device_name}{_BETWEEN}torch {environment.torch}")
    table.add_column("key", no_wrap=True)
    table.add_column("cell", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("measured (UTC)", no_wrap=True)
    for row, label in zip(rows, labels, strict=True):
        table.add_row(*_cells(row, _BETWEEN.join(part for part in label if part not in same)))
    console.print(table)
    if same:
        console.print(f"The same in all: {escape(_BETWEEN.join(same))}.", highlight=False)


def _cells(row: Row, label: str) -> tuple[str, ...]:
    estimate = None if row.plan.purpose == "fit" else row.estimate()
    return (
        row.key,
        escape(label),
        row.record.status.value if row.is_ok else f"[red]{row.record.status.value}[/]",
        units.duration(estimate.value) if estimate else units.NOT_KNOWN,
        units.half_width(estimate.relative_half_width) if estimate else units.NOT_KNOWN,
        str(estimate.n) if estimate else units.NOT_KNOWN,
        _minute(row.record.started_at),
    )


def _print_comparisons(compared: list[Compared], console: Console) -> None:
    table = _make_table("Comparisons, whole steps")
    table.add_column("cell", overflow="fold")
    table.add_column("A", overflow="fold")
    table.add_column("B", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("measured (UTC)", no_wrap=True)
    for one in compared:
        sides, whole = describe_sides(one.stored), one.whole
        table.add_row(
            escape(_BETWEEN.join(sides.shared)),
            escape(sides.a or "the same"),
            escape(sides.b or "the same"),
            whole.verdict.value if whole else f"[red]{one.record.status.value}[/]",
            units.change(whole.effect.value, 2) if whole else units.NOT_KNOWN,
            _minute(one.record.started_at),
        )
    console.print(table)


def _make_table(title: str) -> Table:
    return Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
