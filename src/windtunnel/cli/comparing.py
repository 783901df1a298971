"""What follows a sweep of attention that names comparisons: its backends in pairs, at each point that both measured."""

from pathlib import Path

import typer
from rich.console import Console

from windtunnel.analysis.results import Results
from windtunnel.cli import EXIT_INTERRUPTED
from windtunnel.cli.progress import PairDisplay
from windtunnel.language import counted
from windtunnel.records.environment import Environment
from windtunnel.records.pair import Pairing
from windtunnel.records.store import StoredComparison
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import Task
from windtunnel.spec.sides import as_side, match_backends
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.pairs import compare_tasks

PLAN = PairPlan(max_pairs=32, max_seconds=10.0)
"""There may be as many comparisons as half of the cells, so none may take long."""


def compare_backends(
    sweep: AttentionSweep,
    environment: Environment,
    results: Results,
    *,
    store: Path,
    fresh: bool,
    timeout: float,
    console: Console,
) -> tuple[StoredComparison, ...]:
    """Compare what the sweep says with a live display, and return its comparisons with those stored before.

    A comparison that is stored for this machine is not made again, unless `fresh` asks for it.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it.
    """
    machine = environment.machine()
    pairs = match_backends(sweep, environment.device)
    measured = {one.key for row in results if row.is_ok and row.machine == machine for one in row.processes}
    able = [pair for pair in pairs if all(task.key() in measured for task in pair)]
    if len(able) < len(pairs):
        console.print(
            f"{len(pairs) - len(able)} of {counted(len(pairs), 'comparison')} left out: "
            "a backend that was not measured there has nothing to compare",
            highlight=False,
        )
    stored = {} if fresh else _stored(results, machine)
    wanted = {(as_side(a).key(), as_side(b).key()): (a, b) for a, b in able}
    todo = [pair for keys, pair in wanted.items() if keys not in stored]
    there = tuple(stored[keys] for keys in wanted if keys in stored)
    return (*there, *_compare(todo, store=store, timeout=timeout, console=console))


def _stored(results: Results, machine: str) -> dict[tuple[str, str], StoredComparison]:
    """Return the latest comparison of each two cells that were compared in one process on this machine."""
    return {
        (one.record.a.task.key(), one.record.b.task.key()): one
        for one in results.comparisons
        if one.environment_a.machine() == machine and one.record.pairing is Pairing.TOGETHER
    }


def _compare(
    pairs: list[tuple[Task, Task]], *, store: Path, timeout: float, console: Console
) -> tuple[StoredComparison, ...]:
    if not pairs:
        return ()
    with PairDisplay(console) as display:
        try:
            return compare_tasks(pairs, plan=PLAN, store=store, timeout=timeout, observer=display)
        except KeyboardInterrupt:
            console.print(
                f"\n[bold]stopped[/]: all cells and {display.stored} of {len(pairs)} comparisons are stored in "
                f"{store}. Run the same command again to compare the rest.",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
