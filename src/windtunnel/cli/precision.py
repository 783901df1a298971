"""`windtunnel precision`: the number formats of one step, how far its numbers are off, and how fast precisions are."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from windtunnel import units
from windtunnel.analysis.results import Results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.comparing import PLAN
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import CELL_FLAGS, COUNT_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import DEFAULT_TIMEOUT, StoreOption, TimeoutOption, parse_timeout
from windtunnel.cli.progress import PairDisplay
from windtunnel.cli.reporting import Language, ReportOption, report_store
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted
from windtunnel.records.looks import StoredLook
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Status
from windtunnel.records.store import DEFAULT_STORE, StoredComparison, open_store
from windtunnel.report.build import build_document
from windtunnel.report.sections.precision.section import look_label
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.cell import Cell
from windtunnel.spec.faults import faults_of
from windtunnel.spec.precision_request import DEFAULT_LOSS_STEPS, PrecisionRequest
from windtunnel.spec.sides import match_precisions
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep.launch import describe_device
from windtunnel.sweep.ledgers import cells_of
from windtunnel.sweep.pairs import compare_tasks
from windtunnel.sweep.precision_looks import look_at_formats

_FLAGS = {name: flag for name, flag in CELL_FLAGS.items() if name not in {*COUNT_FLAGS, "warmup"}}
"""How many steps are timed has no effect: a look is of one step, and pairs are taken until there is a verdict."""

DEFAULT_PRECISIONS = ("fp16", "bf16")


@takes_flags(_FLAGS)
def command(
    fields: dict[str, Any],
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    report: ReportOption = None,
    language: Language = ENGLISH,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            metavar="MODULE:ATTR",
            help="A loss of your own: a function of logits [tokens, vocab] and targets. "
            "[dim]default: torch's cross_entropy[/]",
        ),
    ] = None,
    loss_steps: Annotated[
        int,
        typer.Option("--loss-steps", metavar="N", help="Training steps whose loss is set beside fp32's; 0: none."),
    ] = DEFAULT_LOSS_STEPS,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed", help="Measure each precision against fp32 in pairs instead: precision x size, with intervals."
        ),
    ] = False,
) -> None:
    """Show the number format of everything in a step as observed, how far its numbers are off, and how its loss goes.

    Parameters, inputs and outputs of every operation, logits, loss, gradients, optimizer state; the error of logits,
    loss and each gradient against float64; what of the gradients underflows and overflows, with and without loss
    scaling; the loss of the first steps beside fp32. Without --mode it is a training step, without --precision fp16
    and bf16.

    [bold]Examples[/]

    windtunnel precision --model windtunnel.models.toy:make_toy --vocab 100 --precision fp16

    windtunnel precision --size small --context 256 --precision tf32,fp16,bf16,bf16-pure

    windtunnel precision --model my_package.my_module:make --loss my_package.my_module:cross_entropy

    windtunnel precision --speed --size small,medium,large --context 256 --precision tf32,bf16,bf16-pure
    """
    console = make_console()
    seconds = parse_timeout(timeout)
    defaults = {"mode": "train_step", "precision": list(DEFAULT_PRECISIONS)}
    sweep = make_sweep({**defaults, **fields, **({"device": device} if device else {})})
    assert isinstance(sweep, Sweep)
    if speed:
        if loss is not None or loss_steps != DEFAULT_LOSS_STEPS:
            raise SpecError("--loss and --loss-steps have no effect with --speed, which times steps: leave them out")
        compared = _compare(sweep, store, seconds, console)
        results = Results(rows=(), runs=(), comparisons=compared)
        has_failed = any(one.record.status is not Status.OK for one in compared)
    else:
        made = _look(sweep, _requests(sweep, loss, loss_steps), store, seconds, console)
        results = Results(rows=(), runs=(), precision_looks=made)
        has_failed = any(one.look.status is not Status.OK for one in made)
    console.print(render_terminal(build_document(results, language=language)))
    report_store(store, report, console, language=language)
    if has_failed:
        raise typer.Exit(EXIT_NO)


def _requests(sweep: Sweep, loss: str | None, loss_steps: int) -> list[PrecisionRequest]:
    try:
        return [PrecisionRequest(cell=cell, loss=loss, loss_steps=loss_steps) for cell in cells_of(sweep)]
    except ValidationError as error:
        raise SpecError(*faults_of(error, PrecisionRequest)) from None


def _look(
    sweep: Sweep, requests: list[PrecisionRequest], store: Path, seconds: float, console: Console
) -> tuple[StoredLook[PrecisionLook], ...]:
    """Have the cells looked at, with a line for the present stage on a terminal.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it; what was stored stays.
    """
    begin = time.monotonic()
    with open_store(store) as opened, Console(stderr=True).status("starting a worker") as status:

        def on_stage(cell: Cell, name: str) -> None:
            status.update(escape(f"{cell.model.name} · {cell.precision} · {name}"))

        try:
            made = look_at_formats(requests, device=sweep.device, store=opened, timeout=seconds, on_stage=on_stage)
        except KeyboardInterrupt:
            console.print(f"\n[bold]stopped[/]: looks that were complete are stored in {store}.", soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    took = units.duration(time.monotonic() - begin, digits=2)
    for one in made:
        outcome = "" if one.look.status is Status.OK else f"  [bold red]{one.look.status.value}[/]"
        console.print(f"{escape(look_label(one.look))}{outcome}", soft_wrap=True, highlight=False)
    console.print(f"[dim]{counted(len(made), 'look')} in {took}[/]", highlight=False)
    return made


def _compare(sweep: Sweep, store: Path, seconds: float, console: Console) -> tuple[StoredComparison, ...]:
    """Have each precision compared with fp32.

    Raises:
        typer.Exit: With 130 when Ctrl-C stopped it; what was stored stays.
    """
    match_precisions(sweep, "cpu")  # what is wrong with the request is said before a worker starts
    pairs = match_precisions(sweep, describe_device(sweep.device).device)
    with PairDisplay(console) as display:
        try:
            return compare_tasks(pairs, plan=PLAN, store=store, timeout=seconds, observer=display)
        except KeyboardInterrupt:
            console.print(
                f"\n[bold]stopped[/]: {display.stored} of {len(pairs)} comparisons are stored in {store}.",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
