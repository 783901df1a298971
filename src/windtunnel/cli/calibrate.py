"""`windtunnel calibrate`: the machine's own ceilings, measured and stored."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.cli.console import make_console
from windtunnel.cli.flags import DeviceOption
from windtunnel.records.calibration import Calibration, Ceiling, calibration_to_json
from windtunnel.records.store import DEFAULT_STORE, open_store
from windtunnel.sweep.launch import calibrate_device


def command(
    device: DeviceOption = None,
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="Folder of the store; made if needed.")
    ] = DEFAULT_STORE,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, max=3600.0, metavar="S", help="About how long to measure.")
    ] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, with every sample.")] = False,
) -> None:
    """Measure what this machine can do at most: matrix products, memory, launches, transfers.

    Reports of this store then show each rate as a fraction of what the machine reached here. Measure on an idle
    machine (windtunnel doctor); the latest calibration counts.

    [bold]Examples[/]

    windtunnel calibrate

    windtunnel calibrate --device cuda:1 --store my-results --seconds 60
    """
    opened = open_store(store)  # before 20 s are spent: a store that cannot be written is said at once
    with opened:
        with Console(stderr=True).status("starting a worker") as status:
            calibration, environment = calibrate_device(
                device or "auto",
                seconds=seconds,
                on_begin=opened.make,
                on_stage=lambda name: status.update(escape(name)),
            )
        opened.add_calibration(calibration, environment)
    if as_json:
        typer.echo(calibration_to_json(calibration))
        return
    console = make_console()
    console.print(_table(calibration, environment.device_name))
    for reason, names in _reasons(calibration).items():
        console.print(f"left out: {escape(', '.join(names))}: {escape(reason)}", style="dim")
    console.print(f"{units.duration(calibration.seconds)}; stored in {store}", soft_wrap=True)


def _table(calibration: Calibration, device_name: str) -> Table:
    table = Table(title=f"Ceilings of {escape(device_name)}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what", overflow="fold")
    for name in ("ceiling", "median", "best", "one sample", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for ceiling in calibration.ceilings:
        middle = ceiling.work / ceiling.median
        rates = (_rate(ceiling, value) for value in (ceiling.value, ceiling.median, ceiling.best))
        table.add_row(escape(ceiling.name), *rates, units.duration(middle), f"{len(ceiling.samples_ns):,}")
    table.caption = (
        "Ceiling: the median of the fastest quarter of the samples. Bytes of a copy are counted read and written."
    )
    table.caption_justify = "left"
    return table


def _rate(ceiling: Ceiling, value: float) -> str:
    if ceiling.unit == "launch/s":  # nobody thinks in launches per second
        return f"{units.duration(1 / value)} each"
    return units.count(value, ceiling.unit)


def _reasons(calibration: Calibration) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in calibration.left_out.items():
        reasons.setdefault(reason, []).append(name)
    return reasons
