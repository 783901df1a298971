"""What commands that measure a sweep share: options of a run, the run with its display, tables and report after it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.analysis.results import Results, load_results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.comparing import PLAN, compare_backends
from windtunnel.cli.console import make_console
from windtunnel.cli.predicting import print_rows, print_unknown
from windtunnel.cli.progress import Display, is_repeated, tasks_text
from windtunnel.cli.refusing import refuse_idle
from windtunnel.cli.reporting import write_files
from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.prediction import Prediction, Target, predict, target_named
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.records.environment import Environment
from windtunnel.records.record import Status
from windtunnel.records.store import StoredComparison, has_store, read_store
from windtunnel.report.build import build_document
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.quantities import parse_seconds
from windtunnel.spec.sides import match_backends
from windtunnel.spec.sweep import AnySweep
from windtunnel.sweep.engine import ChooseSweep, RunSummary, measure_sweep
from windtunnel.sweep.launch import describe_device

StoreOption = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder of the store; made if needed.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the cells and what each must cost; measure nothing.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure cells again that are stored already.")]
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="TIME", help="Longest time for one cell: seconds, or with a unit as in 90s, 30m, 6h."
    ),
]
ProbesOption = Annotated[
    bool,
    typer.Option(
        "--probes/--no-probes",
        help="After the samples of a cell look which kernels ran, what its phases hold and what watching costs. "
        "Without, large cells take a quarter of the time, and the report says what was not looked at.",
    ),
]
DEFAULT_TIMEOUT = "30m"


def parse_timeout(text: str) -> float:
    """Return the seconds of a time such as 90, 90s, 30m or 6h.

    Raises:
        SpecError: It is not such a time, or not positive.
    """
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SpecError(f"timeout {error}") from None


def run_and_report(
    sweep: AnySweep | ChooseSweep,
    *,
    device: str | None,
    store: Path,
    fresh: bool,
    timeout: float,
    report: Path | None,
    language: str,
    probes: bool = True,
) -> None:
    """Measure with a live display, compare what the sweep says, print the tables, write the report, end with its path.

    Raises:
        typer.Exit: With 1 when a cell or a comparison failed, with 130 when Ctrl-C stopped the run.
    """
    console = make_console()
    measured: list[AnySweep] = []

    def choose(environment: Environment) -> AnySweep:
        measured.append(sweep if isinstance(sweep, AnySweep) else sweep(environment))
        return measured[-1]

    device = device or (sweep.device if isinstance(sweep, AnySweep) else "auto")
    with Display(console) as display:
        try:
            summary = measure_sweep(
                choose,
                device=device,
                store=store,
                fresh=fresh,
                timeout=timeout,
                with_probes=probes,
                observer=display,
            )
        except KeyboardInterrupt:
            what = "measurements" if is_repeated(display.tasks) else "cells"
            console.print(
                f"\n[bold]stopped[/]: {display.stored} of {len(display.tasks)} {what} are stored in {store}. "
                "Run the same command again to measure the rest.",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    everything, compared, begin = load_results(store), (), time.monotonic()
    assert display.environment is not None  # a run that ended has begun
    if isinstance(measured[0], AttentionSweep) and measured[0].compare:
        compared = compare_backends(
            measured[0], display.environment, everything, store=store, fresh=fresh, timeout=timeout, console=console
        )
        everything = load_results(store)
    comparing = time.monotonic() - begin if compared else 0.0
    results = _of_run(everything, display.tasks, display.environment, compared)
    console.print(render_terminal(build_document(results, language=language)))
    _print_times(summary, comparing, console)
    write_files(build_document(everything, language=language), store, report, ("html", "md"), console)
    if any(not row.is_ok for row in results) or any(one.record.status is not Status.OK for one in compared):
        raise typer.Exit(EXIT_NO)


def _of_run(
    results: Results, tasks: tuple[Task, ...], environment: Environment, compared: tuple[StoredComparison, ...]
) -> Results:
    """Keep what this run asked for, measured now or before; the store may hold more."""
    keys, machine = {task.key() for task in tasks}, environment.machine()
    rows = tuple(row for row in results if row.key in keys and row.machine == machine)
    return Results(rows=rows, runs=results.runs, comparisons=compared)


def _print_times(summary: RunSummary, comparing: float, console: Console) -> None:
    table = Table(title="Where the time of this run went", title_justify="left", box=None, pad_edge=False)
    table.add_column("part")
    table.add_column("time", justify="right")
    table.add_column("share", justify="right")
    spent = {**summary.seconds, **({"comparing in pairs": comparing} if comparing else {})}
    wall_seconds = summary.wall_seconds + comparing
    for label, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        table.add_row(label, units.duration(seconds), units.percent(seconds / wall_seconds))
    table.add_row("[bold]all[/]", units.duration(wall_seconds), "")
    console.print(table)
    console.print(
        f"{counted(summary.measured, 'measurement')} in "
        f"{summary.processes} {'process' if summary.processes == 1 else 'processes'}, "
        f"{summary.already_stored} were stored before, {summary.failed} of the new ones failed"
    )


def check_dry_run(report: Path | None, language: str) -> None:
    """Refuse the options of a report, as a dry run makes none.

    Raises:
        SpecError: One of them was given.
    """
    beside = {"--report": report, "--lang": language != ENGLISH}
    refuse_idle(beside, "--dry-run, which writes no report and prints its plan in English")


def print_plan(sweep: AnySweep | ChooseSweep, device: str, *, store: Path) -> None:
    """Print the cells of `sweep` on a device, with what each is predicted to cost, hold and take, and the whole time.

    Rates are those of the machine's calibration in the store where there is one, else of the device's datasheet.
    """
    environment = describe_device(device)
    sweep = sweep if isinstance(sweep, AnySweep) else sweep(environment)
    console = make_console()
    tasks = sweep.expand(environment.device)
    target = _target_of(environment, store)
    predictions = {task.cell: predict(task.cell, target) for task in tasks}
    print_rows(
        f"{sweep.name}: {tasks_text(tasks)} on {environment.device_name}",
        ((task.cell_label(), predictions[task.cell]) for task in tasks if task.replica == 0),
        console,
    )
    for reason in dict.fromkeys(exclusion.reason for exclusion in sweep.exclude):
        console.print(f"left out: {escape(reason)}", style="dim")
    if isinstance(sweep, AttentionSweep) and sweep.compare:
        pairs = counted(len(match_backends(sweep, environment.device)), "comparison")
        console.print(
            f"Then {', '.join(f'{a} against {b}' for a, b in sweep.comparisons())}: {pairs} in pairs, each for at most "
            f"{units.duration(PLAN.max_seconds)}, building and warm-up not counted."
        )
    print_unknown(predictions.values(), console)
    console.print(_total_text(tasks, predictions, target), highlight=False, soft_wrap=True)


def _target_of(environment: Environment, store: Path) -> Target:
    """Return the machine as a prediction needs it."""
    peaks = peaks_of(environment.device_name)
    ceilings: Ceilings | None = None
    if has_store(store):
        with read_store(store) as opened:
            found = opened.calibration(environment.machine())
        ceilings = calibrated_ceilings(found, peaks) if found else None
    target = target_named(environment.device_name, memory_bytes=environment.device_memory_bytes, ceilings=ceilings)
    return replace(target, is_here=True)


def _total_text(tasks: Sequence[Task], predictions: Mapping[Cell, Prediction], target: Target) -> str:
    """Say how long all steps take together, or why that is not known."""
    if target.ceilings is None:
        return (
            f"What {target.name} can do is not known, so no time is predicted; windtunnel calibrate measures it, and "
            "--dry-run with the same --store uses that."
        )
    times = {cell: one.time.seconds if one.time else None for cell, one in predictions.items()}
    known = [(task, seconds) for task in tasks if (seconds := times[task.cell]) is not None]
    total = sum(task.plan.fewest_steps * seconds for task, seconds in known)
    left = len(tasks) - len(known)
    without = f" ({counted(left, 'measurement')} not predicted is not in it)" if left else ""
    return (
        f"All steps together: about {units.duration(total)}{without}, by the {target.ceilings.source}. Each cell adds "
        "about a second; a cell without warm-up, and each of several processes, adds the start of a process."
    )
