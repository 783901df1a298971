"""`windtunnel show`: one record in full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from windtunnel import units
from windtunnel.analysis.labels import marks_of
from windtunnel.analysis.results import Row
from windtunnel.analysis.telemetry import conditions_of
from windtunnel.cli.console import make_console
from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.records.record import Record, record_to_json
from windtunnel.records.store import DEFAULT_STORE, StoredRecord, read_store


def command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the record, or the beginning of it.")],
    store: Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the stored JSON instead.")] = False,
) -> None:
    """Show a record: what was asked, what happened, every sample in order.

    [bold]Examples[/]

    windtunnel show 246f3f8b

    windtunnel show 246f3f8b --json
    """
    with read_store(store) as opened:
        found = list(opened.records(key_prefix=key, all_repeats=True))
    keys = sorted({stored.key for stored in found})
    if len(keys) != 1:
        what = f"{len(keys)} keys begin with {key!r}: {', '.join(keys[:5])}" if keys else f"no key begins with {key!r}"
        raise SpecError(f"{what}; see them all with `windtunnel list {store}`")
    for stored in found:
        if as_json:
            typer.echo(record_to_json(stored.record))
        else:
            _print(stored, make_console())


def _print(stored: StoredRecord, console: Console) -> None:
    record, row = stored.record, Row(stored)
    console.rule(f"{escape(record.task.label())}", align="left")
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(stored):
        facts.add_row(name, escape(value))
    console.print(facts)
    for phase in row.phases:
        console.print(f"[bold]{phase}[/]: {escape(record.timed[phase])}", highlight=False)
        if numbers := _numbers(row, phase):
            console.print(f"  {numbers}", highlight=False)
        for series in record.samples:
            if series.phase == phase:
                scale = units.time_scale(ns * 1e-9 for ns in (*series.nanoseconds, *series.warmup_nanoseconds))
                times, warm = (
                    "  ".join(scale.text(ns * 1e-9) for ns in taken)
                    for taken in (series.nanoseconds, series.warmup_nanoseconds)
                )
                console.print(f"  {series.clock} clock ({scale.unit}): {times}", highlight=False)
                if warm:
                    console.print(f"  {series.clock} clock, warm-up ({scale.unit}): [dim]{warm}[/]", highlight=False)


def _numbers(row: Row, phase: str) -> str:
    """Say what the samples on the clock of the tables amount to; empty where there are none."""
    estimate, spread = row.estimate(phase), row.spread(phase)
    if estimate is None or spread is None:
        return ""
    median = units.known_to(estimate.value, estimate.relative_half_width)
    deviation = f" ± {units.duration(spread.std)}" if spread.std is not None else ""
    marks = f", {', '.join(marks_of(row))}" if phase == row.record.total and marks_of(row) else ""
    return f"median {median}, mean {units.duration(spread.mean)}{deviation}, n = {estimate.n:,}{marks}"


def _facts(stored: StoredRecord) -> Iterator[tuple[str, str]]:
    record, environment = stored.record, stored.environment
    model, cell = record.task.cell.model, record.task.cell
    yield "key", f"{stored.key}, measurement {stored.repeat + 1} at {record.started_at}"
    yield "status", record.status.value
    if record.failure:
        failure = record.failure
        phase = f", phase {failure.phase}" if failure.phase else ""
        yield "failure", f"in {failure.stage}{phase}: {failure.message}"
        if failure.requested_bytes is not None:
            yield (
                "memory asked for",
                f"{units.memory(failure.requested_bytes)}, free {units.memory(failure.free_bytes)}",
            )
        if failure.details:
            yield "details", failure.details
    shape = ", ".join(f"{name} {value}" for name, value in model.model_dump(exclude_none=True).items())
    if cell.is_attention:
        yield "attention alone", shape
    else:
        yield "model", shape
        yield "parameters", units.NOT_KNOWN if record.parameters is None else f"{record.parameters:,}"
    fields = cell.model_dump(exclude={"model"}) | {"attention": cell.attention_name, "checkpoint": cell.checkpoint_name}
    yield "cell", ", ".join(f"{name} {value}" for name, value in fields.items())
    yield "plan", _plan(record)
    yield (
        "machine",
        f"{environment.device_name}, driver {environment.driver or units.NOT_KNOWN}, torch {environment.torch}",
    )
    yield "settings", ", ".join(f"{name}={value}" for name, value in environment.settings.items())
    if record.memory:
        memory = record.memory
        yield (
            "memory",
            f"built {units.memory(memory.built_bytes)}, peak {units.memory(memory.peak_bytes)}, reserved "
            f"{units.memory(memory.peak_reserved_bytes)}, of {units.memory(memory.capacity_bytes)} ({memory.source})",
        )
    if telemetry := _telemetry(record):
        yield "telemetry", telemetry
    yield "time spent", ", ".join(f"{stage} {units.duration(seconds)}" for stage, seconds in record.stages.items())
    for warning in record.warnings:
        yield "warning", warning


def _telemetry(record: Record) -> str:
    """Say what the sensors said during the timed steps; empty where they said nothing."""
    seen = conditions_of(record)
    if seen is None:
        return ""
    said = [f"{counted(seen.num_readings, 'reading')} during the timed steps ({seen.source})"]
    if seen.median_mhz is not None:
        low, high = (units.MEGAHERTZ.text(mhz) for mhz in (seen.low_mhz, seen.high_mhz))
        said.append(f"clock {units.MEGAHERTZ.text(seen.median_mhz)} MHz ({low} to {high})")
    if seen.median_watts is not None:
        said.append(f"power {units.WATTS.text(seen.median_watts)} W")
    if seen.max_celsius is not None:
        said.append(f"at most {units.CELSIUS.text(seen.max_celsius)} °C")
    said += [f"{reason} in {units.percent(share, 0)}" for reason, share in seen.reasons]
    if seen.is_throttled:
        said.append("throttled")
    return ", ".join(said)


def _plan(record: Record) -> str:
    plan = record.task.plan
    asked = f"target {100 * plan.target:g} %" if plan.target else f"samples {plan.steps}"
    series = record.samples[0] if record.samples else None
    used = f"; used: warm-up {len(series.warmup_nanoseconds)}, samples {len(series.nanoseconds)}" if series else ""
    ends = [
        f"{name} ended by {how}" for name, how in (("warm-up", record.warmed_by), ("samples", record.stopped_by)) if how
    ]
    processes = [name] if (name := record.task.process_name) else []
    cache = [] if plan.cache == "warm" else [f"{plan.cache} cache"]
    if plan.purpose == "fit":
        cache.append(
            "only whether it fits, into "
            + (units.memory(plan.memory_limit_bytes) if plan.memory_limit_bytes else "all of the device")
        )
    return "; ".join([f"asked: warm-up {plan.warmup}, {asked}{used}", *ends, *cache, *processes])
