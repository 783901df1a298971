"""`windtunnel compare`: two configurations measured against each other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from windtunnel.analysis.pairs import Compared, describe_sides, judge_grid
from windtunnel.analysis.results import Results
from windtunnel.cli import EXIT_INTERRUPTED, EXIT_NO
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import CELL_FLAGS, COUNT_FLAGS, DeviceOption, parse_cell_flags, takes_flags
from windtunnel.cli.measuring import DEFAULT_TIMEOUT, StoreOption
from windtunnel.cli.progress import PairDisplay
from windtunnel.cli.reporting import Language
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import ENGLISH, writing_in
from windtunnel.records.pair import Pairing
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.report.build import build_document
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.quantities import parse_fraction, parse_seconds
from windtunnel.spec.sweep import AnySweep, load_sweep, make_sweep
from windtunnel.statistics.paired import Side, Verdict
from windtunnel.statistics.pairing import DEFAULT_DELTA, PairPlan
from windtunnel.sweep.launch import Place
from windtunnel.sweep.pairs import DEFAULT_BLOCK_SECONDS, compare_sweeps

_LIMITS = {Pairing.TOGETHER: (128, 60.0), Pairing.PROCESS: (8, 3600.0)}
"""The most pairs and seconds of a comparison, where they are not given."""

_HOW = "How to compare"


@takes_flags({name: flag for name, flag in CELL_FLAGS.items() if name not in COUNT_FLAGS})
def command(
    fields: dict[str, Any],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="A.toml B.toml", help="Two sweep files instead of flags.")
    ] = None,
    a: Annotated[
        str | None, typer.Option("--a", metavar="FLAGS", help="Flags of a cell that only side A has; in quotes.")
    ] = None,
    b: Annotated[str | None, typer.Option("--b", metavar="FLAGS", help="The same of side B.")] = None,
    pair: Annotated[
        str,
        typer.Option(
            "--pair",
            metavar="HOW",
            rich_help_panel=_HOW,
            help="together: both cells in one process, step by step. process: a fresh process for each turn; then a "
            "side may also have --project DIR (run there) and --python EXE (run with it).",
        ),
    ] = Pairing.TOGETHER.value,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="SHARE", rich_help_panel=_HOW, help="Go on until the change is known to ± this, as 1%."
        ),
    ] = None,
    delta: Annotated[
        str, typer.Option("--delta", metavar="SHARE", rich_help_panel=_HOW, help="Equivalent means: within ± this.")
    ] = f"{100 * DEFAULT_DELTA:g}%",
    max_pairs: Annotated[
        int | None,
        typer.Option(
            "--max-pairs",
            metavar="N",
            rich_help_panel=_HOW,
            help="The most pairs, an even number from 8. [dim]default: 128; of processes 8[/]",
            show_default=False,
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            metavar="TIME",
            rich_help_panel=_HOW,
            help="The longest time to take pairs of one cell. [dim]default: 60s; of processes 1h[/]",
            show_default=False,
        ),
    ] = None,
    block_time: Annotated[
        str | None,
        typer.Option(
            "--block-time",
            metavar="TIME",
            rich_help_panel=_HOW,
            help="With --pair process: how long each process samples at least. [dim]default: 5s[/]",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    timeout: Annotated[
        str,
        typer.Option("--timeout", metavar="TIME", help="Longest time for one process beyond its samples, as 90s, 30m."),
    ] = DEFAULT_TIMEOUT,
    fail_if: Annotated[
        str | None,
        typer.Option(
            "--fail-if",
            metavar="VERDICT,…",
            help=f"End with 1 when a whole step has such a verdict: {', '.join(Verdict)}.",
        ),
    ] = None,
    language: Language = ENGLISH,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON; progress goes to stderr.")
    ] = False,
) -> None:
    """Measure two configurations against each other: B faster, slower, equivalent, or not known, phase by phase.

    Steps of A and B are taken in pairs whose order is drawn, so what changes slowly is in both alike; every third pair
    is of one side against itself and shows the smallest change that this run can see. What both share may be a grid
    (comma lists).

    [bold]Examples[/]

    windtunnel compare --size small --context 256,512 --mode train_step --a "--attention eager" --b "--attention sdpa"

    windtunnel compare a.toml b.toml

    windtunnel compare --pair process --size small --a "--project ../main" --b "--project ../my-branch"

    windtunnel compare --pair process --size small --a "" --b "--python /envs/torch-2.13/bin/python"

    windtunnel compare --size small --a "" --b "--compile default" --fail-if slower,inconclusive
    """
    pairing, verdicts = _pairing(pair), _verdicts(fail_if)
    sweeps, places = _sides(files or [], fields, a, b)
    if pairing is Pairing.TOGETHER and block_time is not None:
        raise SpecError("--block-time has no effect where both share one process: use --pair process, or leave it out")
    most_pairs, most_seconds = _LIMITS[pairing]
    plan = PairPlan(
        delta=_quantity("delta", delta, parse_fraction),
        target=None if target is None else _quantity("target", target, parse_fraction),
        max_pairs=most_pairs if max_pairs is None else max_pairs,
        max_seconds=most_seconds if max_time is None else _quantity("max-time", max_time, parse_seconds),
    )
    console = Console(stderr=True) if as_json else make_console()
    idle = [name for name in (*COUNT_FLAGS, "compare") if any(name in sweep.model_fields_set for sweep in sweeps)]
    if idle:
        console.print(f"{', '.join(idle)} in the files: no effect here, pairs are taken until there is a verdict")
    with PairDisplay(console) as display:
        try:
            stored = compare_sweeps(
                *sweeps,
                plan=plan,
                pairing=pairing,
                device=device,
                places=places,
                block_seconds=_quantity("block-time", block_time or DEFAULT_BLOCK_SECONDS, parse_seconds),
                store=store,
                timeout=_quantity("timeout", timeout, parse_seconds),
                observer=display,
            )
        except KeyboardInterrupt:
            console.print(
                f"\n[bold]stopped[/]: {display.stored} of {display.planned_count} comparisons are stored in {store}; "
                f"windtunnel report {store} shows them",
                soft_wrap=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    with writing_in(language):
        compared = judge_grid(stored)
        if as_json:
            typer.echo(json.dumps([_as_json(one) for one in compared], indent=2, ensure_ascii=False))
        else:
            console.print(render_terminal(build_document(Results(rows=(), runs=(), comparisons=stored))))
            console.print(
                f"every sample is stored in {store}; windtunnel report {store} shows it again", soft_wrap=True
            )
    if any(not one.whole or one.whole.verdict in verdicts for one in compared):
        raise typer.Exit(EXIT_NO)


def _sides(
    files: list[Path], fields: dict[str, Any], a: str | None, b: str | None
) -> tuple[tuple[AnySweep, AnySweep], tuple[Place, Place]]:
    """Return the two sweeps and where each side runs.

    Raises:
        SpecError: Files and flags are mixed, or a side is at fault; each message names the side.
    """
    if files:
        if len(files) != 2 or fields or a is not None or b is not None:
            raise SpecError("give either two sweep files, A and B, and no flags of a cell; or flags, --a and --b")
        return (load_sweep(files[0]), load_sweep(files[1])), (Place(), Place())
    if a is None and b is None:
        raise SpecError("no sides: say in what they differ, as --a '--attention eager' --b '--attention sdpa'")
    sweeps: list[AnySweep] = []
    places: list[Place] = []
    faults: dict[str, list[str]] = {}
    for side, text in (("A", a), ("B", b)):
        try:
            own, place = parse_cell_flags(text or "", also=("project", "python"))
            sweeps.append(make_sweep({**fields, **own}))
            places.append(Place(**place))
        except SpecError as error:
            for fault in error.faults:
                faults.setdefault(fault, []).append(side)
    if faults:
        raise SpecError(*(fault if len(names) == 2 else f"side {names[0]}: {fault}" for fault, names in faults.items()))
    return (sweeps[0], sweeps[1]), (places[0], places[1])


def _pairing(text: str) -> Pairing:
    known = [pairing.value for pairing in Pairing]
    if text not in known:
        raise SpecError(unknown_name("pair", text, known))
    return Pairing(text)


def _verdicts(text: str | None) -> tuple[Verdict, ...]:
    known = [verdict.value for verdict in Verdict]
    names = [name.strip() for name in text.split(",")] if text else []
    unknown = [unknown_name("verdict", name, known) for name in names if name not in known]
    if unknown:
        raise SpecError(*unknown)
    return tuple(Verdict(name) for name in names)


def _quantity(name: str, value: object, parse: Callable[[object], float]) -> float:
    try:
        return parse(value)
    except ValueError as error:
        raise SpecError(f"{name} {error}") from None


def _as_json(one: Compared) -> dict[str, object]:
    """Return what a program wants of a comparison: the request in words, and numbers as fractions and seconds."""
    record, words = one.record, describe_sides(one.stored)
    return {
        "cell": " · ".join(words.shared),
        "a": words.a,
        "b": words.b,
        "keys": {side.value: record.side(side).task.key() for side in Side},
        "pairing": record.pairing.value,
        "status": record.status.value,
        "failure": record.failure.message if record.failure else None,
        "warnings": list(record.warnings),
        "effects": [
            {
                "phase": effect.phase,
                "is_whole_step": effect.is_total,
                "clock": effect.clock.value,
                "a_seconds": effect.a_seconds,
                "b_seconds": effect.b_seconds,
                "verdict": effect.finding.verdict.value,
                "change": effect.finding.effect.value,
                "low": effect.finding.effect.low,
                "high": _finite(effect.finding.effect.high),
                "resolution": effect.finding.resolution,
                "p_value": effect.finding.p_value,
                "pairs": effect.finding.pairs,
                "reason": effect.finding.reason,
            }
            for effect in one.effects
        ],
    }


def _finite(value: float) -> float | None:
    """Return None for infinity, which JSON does not have."""
    return value if value < float("inf") else None
