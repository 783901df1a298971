"""`windtunnel tune`: the fastest configuration within limits of memory and error."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel import units
from windtunnel.analysis.tuning import label_of
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import HOW_FLAGS, TRAINING_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import (
    DEFAULT_TIMEOUT,
    DryRunOption,
    FreshOption,
    StoreOption,
    TimeoutOption,
    check_dry_run,
    parse_timeout,
)
from windtunnel.cli.predicting import print_unknown, rows_table
from windtunnel.cli.reporting import Language, ReportOption, report_store
from windtunnel.cli.tune_progress import TuneDisplay
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import ENGLISH, counted, say, writing_in
from windtunnel.records.store import DEFAULT_STORE, has_store, read_store
from windtunnel.report.document import Document
from windtunnel.report.sections.tune import tune_section
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.flag_text import field_of
from windtunnel.spec.quantities import parse_seconds
from windtunnel.spec.tuning import TUNED_AXES, Tuning, make_tuning
from windtunnel.statistics.racing import Ending
from windtunnel.sweep.candidates import candidates_of, check_limit, fits
from windtunnel.sweep.launch import describe_device
from windtunnel.sweep.trials import limit_of, target_of
from windtunnel.sweep.trials import tune as search

_SEARCH = "How to search"
_FLAGS = {name: flag for name, flag in TRAINING_FLAGS.items() if name not in HOW_FLAGS or name == "seed"}


@takes_flags(_FLAGS)
def command(
    fields: dict[str, Any],
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="TIME", rich_help_panel=_SEARCH, help="The time to spend, as 90s, 10m, 1h."),
    ] = "10m",
    memory_limit: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            metavar="BYTES",
            rich_help_panel=_SEARCH,
            help="What a step may hold, as 24GiB or 30%; on a CPU of the whole process. [dim]default: the device[/]",
        ),
    ] = None,
    error_limit: Annotated[
        str | None,
        typer.Option(
            "--error-limit",
            metavar="SHARE",
            rich_help_panel=_SEARCH,
            help="The largest relative error of logits, loss and the median gradient against float64, as 1e-2. "
            "[dim]default: none[/]",
        ),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            "--axis",
            metavar="NAME=V,…",
            rich_help_panel=_SEARCH,
            help=f"What is tried: {', '.join(TUNED_AXES)}; once for each. [dim]default: what suits the device[/]",
        ),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    fresh: FreshOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    report: ReportOption = None,
    language: Language = ENGLISH,
    dry_run: DryRunOption = False,
) -> None:
    """Search attention, compile, precision, checkpointing and batch for the fastest step under your limits.

    The cell flags say what runs at present. Every candidate has a short look; what is not far behind meets the leader
    in pairs, in rounds that grow only where the two cannot be told apart yet. The winner is then compared with the
    present configuration. Where batches differ, tokens a second count. The same command goes on where it was stopped.

    [bold]Examples[/]

    windtunnel tune --d-model 64 --layers 2 --heads 4 --context 64 --axis compile=off --budget 1m

    windtunnel tune --size medium --context 1024 --precision bf16 --budget 10m --memory-limit 40GiB

    windtunnel tune --size small --axis precision=fp32,tf32,bf16 --error-limit 1e-2 --budget 5m

    windtunnel tune --size small --axis batch=4,8,16,32 --axis checkpoint=none,every:1 --memory-limit 24GiB

    windtunnel tune --size small --dry-run        [dim]what would be tried, with predicted times[/]
    """
    axes = _axes(axis or [])
    limits = {"budget": _seconds(budget), "memory_limit": memory_limit, "error_limit": error_limit}

    def make(on: str) -> Tuning:
        return make_tuning(fields, axes, device=on, **limits)

    make("cpu")  # what is wrong with the request is said before a worker starts
    console = make_console()
    if dry_run:
        check_dry_run(report, language)
        _print_plan(make, device or "auto", store, console)
        return
    with TuneDisplay(console) as display:
        try:
            found = search(
                lambda on: display.asked(make(on)),
                device=device or "auto",
                store=store,
                fresh=fresh,
                timeout=parse_timeout(timeout),
                observer=display,
            )
        except KeyboardInterrupt:
            console.print(
                f"\n[bold]stopped[/]: what was measured is stored in {store}. Run the same command again to go on.",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    with writing_in(language):
        title = say("{model}: the fastest configuration", model=found.present.candidate.cell.model.name)
        document = Document(title=title, sections=(tune_section(found),))
    console.print(render_terminal(document))
    if found.ending is Ending.UNFINISHED:
        console.print("Run the same command again to go on; a larger --budget leaves less open.")
    report_store(store, report, console, language=language)
    if not found.winners:
        raise typer.Exit(EXIT_NO)


def _axes(texts: Sequence[str]) -> Mapping[str, Sequence[object]]:
    """Return the values of each axis that was named.

    Raises:
        SpecError: One message for each text that names no axis, no values, or an axis a second time.
    """
    axes: dict[str, Sequence[object]] = {}
    faults: list[str] = []
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if name not in TUNED_AXES:
            faults.append(unknown_name("axis", name, TUNED_AXES))
        elif name in axes:
            faults.append(f"--axis {name} is given twice: name all its values in one list")
        elif not equals or not values.strip(", "):
            faults.append(f"--axis {text} has no values; write it as --axis {name}=A,B")
        else:
            value = field_of(name, values)
            assert isinstance(value, list)  # each of these is an axis of a sweep
            axes[name] = value
    if faults:
        raise SpecError(*faults)
    return axes


def _seconds(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SpecError(f"budget {error}") from None


def _print_plan(make: Any, device: str, store: Path, console: Console) -> None:
    """Print the candidates with what each is predicted to cost, hold and take, in the order in which they are tried.

    Raises:
        SpecError: No candidate fits.
    """
    environment = describe_device(device)
    tuning: Tuning = make(environment.device)
    calibration = None
    if has_store(store):
        with read_store(store) as opened:
            calibration = opened.calibration(environment.machine())
    target = target_of(environment, calibration)
    candidates = candidates_of(tuning, target, environment.device)
    limit = limit_of(tuning, environment)
    check_limit(candidates, limit)
    left_out = sum(not fits(one, limit) for one in candidates)
    title = f"{candidates[0].cell.model.name}: {counted(len(candidates), 'configuration')}, the present one first"
    console.print(rows_table(title, ((label_of(one.cell, tuning), one.prediction) for one in candidates)))
    for name in TUNED_AXES:
        console.print(f"{name}: {', '.join(map(str, tuning.tried.axes()[name]))}", highlight=False)
    if left_out:
        console.print(f"{left_out} will not be measured: predicted not to fit into {units.memory(limit)}")
    print_unknown((one.prediction for one in candidates), console)
    if target.ceilings is None:
        console.print(
            f"What {escape(target.name or device)} can do is not known, so no time is predicted; windtunnel calibrate "
            "measures it.",
            highlight=False,
            soft_wrap=True,
        )
