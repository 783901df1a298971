"""`windtunnel predict`: what a cell must cost, hold and take, without a GPU and without torch."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from windtunnel.cli.console import make_console
from windtunnel.cli.flags import COUNT_FLAGS, TRAINING_FLAGS, takes_flags
from windtunnel.cli.predicting import advice_text, as_json, print_many, print_one, words_of
from windtunnel.cost.alternatives import alternatives
from windtunnel.cost.devices import ALIASES, peaks_of
from windtunnel.cost.layout import LAYOUTS, make_layout
from windtunnel.cost.parameters import OPTIMIZER_STATES
from windtunnel.cost.prediction import Fit, Prediction, Target, predict, target_named
from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.quantities import parse_memory
from windtunnel.spec.sweep import make_sweep

_IDLE = (*COUNT_FLAGS, "warmup", "seed")
"""Flags that say how to measure, and change nothing of what is predicted."""

_WHERE = "On what"


@takes_flags({name: flag for name, flag in TRAINING_FLAGS.items() if name not in _IDLE})
def command(
    fields: dict[str, Any],
    device_name: Annotated[
        str | None,
        typer.Option(
            "--device-name",
            metavar="NAME",
            rich_help_panel=_WHERE,
            help=f"A GPU, as its driver calls it, or short: {', '.join(ALIASES)}. "
            "[dim]default: h200, or that of --calibration[/]",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="BYTES",
            rich_help_panel=_WHERE,
            help="Its capacity, as 80GiB or 24GB. [dim]default: by its name[/]",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="STORE",
            rich_help_panel=_WHERE,
            help="A store with a calibration of that GPU, or of a CPU, in place of a datasheet.",
        ),
    ] = None,
    optimizer: Annotated[
        str, typer.Option("--optimizer", metavar="NAME", help=f"Of a training step: {', '.join(OPTIMIZER_STATES)}.")
    ] = "adamw",
    parallel: Annotated[
        str,
        typer.Option(
            "--parallel",
            metavar="LAYOUT",
            rich_help_panel=_WHERE,
            help=f"How the step is spread over GPUs, each with a batch of its own: {', '.join(LAYOUTS)}.",
        ),
    ] = "none",
    world_size: Annotated[
        int, typer.Option("--world-size", metavar="N", rich_help_panel=_WHERE, help="Over how many GPUs.")
    ] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print it as JSON, one object a cell.")] = False,
) -> None:
    """Say what a cell must cost, hold and take: work, traffic, memory, time, and whether it fits.

    Nothing is measured, and no GPU is needed. Memory follows each tensor of a step from the operation that makes it to
    its end. Time is a roofline over the operations and the host that launches them. Without --mode it is a training
    step; comma lists make a table.

    [bold]Examples[/]

    windtunnel predict --size 2.7B --context 2048 --precision bf16 --mode train_step --device-name h100

    windtunnel predict --size small,medium,large --attention eager,flash-triton --context 512,2048 --memory 24GiB

    windtunnel predict --size 8B --precision bf16-pure --mode train_step --parallel fsdp --world-size 8

    windtunnel predict --model my_package.my_module:make_model --vocab 50257 --context 1024 --memory 24GiB
    """
    if optimizer not in OPTIMIZER_STATES:
        raise SpecError(unknown_name("optimizer", optimizer, OPTIMIZER_STATES))
    layout = make_layout(parallel, world_size)
    target, device = _target(device_name, memory, calibration)
    sweep = make_sweep({"mode": ["train_step"], **fields})
    tasks = sweep.expand(device)
    workloads = dict.fromkeys(task.cell.workload for task in tasks)
    if optimizer != "adamw" and "train_step" not in workloads:
        raise SpecError(
            f"optimizer {optimizer!r} has no effect on {', '.join(workloads)}: leave it out, or use --mode train_step"
        )
    predictions = [predict(task.cell, target, layout=layout, optimizer=optimizer) for task in tasks]
    if any(isinstance(one.cell.model, OwnModel) for one in predictions):
        predictions = _counted(predictions, target, optimizer)
    if json_:
        typer.echo(json.dumps([as_json(one, target) for one in predictions], indent=2))
    elif len(predictions) == 1:
        (one,) = predictions
        advice = ""
        if one.fit in {Fit.NO, Fit.CLOSE} and isinstance(one.cell.model, ModelSpec):
            found = alternatives(one.cell, target, layout=layout, optimizer=optimizer)
            advice = advice_text(found, layout)
        print_one(one, target, make_console(), advice=advice)
    else:
        print_many(predictions, target, make_console())


def _counted(predictions: Sequence[Prediction], target: Target, optimizer: str) -> list[Prediction]:
    """Have models of the user's own counted, each cell in a process of its own.

    Raises:
        SpecError: Such a model cannot be made, or not with what was asked for.
    """
    from windtunnel.bench.counting import count_step  # only now: most predictions start no process
    from windtunnel.cost.counted import predict_counted

    if optimizer != "adamw":
        raise SpecError(f"optimizer {optimizer!r} is not counted of a model of your own; leave --optimizer out")
    found: list[Prediction] = []
    with Console(stderr=True).status("counting") as status:
        for one in predictions:
            if one.is_refused or not isinstance(one.cell.model, OwnModel):
                found.append(one)
                continue
            status.update(escape(f"counting {' · '.join(filter(None, words_of(one.cell)))}"))
            counted = count_step(one.cell)
            if counted.fault:
                raise SpecError(counted.fault)
            found.append(predict_counted(one, target, counted))
    return found


def _target(device_name: str | None, memory: str | None, calibration: Path | None) -> tuple[Target, str]:
    """Return the device that was asked for, and what torch calls it: of one that was calibrated that of its machine.

    Raises:
        SpecError: The size is none, or the store has no calibration of that device.
    """
    capacity = None if memory is None else _quantity("memory", memory, parse_memory)
    if calibration is None:
        name = device_name or "h200"
        return target_named(ALIASES.get(name, name), memory_bytes=capacity), "cuda:0"
    # Only now: a prediction from datasheets needs no store, and must answer at once.
    from windtunnel.records.ceilings import calibrated_ceilings
    from windtunnel.records.store import read_store

    with read_store(calibration) as store:
        found = store.calibrations()
    wanted = None if device_name is None else ALIASES.get(device_name, device_name)
    fitting = [one for one in found if wanted is None or one[1].device_name == wanted]
    if not fitting:
        names = ", ".join(sorted({environment.device_name for _, environment in found})) or "none"
        raise SpecError(
            f"the store {str(calibration)!r} has no calibration{f' of {wanted!r}' if wanted else ''}; it has: {names}. "
            f"Make one there with: windtunnel calibrate --store {calibration}"
        )
    latest, environment = fitting[0]
    target = target_named(
        environment.device_name,
        memory_bytes=capacity,
        ceilings=calibrated_ceilings(latest, peaks_of(environment.device_name)),
    )
    if not capacity:
        target = replace(target, memory_bytes=environment.device_memory_bytes)
    return target, latest.device


def _quantity(name: str, value: str, parse: Callable[[object], int]) -> int:
    try:
        return parse(value)
    except ValueError as error:
        raise SpecError(f"{name} {error}") from None
