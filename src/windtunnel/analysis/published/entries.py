"""One row of a table to observations: what it says itself, then what lines above say, then what options declare."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from windtunnel.analysis.observed import Configuration, Defect, Held, Observation, State, with_known_shape
from windtunnel.analysis.published.headings import Measure, phase_of
from windtunnel.analysis.published.layout import RawRow, Unread
from windtunnel.analysis.published.values import (
    BYTES,
    SECONDS,
    Value,
    clean,
    is_nothing,
    is_out_of_memory,
    parse_count,
    parse_value,
)

_COUNTS = ("d_model", "d_ff", "num_layers", "num_heads", "context_length", "batch_size", "warmup", "steps")
_TEXTS = ("size", "precision", "attention", "gpu")
_YES, _NO = {"true", "yes", "1", "on", "是", "compiled", "✓"}, {"false", "no", "0", "off", "否", "eager", "✗"}

UNNAMED = "time"
"""The phase of times whose table does not say which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """What the user says of a table that the table does not; None where not said either."""

    gpu: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    context_length: int | None = None
    steps: int | None = None
    unit: str | None = None


@dataclass(slots=True)
class ReadRow:
    """What came of one row."""

    times: list[Observation] = field(default_factory=list[Observation])
    memory: list[Held] = field(default_factory=list[Held])
    problems: list[Unread] = field(default_factory=list[Unread])
    defects: list[Defect] = field(default_factory=list[Defect])
    assumptions: list[str] = field(default_factory=list[str])


def read_row(
    row: RawRow,
    columns: Mapping[int, str | Measure],
    labels: Mapping[int, str],
    facts: Mapping[str, str],
    declared: Declared,
    series: int,
) -> ReadRow:
    """Return the observations of a row; what cannot be read is a problem with its line, the rest still counts."""
    read = ReadRow()
    axes: dict[str, str] = {}
    for place, entry in enumerate(row.entries):
        meaning = columns.get(place)
        if isinstance(meaning, str) and not is_nothing(entry):
            axes[meaning] = clean(entry)
    config, steps, phase = _configuration(axes, facts, declared, row.line, read)
    others = tuple((name, clean(row.entries[place])) for place, name in labels.items())
    config = replace(config, others=others)
    _times(row, columns, config, steps=steps, phase=phase, series=series, read=read)
    _lost(row, columns, config, read)
    return read


def _configuration(
    axes: Mapping[str, str], facts: Mapping[str, str], declared: Declared, line: int, read: ReadRow
) -> tuple[Configuration, int | None, str | None]:
    """Return the configuration of a row, its number of samples and its phase, where they are said."""
    fields: dict[str, Any] = {}
    options = {
        "batch_size": declared.batch_size,
        "context_length": declared.context_length,
        "steps": declared.steps,
        "precision": declared.precision,
        "gpu": declared.gpu,
    }
    for name in _COUNTS:
        text = axes.get(name, facts.get(name))
        if text is None:
            fields[name] = options.get(name)
            continue
        count = parse_count(text)
        if count is None or (count == 0 and name != "warmup"):
            read.problems.append(Unread(line=line, reason=f"{name} is {text!r}, which is no whole number above 0"))
            count = None
        fields[name] = count
    for name in _TEXTS:
        fields[name] = axes.get(name, facts.get(name)) or options.get(name)
    steps = fields.pop("steps")
    if (compiled := axes.get("compile")) is not None:
        word = compiled.casefold()
        fields["compile"] = "on" if word in _YES else "off" if word in _NO else compiled
    phase = phase_of(axes["mode"]) or axes["mode"] if "mode" in axes else None
    if "forward_only" in axes:
        phase = "forward" if axes["forward_only"].casefold() in _YES else "forward_backward"
    written = fields["size"]
    config = with_known_shape(Configuration(**fields))
    if written and config.size and written.casefold() != config.size.casefold():
        read.assumptions.append(f"size {written!r} has the shape of {config.size!r} and is called so")
    if written and "d_model" not in axes and config.d_model:
        read.assumptions.append("sizes known by name have the shape that windtunnel gives them")
    return config, steps, phase


def _times(
    row: RawRow,
    columns: Mapping[int, str | Measure],
    config: Configuration,
    *,
    steps: int | None,
    phase: str | None,
    series: int,
    read: ReadRow,
) -> None:
    deviations = {
        _key(meaning): (place, meaning)
        for place, meaning in columns.items()
        if isinstance(meaning, Measure) and meaning.quantity == "time" and meaning.statistic == "std"
    }
    seen: set[tuple[str, Configuration]] = set()
    for place, measure in columns.items():
        if not isinstance(measure, Measure) or measure.statistic == "std":
            continue
        if measure.quantity not in {"time", "memory"}:
            continue
        source = f"line {row.line}, {measure.name}"
        state, value = _entry(row.entries[place], source, row.line, read)
        place_config = _pivoted(config, measure)
        if measure.quantity == "memory":
            if value is not None:
                held = value.number * BYTES[value.unit if value.unit in BYTES else measure.unit or "bytes"]
                name = measure.name
                read.memory.append(Held(config=place_config, name=name, num_bytes=held, source=source, series=series))
                if (value.unit or measure.unit) in {"mb", "gb", "kb"}:
                    read.assumptions.append("MB and GB of memory are read as MiB and GiB, as torch's counts mostly are")
            continue
        if state == "missing" and value is None:
            continue
        deviation = value.std if value else None
        deviation_unit = measure.unit
        if value and deviation is None and (found := deviations.get(_key(measure))):
            _, beside = _entry(row.entries[found[0]], f"line {row.line}, {found[1].name}", row.line, read)
            if beside is not None:
                deviation, deviation_unit = beside.number, beside.unit or found[1].unit or measure.unit
        name = measure.phase or phase or UNNAMED
        if (name, place_config) in seen:
            continue  # a median beside a mean: the first counts
        seen.add((name, place_config))
        scale = SECONDS.get((value and value.unit) or measure.unit or "", None)
        if value is not None and (scale is None or value.number < 0 or (deviation or 0) < 0):
            what = "is negative" if scale is not None else f"has the unit {value.unit!r}, which is none of time"
            read.problems.append(Unread(line=row.line, reason=f"{measure.name}: {row.entries[place]!r} {what}"))
            continue
        if value is not None and value.number == 0:
            read.problems.append(Unread(line=row.line, reason=f"{measure.name} is 0: nothing takes no time"))
            continue
        deviation_scale = scale if value and value.std is not None else SECONDS.get(deviation_unit or "", scale)
        read.times.append(
            Observation(
                config=place_config,
                phase=name,
                mean_seconds=None if value is None else value.number * (scale or 1.0),
                std_seconds=None if deviation is None else deviation * (deviation_scale or 1.0),
                n=steps,
                state=state,
                source=source,
                series=series,
            )
        )


def _key(measure: Measure) -> tuple[str | None, str | None, int | None]:
    return measure.phase, measure.compile, measure.context_length


def _pivoted(config: Configuration, measure: Measure) -> Configuration:
    if measure.compile is not None:
        config = replace(config, compile=measure.compile)
    if measure.context_length is not None:
        config = replace(config, context_length=measure.context_length)
    if "=" in measure.name:
        axis, _, number = measure.name.partition("=")
        count = parse_count(number)
        if axis in {"warmup", "context_length", "batch_size", "d_model"} and count is not None:
            config = replace(config, **{axis: count})
    return config


def _entry(text: str, source: str, line: int, read: ReadRow) -> tuple[State, Value | None]:
    if is_out_of_memory(text):
        return "out of memory", None
    if is_nothing(text):
        return "missing", None
    value = parse_value(text)
    if value is None:
        where = source.partition(", ")[2]
        read.problems.append(Unread(line=line, reason=f"{where} is {text[:60]!r}, which is no number"))
        return "missing", None
    return "ok", value


def _lost(row: RawRow, columns: Mapping[int, str | Measure], config: Configuration, read: ReadRow) -> None:
    """Note a failure whose row no longer says what failed."""
    failed = any(one.state == "out of memory" for one in read.times)
    lost = [
        meaning
        for place, meaning in columns.items()
        if isinstance(meaning, str) and meaning in _COUNTS and is_nothing(row.entries[place])
    ]
    if failed and lost:
        read.defects.append(
            Defect(
                claim="failure_lost_configuration",
                subject=config.size or f"line {row.line}",
                numbers=(("lost", ", ".join(lost)), ("what", config.size or "a row")),
                sources=(f"line {row.line}",),
            )
        )
