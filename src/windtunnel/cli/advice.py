"""What `windtunnel report --verify-advice` does: each comparison that a finding advises, in a budget of time."""

import time
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel.analysis.advice import Advice, outcome_of
from windtunnel.analysis.results import Results, load_results
from windtunnel.cli import EXIT_INTERRUPTED
from windtunnel.cli.progress import PairDisplay
from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.records.record import Status
from windtunnel.report.judged import advised_of
from windtunnel.report.scope import scopes_of
from windtunnel.report.sections.advice import outcome_text
from windtunnel.spec.quantities import parse_seconds
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.launch import describe_device
from windtunnel.sweep.pairs import compare_tasks

DEFAULT_BUDGET = "5m"
MOST_PAIRS = 64
LEAST_SECONDS = 5.0
LEAST_BUILDING = 60.0
"""What one comparison may take beyond its pairs, also when less of the budget is left: compiling is slow."""


def verify_advice(store: Path, *, budget: str | None, console: Console) -> bool:
    """Make the comparisons that the findings advise, the weightiest first; return whether all that were made ran.

    What pairs on this machine have answered already is not measured again. When the time is over no other one begins.

    Raises:
        SpecError: The budget is no time, or the store has no results of this machine.
        typer.Exit: With 130 when Ctrl-C stopped it; what was stored stays.
    """
    seconds = _seconds(budget or DEFAULT_BUDGET)
    begin = time.monotonic()
    results = load_results(store)
    machine = _this_machine(results, store)
    here = [one for one in results.comparisons if one.environment_a.machine() == machine]
    asked = [one for scope in scopes_of(results) if scope.machine == machine for one in advised_of(scope)]
    todo: list[Advice] = []
    for one in asked:
        outcome = outcome_of(one, here)
        if outcome and outcome.is_complete:
            _say(one, f"measured before: {outcome_text(outcome)}", console)
        else:
            todo.append(one)
    if not asked:
        console.print("no finding of this store advises a comparison: there is nothing to verify")
    went_well = True
    for number, one in enumerate(todo):
        left = seconds - (time.monotonic() - begin)
        if left <= 0:
            console.print(f"the budget is over: {counted(len(todo) - number, 'advice')} not verified; run it again")
            break
        went_well = _compare(one, left, left / (len(todo) - number), store, console) and went_well
    return went_well


def _seconds(budget: str) -> float:
    try:
        return parse_seconds(budget)
    except ValueError as error:
        raise SpecError(f"budget {error}") from None


def _this_machine(results: Results, store: Path) -> str:
    """Return this machine's hash.

    Raises:
        SpecError: The store has no results of it.
    """
    groups = results.by_machine()
    for device in dict.fromkeys(row.cell.device for row in results):
        machine = describe_device(device).machine()
        if machine in groups:
            return machine
    names = ", ".join(dict.fromkeys(rows[0].environment.device_name for rows in groups.values())) or "no machine"
    raise SpecError(
        f"--verify-advice measures, so it must run on the machine of the results, and {store} has those of {names} "
        "with other versions or another device than here: run it there, or measure here first"
    )


def _compare(advice: Advice, left: float, seconds: float, store: Path, console: Console) -> bool:
    """Make the comparisons of one advice in about so many seconds of those left, and print what came of it."""
    plan = PairPlan(max_pairs=MOST_PAIRS, max_seconds=max(LEAST_SECONDS, seconds / len(advice.pairs)))
    with PairDisplay(console) as display:
        try:
            stored = compare_tasks(
                advice.pairs, plan=plan, store=store, timeout=max(LEAST_BUILDING, left), observer=display
            )
        except KeyboardInterrupt:
            console.print(f"\n[bold]stopped[/]: comparisons that were complete are stored in {store}.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    outcome = outcome_of(advice, stored)
    assert outcome is not None  # each comparison has a record, however it ended
    _say(advice, outcome_text(outcome), console)
    return all(one.record.status is Status.OK for one in stored)


def _say(advice: Advice, text: str, console: Console) -> None:
    console.print(f"{escape(advice.command)}\n    [bold]{escape(text)}[/]", highlight=False, soft_wrap=True)
