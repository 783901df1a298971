"""`windtunnel step`: one cell or a small grid from flags."""

from typing import Any

from windtunnel.cli.flags import CELL_FLAGS, DeviceOption, takes_flags
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
from windtunnel.records.store import DEFAULT_STORE
from windtunnel.spec.sweep import make_sweep


@takes_flags(CELL_FLAGS)
def command(
    fields: dict[str, Any],
    device: DeviceOption = None,
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
    fresh: FreshOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    probes: ProbesOption = True,
    report: ReportOption = None,
    language: Language = ENGLISH,
) -> None:
    """Measure one cell or a small grid; axes are comma lists.

    [bold]Examples[/]

    windtunnel step --size small --context 256 --mode train_step

    windtunnel step --size small,medium --precision fp32,bf16 --attention eager,sdpa --mode forward_backward

    windtunnel step --d-model 256 --layers 4 --heads 8 --vocab 1000 --context 64,128 --warmup 0,5
    """
    seconds = parse_timeout(timeout)
    sweep = make_sweep(fields | ({"device": device} if device else {}))
    if dry_run:
        check_dry_run(report, language)
        print_plan(sweep, sweep.device, store=store)
    else:
        run_and_report(
            sweep,
            device=None,
            store=store,
            fresh=fresh,
            timeout=seconds,
            report=report,
            language=language,
            probes=probes,
        )
