"""`windtunnel memory`: what one step of a cell holds in memory, byte by byte."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel import units
from windtunnel.analysis.imported_snapshot import ledger_of_traces
from windtunnel.analysis.results import Results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.checkpoints import search_and_report
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import COUNT_FLAGS, TRAINING_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import DEFAULT_TIMEOUT, StoreOption, TimeoutOption, parse_timeout
from windtunnel.cli.refusing import check_file, refuse_idle
from windtunnel.cli.reporting import Language, ReportOption, name_files, report_store
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted, say, writing_in
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.record import Status
from windtunnel.records.snapshot import read_traces
from windtunnel.records.store import DEFAULT_STORE, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.sections.memory.ledger import ledger_label, ledgers_section
from windtunnel.report.terminal import render_terminal
from windtunnel.report.write import write_report
from windtunnel.spec.cell import Cell
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep.ledgers import cells_of, look_at_cells

_FLAGS = {name: flag for name, flag in TRAINING_FLAGS.items() if name not in {*COUNT_FLAGS, "warmup"}}
"""How many steps are run has no effect on what one holds."""


@takes_flags(_FLAGS)
def command(
    fields: dict[str, Any],
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    report: ReportOption = None,
    language: Language = ENGLISH,
    snapshot: Annotated[
        Path | None,
        typer.Option(
            "--snapshot", metavar="FILE", help="Write torch's snapshot too, for pytorch.org/memory_viz; of one cell."
        ),
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Show a snapshot of another program instead; nothing is stored. As JSON: json.dump of what "
            "torch.cuda.memory._snapshot() returns.",
        ),
    ] = None,
    checkpoint_search: Annotated[
        bool,
        typer.Option(
            "--checkpoint-search",
            help="Find the checkpointing with the lowest peak instead, by prediction and by measuring its neighbours.",
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="BYTES", help="With --checkpoint-search: name the fastest that fits, as 40GiB or 50%."
        ),
    ] = None,
) -> None:
    """Show what one step holds: for what, in which phase, in which block, made by which operation and line.

    The cell is built and run in a process of its own with every allocation watched; nothing is timed. Several cells
    make one ledger each. Without --mode it is a training step. A cell that runs out of memory has its ledger up to
    there.

    [bold]Examples[/]

    windtunnel memory --size small --context 256 --attention eager

    windtunnel memory --size small --context 256 --attention eager,sdpa --precision bf16

    windtunnel memory --d-model 256 --layers 4 --heads 8 --vocab 1000 --context 64 --snapshot step.pickle

    windtunnel memory --size 2.7B --context 2048 --precision bf16 --checkpoint-search --budget 60GiB
    """
    console = make_console()
    if imported is not None:
        beside = {
            **{f"--{name.replace('_', '-')}": True for name in fields},
            "--device": device,
            "--timeout": timeout != DEFAULT_TIMEOUT,
            "--snapshot": snapshot,
            "--checkpoint-search": checkpoint_search,
            "--budget": budget,
        }
        refuse_idle(beside, "--import, which shows what a file holds")
        _show_import(imported, report or store / "report", console, language=language)
        return
    fields = {"mode": "train_step", **fields, **({"device": device} if device else {})}
    seconds = parse_timeout(timeout)
    if checkpoint_search:
        if snapshot:
            raise SpecError("--snapshot is of one step, and --checkpoint-search runs many: leave one out")
        search_and_report(fields, budget=budget, store=store, timeout=seconds, report=report, language=language)
        return
    if budget is not None:
        raise SpecError("--budget has no effect without --checkpoint-search: give both, or leave it out")
    sweep = make_sweep(fields)
    assert isinstance(sweep, Sweep)
    cells = cells_of(sweep)
    if snapshot is not None:
        _check_snapshot(snapshot, cells)
    made = _look(sweep, store, snapshot, seconds, console)
    console.print(render_terminal(build_document(Results(rows=(), runs=(), ledgers=made), language=language)))
    report_store(store, report, console, language=language)
    if snapshot is not None and made[0].look.snapshot:
        console.print(f"snapshot: [bold]{escape(str(snapshot))}[/]; open it at pytorch.org/memory_viz", soft_wrap=True)
    if any(one.look.status is not Status.OK for one in made):
        raise typer.Exit(EXIT_NO)


def _look(
    sweep: Sweep, store: Path, snapshot: Path | None, seconds: float, console: Console
) -> tuple[StoredLook[MemoryLedger], ...]:
    """Have the ledgers made, with a line for the present stage on a terminal.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it; what was stored stays.
    """
    begin = time.monotonic()
    with open_store(store) as opened, Console(stderr=True).status("starting a worker") as status:

        def on_stage(cell: Cell, name: str) -> None:
            status.update(escape(f"{cell.model.name} · context {cell.context_length} · {name}"))

        try:
            made = look_at_cells(sweep, store=opened, snapshot=snapshot, timeout=seconds, on_stage=on_stage)
        except KeyboardInterrupt:
            console.print(f"\n[bold]stopped[/]: ledgers that were complete are stored in {store}.", soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    took = units.duration(time.monotonic() - begin, digits=2)
    for one in made:
        outcome = "" if one.look.status is Status.OK else f"  [bold red]{one.look.status.value}[/]"
        console.print(f"{escape(ledger_label(one.look))}{outcome}", soft_wrap=True, highlight=False)
    console.print(f"[dim]{counted(len(made), 'ledger')} in {took}[/]", highlight=False)
    return made


def _check_snapshot(path: Path, cells: Sequence[Cell]) -> None:
    """Refuse before anything runs what could not be written at the end.

    Raises:
        SpecError: There are several cells, or the file cannot be written.
    """
    if len(cells) > 1:
        raise SpecError(f"--snapshot is of one cell, and these flags make {len(cells)}: leave one value for each axis")
    check_file("--snapshot", path)


def _show_import(path: Path, folder: Path, console: Console, *, language: str) -> None:
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else datetime.now(UTC)
    ledger = ledger_of_traces(read_traces(path), started_at=written.isoformat(timespec="milliseconds"))
    with writing_in(language):
        document = Document(title=say("Memory of {file}", file=path.name), sections=(ledgers_section([ledger]),))
    console.print(render_terminal(document))
    name_files(write_report(document, folder), console)
