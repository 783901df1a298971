"""`windtunnel attention`: attention alone, without a model around it."""

from typing import Annotated, Any

import typer

from windtunnel.cli.flags import ATTENTION_FLAGS, DeviceOption, takes_flags
from windtunnel.cli.measuring import (
    DEFAULT_TIMEOUT,
    DryRunOption,
    FreshOption,
    ProbesOption,
    StoreOption,
    TimeoutOption,
    check_dry_run,
    parse_timeout,
    print_plan,
    run_and_report,
)
from windtunnel.cli.reporting import Language, ReportOption
from windtunnel.errors import SpecError
from windtunnel.language import ENGLISH
from windtunnel.records.environment import Environment
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.spec.presets import default_attention_preset, find_sweep
from windtunnel.spec.sweep import AnySweep, load_sweep, make_sweep
from windtunnel.sweep.engine import ChooseSweep


@takes_flags(ATTENTION_FLAGS)
def command(
    fields: dict[str, Any],
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="TOML file or preset, in place of flags."),
    ] = None,
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
    fresh: FreshOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    probes: ProbesOption = True,
    report: ReportOption = None,
    language: Language = ENGLISH,
) -> None:
    """Measure attention alone: backends, shapes, masks and precisions; axes are comma lists.

    Each cell attends with random Q, K and V; a phase forward_backward takes gradients too. With --compare A/B two
    backends are measured in pairs after the sweep, which sees smaller differences than two medians do. Without a file
    and without flags it measures a small preset for this machine.

    [bold]Examples[/]

    windtunnel attention                            [dim]a first look, on this machine[/]

    windtunnel attention --seq 1024,4096,16384 --heads 16 --precision bf16 --backend sdpa,flash-triton

    windtunnel attention --mask full,causal,window:256 --seq 2048 --backend eager,flex --compare eager/flex

    windtunnel attention --heads 32 --kv-heads 8 --phase forward --backend sdpa,mypackage.mymodule:attend

    windtunnel attention seed-004 --dry-run         [dim]what a preset would measure[/]
    """
    seconds = parse_timeout(timeout)
    chosen = _chosen(sweep, fields)
    device = device or (chosen.device if isinstance(chosen, AnySweep) else "auto")
    if dry_run:
        check_dry_run(report, language)
        print_plan(chosen, device, store=store)
    else:
        run_and_report(
            chosen,
            device=device,
            store=store,
            fresh=fresh,
            timeout=seconds,
            report=report,
            language=language,
            probes=probes,
        )


def _chosen(sweep: str | None, fields: dict[str, Any]) -> AnySweep | ChooseSweep:
    if sweep is None:
        return make_sweep({"kind": "attention", **fields}) if fields else _preset_of_machine
    if fields:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in fields)
        raise SpecError(f"{sweep} says what to measure, and so do {given}: give either a sweep or flags")
    loaded = load_sweep(find_sweep(sweep))
    if loaded.kind != "attention":
        raise SpecError(f"{sweep} is a sweep of kind {loaded.kind!r}: measure it with `windtunnel run {sweep}`")
    return loaded


def _preset_of_machine(environment: Environment) -> AnySweep:
    return load_sweep(find_sweep(default_attention_preset(environment.device)))
