"""`windtunnel memory --checkpoint-search`: which checkpointing holds the least, and which is the fastest that fits."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from windtunnel.analysis.checkpoints import AskedSearch, measured_of, peak_of_ledger
from windtunnel.analysis.results import load_results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.progress import Display
from windtunnel.cli.reporting import report_store
from windtunnel.errors import SpecError
from windtunnel.language import say, writing_in
from windtunnel.records.environment import Environment
from windtunnel.records.store import Run, open_store
from windtunnel.report.document import Document
from windtunnel.report.sections.checkpoints import checkpoints_section
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.cell import Cell
from windtunnel.spec.quantities import parse_memory_limit
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep.checkpoint_search import Measured, search_checkpoints, searchable_model
from windtunnel.sweep.engine import measure_sweep
from windtunnel.sweep.launch import describe_device
from windtunnel.sweep.ledgers import look_at_cells
from windtunnel.sweep.lines import predicted_peak


def search_and_report(
    fields: Mapping[str, Any], *, budget: str | None, store: Path, timeout: float, report: Path | None, language: str
) -> None:
    """Search the checkpointing of the one cell that `fields` of a sweep describe, print it, write the report.

    Raises:
        SpecError: There are several cells, or the cell or the budget is at fault.
        typer.Exit: With 1 when nothing fits, with 130 when Ctrl-C stopped the search.
    """
    environment = describe_device(_sweep_of(fields, ["none"]).device)
    cell = _cell_of(fields, environment)
    budget_bytes = _budget_of(budget, environment)
    console = make_console()

    def measure(names: Sequence[str]) -> Mapping[str, Measured]:
        sweep = _sweep_of(fields, names)
        with Display(console) as display:
            measure_sweep(
                sweep,
                device=environment.device,
                store=store,
                timeout=timeout,
                with_probes=False,  # a search needs peaks and times
                observer=display,
            )
        keys = {task.key(): task.cell.checkpoint for task in sweep.expand(environment.device)}
        rows = {keys[row.key]: row for row in load_results(store) if row.key in keys and row.machine == machine}
        running = [name for name, row in rows.items() if row.is_ok]
        peaks = _ledger_peaks(_sweep_of(fields, running)) if environment.device == "cpu" and running else {}
        return {name: measured_of(row, peaks.get(name)) for name, row in rows.items()}

    def _ledger_peaks(sweep: Sweep) -> dict[str, int]:
        """Return the peaks on a CPU, whose resident set is not what its allocator has given out."""
        with open_store(store) as opened:
            made = look_at_cells(sweep, store=opened, timeout=timeout, on_stage=lambda cell, stage: None)
        peaks = [(one.look.cell, peak_of_ledger(one)) for one in made]
        return {cell.checkpoint: peak for cell, peak in peaks if cell is not None and peak is not None}

    machine = environment.machine()
    task = _sweep_of(fields, ["none"]).expand(environment.device)[0]
    asked = AskedSearch(cell=cell, plan=task.plan, budget_bytes=budget_bytes)
    run = Run(
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        sweep=asked.to_json(),
        machine=machine,
        summary=None,
    )
    with open_store(store) as opened:
        opened.begin_run(run)
    try:
        found = search_checkpoints(cell, predict=predicted_peak, measure=measure, budget_bytes=budget_bytes)
    except KeyboardInterrupt:
        console.print(
            f"\n[bold]stopped[/]: what was measured is stored in {store}. Run the same command again for the rest.",
            soft_wrap=True,
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    with writing_in(language):
        title = say("Checkpointing of {model} on {device}", model=cell.model.name, device=environment.device_name)
        document = Document(title=title, sections=(checkpoints_section(found),))
    console.print(render_terminal(document))
    report_store(store, report, console, language=language)
    if found.fastest is None:
        raise typer.Exit(EXIT_NO)


def _sweep_of(fields: Mapping[str, Any], names: Sequence[str]) -> Sweep:
    sweep = make_sweep({**fields, "checkpoint": list(names)})
    assert isinstance(sweep, Sweep)
    return sweep


def _cell_of(fields: Mapping[str, Any], environment: Environment) -> Cell:
    if "checkpoint" in fields:
        raise SpecError("--checkpoint and --checkpoint-search contradict: the search tries them all; leave one out")
    cells = list(dict.fromkeys(task.cell for task in _sweep_of(fields, ["none"]).expand(environment.device)))
    if len(cells) > 1:
        raise SpecError(
            f"--checkpoint-search is of one cell, and these flags make {len(cells)}: leave one value for each axis"
        )
    searchable_model(cells[0])  # before anything of the search is stored
    return cells[0]


def _budget_of(text: str | None, environment: Environment) -> int | None:
    if text is None:
        return None
    assert environment.device_memory_bytes is not None  # every device knows it
    try:
        return parse_memory_limit(text, environment.device_memory_bytes)
    except ValueError as error:
        raise SpecError(f"budget {error}") from None
