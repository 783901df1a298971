"""`windtunnel fit`: the largest that fits into memory."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from windtunnel import units
from windtunnel.analysis.results import Results, load_results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.fit_progress import FitDisplay
from windtunnel.cli.flags import CELL_FLAGS, HOW_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import DEFAULT_TIMEOUT, StoreOption, TimeoutOption, parse_timeout
from windtunnel.cli.reporting import Language, ReportOption, write_files
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH, counted
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.build import build_document
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.frontier import ALONG_ATTENTION, ALONG_STEPS, Frontier, make_frontier, with_every_size
from windtunnel.spec.presets import find_sweep
from windtunnel.spec.sweep import load_sweep, make_sweep
from windtunnel.sweep.frontier import FrontierSummary, search_frontier
from windtunnel.sweep.lines import predicted_peak

_SEARCH = "How to search"
_ALONG = ", ".join(dict.fromkeys([*ALONG_STEPS, *ALONG_ATTENTION]))


@takes_flags({name: flag for name, flag in CELL_FLAGS.items() if name not in HOW_FLAGS or name == "seed"})
def command(
    fields: dict[str, Any],
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="TOML file or preset, in place of flags; also of attention alone."),
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(
            "--along",
            metavar="AXIS",
            rich_help_panel=_SEARCH,
            help=f"What is searched: {_ALONG}. [dim]default: context, of attention alone seq[/]",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            rich_help_panel=_SEARCH,
            help="The last value that is tried. [dim]default: context 1,048,576, batch 4,096[/]",
        ),
    ] = None,
    granularity: Annotated[
        int | None,
        typer.Option(
            "--granularity",
            metavar="N",
            rich_help_panel=_SEARCH,
            help="The distance of the values that are tried. [dim]default: context 128, batch 1[/]",
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            metavar="BYTES",
            rich_help_panel=_SEARCH,
            help="What a cell may take of the device, as 24GiB or 30%: rehearses a smaller one. Needed on a CPU.",
        ),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    fresh: Annotated[bool, typer.Option("--fresh", help="Probe again what is stored already.")] = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    report: ReportOption = None,
    language: Language = ENGLISH,
) -> None:
    """Find the largest context, batch or size that fits into memory, for each combination of the other axes.

    Each probe is two steps in a process of its own, so that nothing of one is in the next. Probes are records: a search
    that was stopped goes on where it was.

    [bold]Examples[/]

    windtunnel fit --size small,medium,large --mode train_step --precision fp32,bf16 --attention eager,sdpa

    windtunnel fit --size xl --context 512 --mode train_step --along batch --memory-limit 24GiB

    windtunnel fit --along size --context 2048 --mode forward,train_step

    windtunnel fit seed-004                         [dim]a preset, its lengths extended until they fail[/]

    windtunnel fit --d-model 64 --layers 2 --heads 4 --mode forward --device cpu --memory-limit 500MiB
    """
    frontier = _asked(sweep, fields, along, most=most, granularity=granularity, memory_limit=memory_limit)
    search_and_report(
        frontier,
        device=device or frontier.sweep.device,
        store=store,
        fresh=fresh,
        timeout=parse_timeout(timeout),
        report=report,
        language=language,
    )


def search_and_report(
    frontier: Frontier, *, device: str, store: Path, fresh: bool, timeout: float, report: Path | None, language: str
) -> None:
    """Search with a live display, print what was found, write the report, end with its path.

    Raises:
        typer.Exit: With 1 when a line has no end that can be trusted, with 130 when Ctrl-C stopped the search.
    """
    console = make_console()
    with FitDisplay(console) as display:
        try:
            summary = search_frontier(
                frontier,
                predict=partial(predicted_peak, is_limited=frontier.memory_limit is not None),
                device=device,
                store=store,
                fresh=fresh,
                timeout=timeout,
                observer=display,
            )
        except KeyboardInterrupt:
            console.print(
                f"\n[bold]stopped[/]: every probe so far is stored in {store}. "
                "Run the same command again to search the rest.",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    everything = load_results(store)
    console.print(render_terminal(build_document(_of_search(everything, summary), language=language)))
    _print_ending(summary, console)
    write_files(build_document(everything, language=language), store, report, ("html", "md"), console)
    if any(found.bracket.broken is not None or not found.bracket.is_settled for found in summary.lines):
        raise typer.Exit(EXIT_NO)


def _asked(sweep: str | None, fields: dict[str, Any], along: str | None, **others: Any) -> Frontier:
    """Return the search that flags or a file ask for.

    Raises:
        SpecError: Both say what to search, or one of them is at fault.
    """
    if sweep is None:
        return make_frontier(make_sweep(with_every_size(fields, along)), given=tuple(fields), along=along, **others)
    if fields:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in fields)
        raise SpecError(f"{sweep} says which cells, and so do {given}: give either a sweep or flags")
    loaded = load_sweep(find_sweep(sweep))
    return make_frontier(loaded, along=along, name=loaded.name, **others)


def _of_search(results: Results, summary: FrontierSummary) -> Results:
    """Keep the probes of the lines that were asked for, of this search or of one before; the store may hold more."""
    run = results.runs[-1]
    rows = tuple(
        row
        for row in results
        if row.machine == run.machine and any(found.line.holds(row.cell, row.plan) for found in summary.lines)
    )
    return Results(rows=rows, runs=(run,))


def _print_ending(summary: FrontierSummary, console: Console) -> None:
    before, after = summary.free_before_bytes, summary.free_after_bytes
    console.print(
        f"{counted(summary.probes, 'probe')} in {units.duration(summary.wall_seconds)}"
        + (f", {summary.stored:,} more were stored before" if summary.stored else "")
    )
    if before is not None and after is not None:
        same = "the same" if not summary.missing_bytes else f"{units.memory(summary.missing_bytes)} less"
        console.print(f"free on the device before {units.memory(before)}, after {units.memory(after)}: {same}")
