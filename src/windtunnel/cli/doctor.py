"""`windtunnel doctor`: what about this machine would spoil a measurement."""

from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.cli import EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import DeviceOption
from windtunnel.language import counted
from windtunnel.records.checkup import CheckResult, CheckStatus, checkup_to_json
from windtunnel.sweep.launch import examine_device

_STYLES = {
    CheckStatus.OK: "green",
    CheckStatus.WARNING: "yellow",
    CheckStatus.PROBLEM: "bold red",
    CheckStatus.NOT_KNOWN: "dim",
}


def command(
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead.")] = False,
) -> None:
    """Look for what would spoil a measurement here: other work, clocks, threads, memory, debug settings.

    Nothing is changed and no model runs. Ends with 1 when there is a problem; warnings and what is not known
    leave it at 0.

    [bold]Examples[/]

    windtunnel doctor

    windtunnel doctor --device cuda:1 --json
    """
    results = examine_device(device or "auto")
    if as_json:
        typer.echo(checkup_to_json(results))
    else:
        _print(results)
    if any(result.status is CheckStatus.PROBLEM for result in results):
        raise typer.Exit(EXIT_NO)


def _print(results: tuple[CheckResult, ...]) -> None:
    console = make_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("seen", overflow="fold")
    table.add_column("why it matters, and what to do", overflow="fold")
    for result in results:
        style = _STYLES[result.status]
        table.add_row(
            result.name, f"[{style}]{result.status.value}[/]", escape(result.value) or units.NOT_KNOWN, _remark(result)
        )
    console.print(table)
    counts = {status: sum(result.status is status for result in results) for status in CheckStatus}
    console.print(
        f"{counts[CheckStatus.OK]} ok, {counted(counts[CheckStatus.WARNING], 'warning')}, "
        f"{counted(counts[CheckStatus.PROBLEM], 'problem')}, {counts[CheckStatus.NOT_KNOWN]} not known"
    )


def _remark(result: CheckResult) -> str:
    match result.status:
        case CheckStatus.OK:
            return ""
        case CheckStatus.NOT_KNOWN:
            return f"[dim]{escape(result.why)}[/]"
        case CheckStatus.WARNING | CheckStatus.PROBLEM:
            return f"{escape(result.why)}\n[bold]{escape(result.advice)}[/]"
