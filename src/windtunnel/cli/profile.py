"""`windtunnel profile`: which kernels take the time of a step, and what the device waits for."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel import units
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.results import Results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import CELL_FLAGS, COUNT_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import DEFAULT_TIMEOUT, StoreOption, TimeoutOption, parse_timeout
from windtunnel.cli.refusing import check_file, refuse_idle
from windtunnel.cli.reporting import Language, ReportOption, name_files, report_store
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted, say, writing_in
from windtunnel.records.imported_profile import profile_of_file
from windtunnel.records.looks import StoredLook
from windtunnel.records.profile import Profile
from windtunnel.records.record import Status
from windtunnel.records.store import DEFAULT_STORE, Store, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.sections.profile.profiles import profiles_section
from windtunnel.report.sections.profile.words import profile_label
from windtunnel.report.terminal import render_terminal
from windtunnel.report.write import write_report
from windtunnel.spec.cell import Cell
from windtunnel.spec.presets import find_sweep
from windtunnel.spec.sweep import Sweep, load_sweep, make_sweep
from windtunnel.sweep.ledgers import cells_of
from windtunnel.sweep.nsys import find_nsys, profile_with_nsys
from windtunnel.sweep.profiles import profile_cells

_FLAGS = {name: flag for name, flag in CELL_FLAGS.items() if name not in {*COUNT_FLAGS, "warmup"}}
"""How many steps are timed has no effect on a profile: it has a count of its own."""

DEFAULT_STEPS = 3


@takes_flags(_FLAGS)
def command(
    fields: dict[str, Any],
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="[SWEEP]", help="Cells of a sweep, a TOML file or a preset, in place of flags."),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    report: ReportOption = None,
    language: Language = ENGLISH,
    steps: Annotated[
        int, typer.Option("--profiled-steps", metavar="N", help="How many steps of each cell are profiled.", min=1)
    ] = DEFAULT_STEPS,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write the trace too, for ui.perfetto.dev; of one cell."),
    ] = None,
    nsys: Annotated[
        bool, typer.Option("--nsys", help="Profile with NVIDIA's nsys, which must be installed, in place of torch's.")
    ] = False,
    imported: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Show a trace made elsewhere: torch's .json or .json.gz, or an nsys export as .sqlite.",
        ),
    ] = None,
) -> None:
    """Show what one step runs: which kernels, in which phase and part of the model, and what the device waits for.

    The cell is built and run in a process of its own under torch's profiler, in a pass that no timing table sees; what
    watching costs is measured beside it. On a CPU, PyTorch's operators stand in place of kernels. Without --mode it is
    a training step.

    [bold]Examples[/]

    windtunnel profile --size small --context 256 --attention eager

    windtunnel profile --d-model 256 --layers 4 --heads 8 --vocab 1000 --context 64 --trace step.json.gz

    windtunnel profile seed-002-nsys --nsys

    windtunnel profile --import report.sqlite
    """
    console = make_console()
    if imported is not None:
        beside = {
            **({sweep: True} if sweep else {}),
            **{f"--{name.replace('_', '-')}": True for name in fields},
            "--device": device,
            "--timeout": timeout != DEFAULT_TIMEOUT,
            "--profiled-steps": steps != DEFAULT_STEPS,
            "--trace": trace,
            "--nsys": nsys,
        }
        refuse_idle(beside, "--import, which shows what a file holds")
        _show_import(imported, report or store / "report", console, language=language)
        return
    seconds = parse_timeout(timeout)
    cells, where = _cells(sweep, fields, device)
    if trace is not None:
        _check_trace(trace, cells, nsys=nsys)
    program = find_nsys() if nsys else None

    def make(opened: Store, on_stage: Callable[[Cell, str], None]) -> tuple[StoredLook[Profile], ...]:
        if program is not None:
            return profile_with_nsys(
                cells, device=where, store=opened, steps=steps, timeout=seconds, on_stage=on_stage, program=program
            )
        return profile_cells(
            cells, device=where, store=opened, steps=steps, trace=trace, timeout=seconds, on_stage=on_stage
        )

    made = _look(make, store, console)
    console.print(render_terminal(build_document(Results(rows=(), runs=(), profiles=made), language=language)))
    report_store(store, report, console, language=language)
    if trace is not None and made[0].look.trace:
        console.print(f"trace: [bold]{escape(str(trace))}[/]; open it at ui.perfetto.dev", soft_wrap=True)
    if any(one.look.status is not Status.OK for one in made):
        raise typer.Exit(EXIT_NO)


def _cells(named: str | None, fields: dict[str, Any], device: str | None) -> tuple[Sequence[Cell], str]:
    """Return what is profiled, and where.

    Raises:
        SpecError: Flags and a sweep were both given, or it is no sweep of whole models.
    """
    if named is None:
        found = make_sweep({"mode": "train_step", **fields, **({"device": device} if device else {})})
    elif fields:
        raise SpecError(f"sweep {named!r} says which cells: give no flags of a cell beside it")
    else:
        found = load_sweep(find_sweep(named))
    if not isinstance(found, Sweep):
        raise SpecError(f"sweep {named!r} is of attention alone; profiled are steps of whole models")
    return cells_of(found), device or found.device


def _look(
    make: Callable[[Store, Callable[[Cell, str], None]], tuple[StoredLook[Profile], ...]], store: Path, console: Console
) -> tuple[StoredLook[Profile], ...]:
    """Have the profiles made, with a line for the present stage on a terminal.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it; what was stored stays.
    """
    begin = time.monotonic()
    with open_store(store) as opened, Console(stderr=True).status("starting a worker") as status:

        def on_stage(cell: Cell, name: str) -> None:
            status.update(escape(f"{cell.model.name} · context {cell.context_length} · {name}"))

        try:
            made = make(opened, on_stage)
        except KeyboardInterrupt:
            console.print(f"\n[bold]stopped[/]: profiles that were complete are stored in {store}.", soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    for one in made:
        outcome = "" if one.look.status is Status.OK else f"  [bold red]{one.look.status.value}[/]"
        console.print(f"{escape(profile_label(one.look))}{outcome}", soft_wrap=True, highlight=False)
    took = units.duration(time.monotonic() - begin, digits=2)
    console.print(f"[dim]{counted(len(made), 'profile')} in {took}[/]", highlight=False)
    return made


def _check_trace(path: Path, cells: Sequence[Cell], *, nsys: bool) -> None:
    """Refuse before anything runs what could not be written at the end.

    Raises:
        SpecError: nsys writes its own file, there are several cells, or the file cannot be written.
    """
    if nsys:
        raise SpecError("--trace is of torch's profiler, and nsys writes a file of its own: leave one out")
    if len(cells) > 1:
        raise SpecError(f"--trace is of one cell, and these flags make {len(cells)}: leave one value for each axis")
    check_file("--trace", path)


def _show_import(path: Path, folder: Path, console: Console, *, language: str) -> None:
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else datetime.now(UTC)
    profile = profile_of_file(path, started_at=written.isoformat(timespec="milliseconds"))
    with writing_in(language):
        title = say("Profile of {file}", file=path.name)
        document = Document(title=title, sections=(profiles_section([ProfileView(profile)]),))
    console.print(render_terminal(document))
    name_files(write_report(document, folder), console)
