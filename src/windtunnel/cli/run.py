"""`windtunnel run`: a sweep becomes records and a report."""

from typing import Annotated

import typer

from windtunnel.cli.flags import DeviceOption
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
from windtunnel.language import ENGLISH
from windtunnel.records.environment import Environment
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.spec.presets import default_preset, find_sweep
from windtunnel.spec.sweep import AnySweep, load_sweep


def command(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="TOML file or preset. [dim]default: this machine's preset[/]"),
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
    """Measure a whole sweep and write its report.

    What the store holds already is not measured again, so a run that was interrupted goes on where it stopped.

    [bold]Examples[/]

    windtunnel run                                  [dim]the preset for this machine[/]

    windtunnel run seed-000 --dry-run               [dim]what a preset would measure[/]

    windtunnel run my-sweep.toml --store results    [dim]a sweep of your own[/]

    windtunnel run --lang zh                        [dim]its report in Chinese[/]
    """
    seconds = parse_timeout(timeout)
    chosen = load_sweep(find_sweep(sweep)) if sweep else _preset_of_machine
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


def _preset_of_machine(environment: Environment) -> AnySweep:
    return load_sweep(find_sweep(default_preset(environment.device)))
