"""What `windtunnel gate --confirm` does: the cells that changed, or may have, measured again in pairs of processes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.console import Console

from windtunnel.analysis.alike import hardware_fields
from windtunnel.analysis.gate import CellVerdict, Gate, worth_confirming
from windtunnel.analysis.pairs import judge_grid
from windtunnel.cli import EXIT_INTERRUPTED
from windtunnel.cli.progress import PairDisplay
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted, writing_in
from windtunnel.records.store import StoredComparison
from windtunnel.spec.cell import Task
from windtunnel.spec.sides import as_side
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.launch import Place, describe_device
from windtunnel.sweep.pairs import compare_tasks

_HERE = Place()


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """Where the code of both sides is, and how much time may be spent."""

    places: tuple[Place, Place]
    most: int
    max_pairs: int
    max_seconds: float
    block_seconds: float

    @property
    def plan(self) -> PairPlan:
        """When the pairs of a cell end."""
        return PairPlan(max_pairs=self.max_pairs, max_seconds=self.max_seconds)

    def faults(self, *, is_asked: bool) -> list[str]:
        """Return one message for each thing that is wrong with the request."""
        has_places = self.places != (_HERE, _HERE)
        if not is_asked:
            return ["a project or a python of a side has no effect without --confirm"] if has_places else []
        if self.places[0] == self.places[1]:
            return [
                "--confirm runs BASE's code against NEW's, and both sides are the same here: say where each is, with "
                "--base-project and --new-project, or --base-python and --new-python"
            ]
        return self.plan.faults()


def confirm(gate: Gate, asked: Confirmation, *, console: Console) -> Gate:
    """Measure the suspicious cells of a gate in pairs, store the pairs beside NEW's results, and judge by them.

    A cold start cannot be measured in pairs and keeps its verdict.

    Raises:
        SpecError: This machine is not the one of the stores, or a place is not there.
        typer.Exit: With 130 when Ctrl-C stopped it.
    """
    wanted = [cell for cell in worth_confirming(gate, most=asked.most) if not cell.base.plan.is_cold]
    if not wanted:
        console.print("nothing to confirm: no cell changed, or may have")
        return gate
    for place in asked.places:
        place.check()
    _check_machine(wanted[0])
    with writing_in(ENGLISH):  # as are progress and records everywhere, whatever the verdicts are written in
        stored = _measure(wanted, asked, gate.new.folder, console)
    judged = dict(zip(wanted, judge_grid(stored), strict=True))
    return replace(gate, cells=tuple(replace(cell, confirmed=judged.get(cell)) for cell in gate.cells))


def _measure(
    wanted: Sequence[CellVerdict], asked: Confirmation, store: Path, console: Console
) -> tuple[StoredComparison, ...]:
    """Take the pairs with a live display, and store them.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it.
    """
    console.print(f"{counted(len(wanted), 'cell')} again, in pairs of processes", highlight=False)
    tasks = [as_side(Task(cell=cell.new.cell, plan=cell.new.plan)) for cell in wanted]
    with PairDisplay(console) as display:
        try:
            return compare_tasks(
                [(task, task) for task in tasks],
                plan=asked.plan,
                places=asked.places,
                block_seconds=asked.block_seconds,
                store=store,
                observer=display,
            )
        except KeyboardInterrupt:
            console.print(f"\n[bold]stopped[/]: {display.stored} of {counted(len(wanted), 'comparison')} are stored")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _check_machine(cell: CellVerdict) -> None:
    """Raise where this machine's device or processor is not the one that measured the stores."""
    here, there = describe_device(cell.new.cell.device), hardware_fields(cell.new)
    found = {"device_name": here.device_name, "host_cpu": here.host_cpu}
    if differing := [f"{name} {there[name]} → {value}" for name, value in found.items() if there[name] != value]:
        raise SpecError(
            f"--confirm must run on the machine of the stores, and this one differs in {', '.join(differing)}"
        )
