"""One row of a table to observations: what it says itself, then what lines above say, then what options declare."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from windtunnel.analysis.observed import Configuration, Defect, Held, Observation, State, with_known_shape
from windtunnel.analysis.published.headings import Measure, phase_of, variant_of
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
from windtunnel.language import listed, say

_COUNTS = ("d_model", "d_ff", "num_layers", "num_heads", "context_length", "batch_size", "warmup", "steps")
_TEXTS = ("size", "precision", "attention", "gpu")
_YES, _NO = {"true", "yes", "1", "on", "是", "compiled", "✓"}, {"false", "no", "0", "off", "否", "eager", "✗"}

UNNAMED = "time"
"""The phase of times whose table does not say which."""
MEMORY = "memory"
"""The phase of a cell of which only a column of memory says that it ran out."""


_SHORTEST, _LONGEST = 1e-12, 1e9
"""Seconds; a step takes more than the first and less than the second, which is 30 years."""
_MOST_BYTES = 1e18


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """What the user says of a table that the table does not; None where not said either."""

    gpu: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    context_length: int | None = None
    steps: int | None = None
    unit: str | None = None


Assumption: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Something that was taken for granted: the name of its text, and the fields of that."""


@dataclass(slots=True)
class ReadRow:
    """What came of one row."""

    times: list[Observation] = field(default_factory=list[Observation])
    memory: list[Held] = field(default_factory=list[Held])
    problems: list[Unread] = field(default_factory=list[Unread])
    defects: list[Defect] = field(default_factory=list[Defect])
    assumptions: list[Assumption] = field(default_factory=list[Assumption])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """What the whole row shares."""

    config: Configuration
    steps: int | None
    phase: str | None
    series: int


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
    _measured(row, columns, _Place(config=config, steps=steps, phase=phase, series=series), read)
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
            reason = say("{name} is {text!r}, which is no whole number above 0", name=name, text=text)
            read.problems.append(Unread(line=line, reason=reason))
            count = None
        fields[name] = count
    for name in _TEXTS:
        fields[name] = axes.get(name, facts.get(name)) or options.get(name)
    steps = fields.pop("steps")
    if (compiled := axes.get("compile")) is not None:
        word = compiled.casefold()
        fields["compile"] = "on" if word in _YES else "off" if word in _NO else compiled
    mode = axes.get("mode", "")
    for name, text in (("attention", fields["attention"] or ""), ("mode", mode)):
        if (variant := variant_of(text)) is not None:  # a column of implementations: eager, compiled
            fields |= {"compile": variant, "attention": None if name == "attention" else fields["attention"]}
            mode = "" if name == "mode" else mode
    phase = phase_of(mode) or mode or None
    if "forward_only" in axes:
        phase = "forward" if axes["forward_only"].casefold() in _YES else "forward_backward"
    written = fields["size"]
    config = with_known_shape(Configuration(**fields))
    if written and config.size and written.casefold() != config.size.casefold():
        read.assumptions.append(("named_by_shape", (("written", written), ("size", config.size))))
    if written and "d_model" not in axes and config.d_model:
        read.assumptions.append(("shaped_by_name", ()))
    return config, steps, phase


def _measured(row: RawRow, columns: Mapping[int, str | Measure], place_of: _Place, read: ReadRow) -> None:
    seen: dict[tuple[str, Configuration], str] = {}
    ended: dict[Configuration, str] = {}
    for place, measure in columns.items():
        if not isinstance(measure, Measure) or not (measure.is_judged or measure.is_held):
            continue
        state, value = _entry(row, place, measure, read)
        config = _pivoted(place_of.config, measure)
        source = f"line {row.line}, {measure.name}"
        if measure.quantity == "memory" and value is not None:
            _add_memory(value, measure, config, source, place_of.series, read)
        if measure.quantity == "memory" or state == "missing":
            if state == "out of memory":
                ended.setdefault(config, source)
            continue
        phase = measure.phase or place_of.phase or UNNAMED
        before = seen.setdefault((phase, config), measure.name)
        if before != measure.name:
            reason = say("{name} is not used: {before} is of the same phase and cell", name=measure.name, before=before)
            read.problems.append(Unread(line=row.line, reason=reason))
            continue
        seconds, deviation = _seconds(row, columns, measure, value, read)
        if state == "ok" and seconds is None:
            continue
        read.times.append(
            Observation(
                config=config,
                phase=phase,
                mean_seconds=seconds,
                std_seconds=deviation,
                n=place_of.steps,
                state=state,
                source=source,
                series=place_of.series,
            )
        )
    said = {one.config for one in read.times if one.state == "out of memory"}
    read.times += [
        Observation(
            config=config,
            phase=MEMORY,
            mean_seconds=None,
            state="out of memory",
            source=source,
            series=place_of.series,
        )
        for config, source in ended.items()
        if config not in said
    ]


def _add_memory(value: Value, measure: Measure, config: Configuration, source: str, series: int, read: ReadRow) -> None:
    unit = value.unit if value.unit in BYTES else measure.unit or "bytes"
    num_bytes = value.number * BYTES.get(unit, 1.0)
    if not 0 < num_bytes <= _MOST_BYTES:
        reason = say("{name} is {number:g} {unit}: no memory", name=measure.name, number=value.number, unit=unit)
        read.problems.append(Unread(line=line_of(source), reason=reason))
        return
    read.memory.append(Held(config=config, name=measure.name, num_bytes=num_bytes, source=source, series=series))
    if unit in {"mb", "gb", "kb"}:
        read.assumptions.append(("binary_units", ()))


def line_of(source: str) -> int:
    """Return the line of where an observation stands."""
    return int(source.removeprefix("line ").partition(",")[0])


def _seconds(
    row: RawRow, columns: Mapping[int, str | Measure], measure: Measure, value: Value | None, read: ReadRow
) -> tuple[float | None, float | None]:
    """Return a mean and its deviation in seconds; None for both where the entry is no time, which is noted."""
    if value is None:
        return None, None
    size = SECONDS.get(value.unit or measure.unit or "")
    if size is None:
        what = say("has the unit {unit!r}, which is none of time", unit=value.unit)
        return _refused(row, measure, what, value, read)
    if value.number <= 0:
        what = say("is negative") if value.number < 0 else say("is 0: nothing takes no time")
        return _refused(row, measure, what, value, read)
    deviation = None if value.std is None else value.std * size
    if deviation is None:
        deviation = _beside(row, columns, measure, read)
    seconds = value.number * size
    if not _SHORTEST <= seconds <= _LONGEST or not 0 <= (deviation or 0.0) <= _LONGEST:
        return _refused(row, measure, say("is no time that a step could take"), value, read)
    return seconds, deviation


def _refused(row: RawRow, measure: Measure, what: str, value: Value, read: ReadRow) -> tuple[None, None]:
    unit = f" {value.unit}" if value.unit else ""
    reason = say("{name}: {number:g}{unit} {what}", name=measure.name, number=value.number, unit=unit, what=what)
    read.problems.append(Unread(line=row.line, reason=reason))
    return None, None


def _beside(row: RawRow, columns: Mapping[int, str | Measure], measure: Measure, read: ReadRow) -> float | None:
    """Return the deviation in the column beside, in seconds."""
    for place, other in columns.items():
        if not isinstance(other, Measure) or other.statistic != "std" or other.quantity != "time":
            continue
        if other.unused is None and other.key == measure.key:
            _, value = _entry(row, place, other, read)
            size = SECONDS.get((value and value.unit) or other.unit or measure.unit or "")
            return None if value is None or size is None else value.number * size
    return None


def _pivoted(config: Configuration, measure: Measure) -> Configuration:
    if measure.compile is not None:
        config = replace(config, compile=measure.compile)
    if measure.context_length is not None:
        config = replace(config, context_length=measure.context_length)
    if measure.warmup is not None:
        config = replace(config, warmup=measure.warmup)
    if measure.pivot is not None:
        axis, count = measure.pivot
        config = replace(config, **{axis: count})
    if measure.column is not None:
        config = replace(config, others=(*config.others, ("column", measure.column)))
    return config


def _entry(row: RawRow, place: int, measure: Measure, read: ReadRow) -> tuple[State, Value | None]:
    """Return what an entry says: a value, that memory ran out, or nothing; what is none of these is noted."""
    text = row.entries[place]
    if is_out_of_memory(text):
        return "out of memory", None
    if is_nothing(text):
        return "missing", None
    value = parse_value(text)
    if value is None:
        reason = say("{name} is {text!r}, which is no number", name=measure.name, text=text[:60])
        read.problems.append(Unread(line=row.line, reason=reason))
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
                subject=f"{config.size or 'a row'}, line {row.line}",
                numbers=(("lost", listed(lost)), ("what", config.size or say("a row"))),
                sources=(f"line {row.line}",),
            )
        )
