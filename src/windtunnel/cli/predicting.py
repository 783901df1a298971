"""Predictions as text: one cell in full, many as a table with a row each, and the same as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape

from windtunnel import units
from windtunnel.cost.alternatives import Alternatives, Changes
from windtunnel.cost.counted import EVERYTHING_ELSE
from windtunnel.cost.layout import Layout
from windtunnel.cost.prediction import Fit, Prediction, Target, driver_bytes
from windtunnel.cost.step import Cost
from windtunnel.cost.tape import Component
from windtunnel.language import counted
from windtunnel.report.document import Cell as Entry
from windtunnel.report.document import Column, ColumnKind, Table
from windtunnel.report.terminal import render_table
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel

_FITS = {
    Fit.YES: "fits",
    Fit.CLOSE: "may fit or not: nearer to the capacity than a prediction is good for",
    Fit.NO: "does not fit",
}


def print_one(prediction: Prediction, target: Target, console: Console, *, advice: str = "") -> None:
    """Print everything that is predicted of one cell, and what would fit in its place."""
    cell, parts = prediction.cell, _words_of(prediction)
    console.print(
        f"[bold]{escape(' · '.join(filter(None, parts)))}[/] on {escape(_target_text(target))}",
        highlight=False,
        soft_wrap=True,
    )
    if prediction.cost is not None:
        console.print(_work_text(cell, prediction.cost), highlight=False)
    if prediction.memory is None:
        for text in unknown_texts([prediction]):
            console.print(escape(text), highlight=False, soft_wrap=True)
        return
    if prediction.time is not None:
        console.print(_time_table(prediction))
    console.print(_memory_table(prediction))
    if prediction.unknown:
        console.print(escape(prediction.unknown), highlight=False, soft_wrap=True)
    console.print(_fit_text(prediction, target), highlight=False, soft_wrap=True)
    if advice:
        console.print(advice, highlight=False, soft_wrap=True)
    if text := _saved_text(prediction):
        console.print(text, highlight=False, soft_wrap=True)
    if prediction.wire:
        sent = ", ".join(f"{units.memory(size)} in {phase}" for phase, size in prediction.wire.items())
        console.print(
            f"Each device sends {sent}, and gets as much; the time of that is not in the table: how fast these devices "
            "reach one another is not known here.",
            highlight=False,
            soft_wrap=True,
        )
    if prediction.time is not None:
        _print_rates(target, console)


def words_of(cell: Cell) -> tuple[str, ...]:
    """Return what a cell is, in words; as many for each cell."""
    compiled = "" if cell.compile == "off" else f"compile {cell.compile}"
    again = "" if cell.checkpoint == "none" else f"checkpoint {cell.checkpoint}"
    length = f"{'seq' if cell.is_attention else 'context'} {cell.context_length}"
    return (
        cell.model.name,
        cell.workload,
        cell.precision,
        cell.attention_name,
        compiled,
        again,
        f"batch {cell.batch_size}",
        length,
    )


def _words_of(prediction: Prediction) -> tuple[str, ...]:
    """Return what was predicted, in words: the cell, how it is spread over devices, an optimizer that is not usual."""
    layout, optimizer = prediction.layout, prediction.optimizer
    spread = "" if layout.kind == "none" else f"{layout.kind} over {layout.world_size} GPUs, per device"
    return (*words_of(prediction.cell), spread, "" if optimizer in {None, "adamw"} else f"optimizer {optimizer}")


def _target_text(target: Target) -> str:
    name = target.name or "a device that was not named"
    capacity = f" with {units.memory(target.memory_bytes)}" if target.memory_bytes else ", capacity not known"
    return f"{name}{capacity}{'' if target.ceilings else ', rates not known'}"


def _work_text(cell: Cell, cost: Cost) -> str:
    parameters = "" if cell.is_attention else f"{units.count(cost.parameters)} parameters, "
    if not cost.flops:
        return f"{parameters}FLOPs not known"
    again = cost.recomputed_flops
    more = f" and {units.count(again, 'FLOP')} computed again by checkpointing" if again else ""
    return f"{parameters}{units.count(cost.step_flops, 'FLOP')} a step{more}"


def _time_table(prediction: Prediction) -> RenderableType:
    assert prediction.time is not None
    numbers = ("FLOPs", "bytes moved", "FLOP a byte", "launches", "device", "host", "predicted")
    rows: list[tuple[str, ...]] = [
        (
            name,
            units.count(phase.flops, "FLOP"),
            units.memory(phase.bytes_moved),
            units.NOT_KNOWN if phase.arithmetic_intensity is None else units.significant(phase.arithmetic_intensity),
            f"{phase.launches:,}",
            units.duration(phase.device_seconds),
            units.duration(phase.launch_seconds),
            units.duration(phase.seconds),
            phase.bound.value if phase.bound else units.NOT_KNOWN,
        )
        for name, phase in prediction.time.phases.items()
    ]
    rows.append(("step", *[""] * 6, units.duration(prediction.time.seconds), ""))
    return _table("Predicted time", {"phase": _TEXT, **dict.fromkeys(numbers, _NUMBER), "bound by": _TEXT}, rows)


def _memory_table(prediction: Prediction) -> RenderableType:
    assert prediction.memory is not None
    phases = prediction.memory.components
    rows = [
        (
            part.replace("_", " "),
            *(units.memory(parts[part]) if part in parts else "" for parts in phases.values()),
        )
        for part in (*(part.value for part in Component), EVERYTHING_ELSE)
        if any(part in parts for parts in phases.values())
    ]
    rows.append(("all", *(units.memory(total) for total in prediction.memory.phases.values())))
    columns = {"what": _TEXT, **dict.fromkeys(phases, _NUMBER)}
    return _table("Predicted memory at the peak of each phase", columns, rows)


def _fit_text(prediction: Prediction, target: Target) -> str:
    assert prediction.memory is not None
    memory = prediction.memory
    before = memory.before_backward_bytes
    held = f", {units.memory(before)} before backward" if before is not None else ""
    peak = f"Peak {units.memory(memory.peak_bytes)} in {memory.peak_phase}{held}"
    if prediction.fit is None or target.memory_bytes is None:
        return f"{peak}. Whether it fits is not known: name a device of the table, or give --memory."
    capacity = units.memory(target.memory_bytes)
    driver = driver_bytes(prediction.cell)
    besides = f"with {units.memory(driver)} of the driver " if driver else ""
    return f"{peak}; {besides}it {_FITS[prediction.fit]} in {capacity}."


_FLAGS = {"attention": "--attention", "checkpoint": "--checkpoint", "batch_size": "--batch"}
_LEVERS = {"attention": "fused attention", "checkpoint": "checkpointing", "batch_size": "a smaller batch"}


def advice_text(found: Alternatives, layout: Layout) -> str:
    """Say what makes a cell fit, or what does not and what is left to try; `layout` is that of the cell."""
    if found.fitting:
        said = [f"{_flags(one.changes)} (peak {units.memory(one.peak_bytes)})" for one in found.fitting]
        return f"It would fit with {', or '.join(said)}."
    levers = [_LEVERS[field] for field in found.tried]
    sentences = [f"{_neither(levers)} predicted to make it fit."] if levers else []
    sentences += [
        f"What {_LEVERS[field]} would do is not predicted: {reason}." for field, reason in found.unknown.items()
    ]
    spread = ""
    if found.with_spreading is not None:
        how = "a larger --world-size" if layout.kind == "fsdp" else "--parallel fsdp --world-size N"
        spread = f", or spread it with {' and '.join(filter(None, (how, _flags(found.with_spreading))))}"
    return " ".join([*sentences, f"Try a smaller model or --context{spread}."])


def _flags(changes: Changes) -> str:
    return " ".join(f"{_FLAGS[field]} {value}" for field, value in changes.items())


def _neither(levers: Sequence[str]) -> str:
    if len(levers) == 1:
        return f"{levers[0][0].upper()}{levers[0][1:]} is not"
    together = "both" if len(levers) == 2 else "all of them"
    return f"Neither {' nor '.join(levers)}, nor {together}, is"


def _print_rates(target: Target, console: Console) -> None:
    said = (
        f"Rates: {target.ceilings.source}."
        if target.ceilings
        else "No time is predicted: the rates of this device are not known here; give --calibration STORE of one that "
        "windtunnel calibrate measured, or --device-name of a GPU of the table."
    )
    console.print(said, style="dim", highlight=False, soft_wrap=True)


def _saved_text(prediction: Prediction) -> str:
    """Name the largest tensors that a block keeps for backward."""
    assert prediction.memory is not None
    saved, cell = prediction.memory.saved_of_block, prediction.cell
    if not saved:
        return ""
    largest = ", ".join(f"{name} {units.memory(size)}" for name, size in list(saved.items())[:_LARGEST])
    who = "Attention" if cell.is_attention else "A block"
    without = "" if cell.checkpoint == "none" else f", if nothing were computed again (checkpoint {cell.checkpoint})"
    return f"{who} keeps {units.memory(sum(saved.values()))} for backward{without}; the largest are {escape(largest)}."


_LARGEST = 5


def print_rows(title: str, labelled: Iterable[tuple[str, Prediction]], console: Console) -> None:
    """Print a table with one row for each cell, and below it once which words of their labels are the same in all."""
    labels, predictions = zip(*labelled, strict=True)
    words = [label.split(_BETWEEN) for label in labels]
    shared = [word for word in words[0] if len(words) > 1 and all(word in each for each in words)]
    short = (_BETWEEN.join(word for word in each if word not in shared) or each[0] for each in words)
    console.print(rows_table(title, zip(short, predictions, strict=True)))
    if shared:
        console.print(f"The same in all: {escape(_BETWEEN.join(shared))}.", highlight=False, soft_wrap=True)


_BETWEEN = " · "
"""Stands between the words of a label."""


def rows_table(title: str, labelled: Iterable[tuple[str, Prediction]]) -> RenderableType:
    """Return a table with one row for each cell."""
    labelled = tuple(labelled)
    has_parameters = not all(one.cell.is_attention for _, one in labelled)
    has_wire = any(one.wire for _, one in labelled)
    columns = {
        "cell": _TEXT,
        **({"parameters": _NUMBER} if has_parameters else {}),
        "FLOPs a step": _NUMBER,
        "bytes moved": _NUMBER,
        "peak memory": _NUMBER,
        "in": _TEXT,
        "fits": _TEXT,
        "time of a step": _NUMBER,
        "bound by": _TEXT,
        **({"sent": _NUMBER} if has_wire else {}),
    }
    rows: list[tuple[str, ...]] = []
    for label, one in labelled:
        parameters = [units.count(one.cost.parameters if one.cost else None)] if has_parameters else []
        work = units.count(one.cost.step_flops if one.cost and one.cost.flops else None, "FLOP")
        sent = [units.memory(sum(one.wire.values()))] if has_wire else []
        rows.append((label, *parameters, work, *_outcome(one), *sent))
    return _table(title, columns, rows)


def _outcome(one: Prediction) -> tuple[str, ...]:
    if one.memory is None:
        least = f"> {units.memory(one.cost.floor_bytes)}" if one.cost else units.NOT_KNOWN
        fits = "refused" if one.is_refused else units.NOT_KNOWN
        return (units.NOT_KNOWN, least, "", fits, *[units.NOT_KNOWN] * 2)
    moved = sum(phase.bytes_moved for phase in one.time.phases.values()) if one.time else None
    return (
        units.memory(moved),
        units.memory(one.memory.peak_bytes),
        one.memory.peak_phase,
        one.fit.value if one.fit else units.NOT_KNOWN,
        units.duration(one.time.seconds if one.time else None),
        one.time.bound.value if one.time and one.time.bound else units.NOT_KNOWN,
    )


def unknown_texts(predictions: Iterable[Prediction]) -> tuple[str, ...]:
    """Return what cells are refused for, and why something was not predicted of others, each once."""
    return tuple(dict.fromkeys(_unknown_text(one) for one in predictions if one.unknown))


def print_unknown(predictions: Iterable[Prediction], console: Console) -> None:
    """Print below a table what is not known in it, and why."""
    for text in unknown_texts(predictions):
        console.print(escape(text), style="dim", highlight=False, soft_wrap=True)


def _unknown_text(one: Prediction) -> str:
    if one.is_refused:
        return f"refused: {one.unknown}"
    return f"memory and time are not predicted: {one.unknown}" if one.memory is None else one.unknown


def as_json(prediction: Prediction, target: Target) -> Mapping[str, Any]:
    """Return a prediction in bytes, seconds and FLOPs; null is not known."""
    memory, time, cost = prediction.memory, prediction.time, prediction.cost
    return {
        "cell": prediction.cell.model_dump(mode="json"),
        "device": {"name": target.name, "memory_bytes": target.memory_bytes},
        "parallel": prediction.layout.kind,
        "world_size": prediction.layout.world_size,
        "optimizer": prediction.optimizer,
        "rates": target.ceilings.source if target.ceilings else None,
        "by": "counter" if isinstance(prediction.cell.model, OwnModel) else "formula",
        "parameters": cost.parameters if cost else None,
        "flops": dict(cost.flops) if cost else None,
        "recomputed_flops": cost.recomputed_flops if cost else None,
        "unknown": prediction.unknown or None,
        "is_refused": prediction.is_refused,
        "memory": None
        if memory is None
        else {
            "peak_bytes": memory.peak_bytes,
            "peak_phase": memory.peak_phase,
            "before_backward_bytes": memory.before_backward_bytes,
            "phases": dict(memory.phases),
            "components": {phase: dict(parts) for phase, parts in memory.components.items()},
            "saved_of_block": dict(memory.saved_of_block),
        },
        "fits": prediction.fit.value if prediction.fit else None,
        "seconds": time.seconds if time else None,
        "phases": None
        if time is None
        else {
            name: {
                "seconds": phase.seconds,
                "device_seconds": phase.device_seconds,
                "launch_seconds": phase.launch_seconds,
                "bound": phase.bound.value if phase.bound else None,
                "flops": phase.flops,
                "bytes_moved": phase.bytes_moved,
                "arithmetic_intensity": phase.arithmetic_intensity,
                "launches": phase.launches,
            }
            for name, phase in time.phases.items()
        },
        "wire_bytes": dict(prediction.wire),
    }


def print_many(predictions: Sequence[Prediction], target: Target, console: Console) -> None:
    """Print a table of several cells, and once what is the same in all."""
    labels = [" · ".join(filter(None, _words_of(one))) for one in predictions]
    title = f"{counted(len(predictions), 'cell')} on {_target_text(target)}"
    print_rows(title, zip(labels, predictions, strict=True), console)
    print_unknown(predictions, console)
    if any(one.time is not None for one in predictions):
        _print_rates(target, console)
    if any(one.wire for one in predictions):
        said = "Sent is what each device sends in a step, and gets as much; the time of that is not predicted."
        console.print(said, style="dim", highlight=False, soft_wrap=True)


_TEXT, _NUMBER = ColumnKind.TEXT, ColumnKind.NUMBER


def _table(title: str, columns: Mapping[str, ColumnKind], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Return a table that any terminal shows whole: text breaks between words, and no number is cut."""
    return render_table(
        Table(
            caption=title,
            columns=tuple(Column(name=name, kind=kind) for name, kind in columns.items()),
            rows=tuple(tuple(map(Entry, row)) for row in rows),
        ),
        max_rows=len(rows),
    )
