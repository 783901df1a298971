"""`windtunnel list`: what a store holds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel import units
from windtunnel.analysis.pairs import Compared, describe_sides, judge_runs
from windtunnel.analysis.results import Row, load_results
from windtunnel.cli.console import make_console
from windtunnel.language import counted
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.document import Cell, Column, ColumnKind, Table
from windtunnel.report.terminal import render_table

_BETWEEN = " · "
"""Stands between the parts of a cell's label."""

_MEASURED = Column(name="measured (UTC)")


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
    columns = (
        Column(name="key"),
        Column(name="cell"),
        Column(name="status"),
        Column(name="median", kind=ColumnKind.NUMBER),
        Column(name="95 % interval", kind=ColumnKind.NUMBER),
        Column(name="n", kind=ColumnKind.NUMBER),
        _MEASURED,
    )
    cells = [
        _cells(row, _BETWEEN.join(part for part in label if part not in same))
        for row, label in zip(rows, labels, strict=True)
    ]
    _print_table(f"{environment.device_name}{_BETWEEN}torch {environment.torch}", columns, cells, console)
    if same:
        console.print(f"The same in all: {escape(_BETWEEN.join(same))}.", highlight=False)


def _cells(row: Row, label: str) -> tuple[Cell, ...]:
    estimate = None if row.plan.purpose == "fit" else row.estimate()
    return (
        Cell(row.key),
        Cell(label),
        Cell(row.record.status.value, is_failure=not row.is_ok),
        Cell(units.duration(estimate.value) if estimate else units.NOT_KNOWN),
        Cell(units.half_width(estimate.relative_half_width) if estimate else units.NOT_KNOWN),
        Cell(str(estimate.n) if estimate else units.NOT_KNOWN),
        Cell(_minute(row.record.started_at)),
    )


def _print_comparisons(compared: list[Compared], console: Console) -> None:
    columns = (
        Column(name="cell"),
        Column(name="A"),
        Column(name="B"),
        Column(name="verdict"),
        Column(name="change", kind=ColumnKind.NUMBER),
        _MEASURED,
    )
    _print_table("Comparisons, whole steps", columns, [_compared_cells(one) for one in compared], console)


def _compared_cells(one: Compared) -> tuple[Cell, ...]:
    sides, whole = describe_sides(one.stored), one.whole
    return (
        Cell(_BETWEEN.join(sides.shared)),
        Cell(sides.a or "the same"),
        Cell(sides.b or "the same"),
        Cell(whole.verdict.value if whole else one.record.status.value, is_failure=whole is None),
        Cell(units.change(whole.effect.value, 2) if whole else units.NOT_KNOWN),
        Cell(_minute(one.record.started_at)),
    )


def _print_table(title: str, columns: tuple[Column, ...], rows: list[tuple[Cell, ...]], console: Console) -> None:
    """Print all rows; in a narrow terminal text breaks between words."""
    table = Table(caption=title, columns=columns, rows=tuple(rows))
    console.print(render_table(table, max_rows=len(rows)))
    console.print()


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
