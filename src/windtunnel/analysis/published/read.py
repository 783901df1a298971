"""A published document to observations: each table interpreted, with what was understood and what was not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from windtunnel.analysis.observed import Defect, Held, Observation, Observed, shared_fields
from windtunnel.analysis.published.columns import columns_of, labels_of, words_of
from windtunnel.analysis.published.entries import Assumption, Declared, line_of, read_row
from windtunnel.analysis.published.headings import Measure, axis_of, measure_of
from windtunnel.analysis.published.identity import find_defects
from windtunnel.analysis.published.layout import RawTable, Unread, find_tables
from windtunnel.analysis.published.precisions import precision_of
from windtunnel.analysis.published.values import clean, parse_count, parse_value
from windtunnel.cost.devices import ALIASES, peaks_of
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import listed, say
from windtunnel.spec.tables import PRECISIONS

_DESCRIBED = {"count", "mean", "std", "min", "max"}
_MOST_BYTES = 20 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """How one table was read: its lines, what each heading was taken for, and how many numbers came of it.

    `columns` are headings with the words of their meaning: names of axes, phases, statistics and units.
    """

    line: int
    caption: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    observations: int
    failures: int
    assumptions: tuple[Assumption, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What a document says: `observed` for the rules, the rest for who wants to check how it was read."""

    observed: Observed
    tables: tuple[Understood, ...]
    facts: tuple[tuple[int, str, str], ...]
    unread: tuple[Unread, ...]


def read_published(path: Path, declared: Declared) -> Published:
    """Read a file with published tables.

    Raises:
        SpecError: There is no such file, it is no text, or no table in it could be read; each line with its reason.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise SpecError(f"{path} has {size:,} bytes; a table to audit has at most {_MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}; give a file with a table") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is no text in UTF-8: byte {error.start} is not; save it as UTF-8") from None
    published = parse_published(text, declared)
    if not published.tables:
        reasons = [f"{path}, line {one.line}: {one.reason}" for one in published.unread]
        raise SpecError(
            *(
                reasons
                or [
                    f"{path} holds no table that could be read; allowed: Markdown or terminal tables with |, "
                    "columns of a fixed width, CSV or TSV, with headings"
                ]
            )
        )
    return published


def parse_published(text: str, declared: Declared) -> Published:
    """Read the tables of a text. What a table says itself goes before what a line above says, that before an option."""
    if declared.gpu and peaks_of(declared.gpu) is None:
        raise SpecError(unknown_name("GPU", declared.gpu, ALIASES))
    raw, unread = find_tables(text)
    problems = list(unread)
    times: list[Observation] = []
    memory: list[Held] = []
    defects: list[Defect] = []
    tables: list[Understood] = []
    facts: dict[tuple[int, str, str], None] = {}
    for series, table in enumerate(raw, start=1):
        if described := _described(table):
            defects.append(described)
            continue
        known = _facts(table)
        facts.update(dict.fromkeys(known))
        columns, reason = columns_of(table, declared.unit)
        if reason:
            problems.append(Unread(line=table.line, reason=reason))
            continue
        labels = labels_of(table, columns)
        fixed = {name: value for _, name, value in known}
        before = len(times)
        held = len(memory)
        assumptions: dict[Assumption, None] = {}
        for row in table.rows:
            read = read_row(row, columns, labels, fixed, declared, series)
            times += read.times
            memory += read.memory
            problems += read.problems
            defects += read.defects
            assumptions |= dict.fromkeys(read.assumptions)
        mine = times[before:]
        tables.append(
            Understood(
                line=table.line,
                caption=table.captions[0] if table.captions else "",
                columns=tuple(
                    (clean(heading), ("label",) if place in labels else words_of(columns.get(place)))
                    for place, heading in enumerate(table.headings)
                    if heading
                ),
                observations=sum(one.state == "ok" for one in mine) + len(memory) - held,
                failures=sum(one.state == "out of memory" for one in mine),
                assumptions=tuple(assumptions),
            )
        )
        defects += _no_comparison(table, mine)
        problems += _without_peak(mine)
    kept, more = find_defects(times)
    shared = shared_fields(one.config for one in (*kept, *memory))
    kept = tuple(replace(one, config=replace(one.config, shared=shared)) for one in kept)
    memory = [replace(one, config=replace(one.config, shared=shared)) for one in memory]
    observed = Observed(times=kept, memory=tuple(dict.fromkeys(memory)), defects=(*defects, *more))
    return Published(observed=observed, tables=tuple(tables), facts=tuple(facts), unread=tuple(problems))


def _without_peak(mine: list[Observation]) -> Iterator[Unread]:
    """Yield each GPU and each precision that is said and not known, where it is said first."""
    for gpu, one in {one.config.gpu: one for one in reversed(mine)}.items():
        if gpu and peaks_of(gpu) is None:
            reason = say("the GPU is {text!r}, of which no peak is known: no rate is held against one", text=gpu)
            yield Unread(line=line_of(one.source), reason=reason)
    for precision, one in {one.config.precision: one for one in reversed(mine)}.items():
        if precision and precision_of(precision) is None:
            reason = say(
                "the precision is {text!r}, which is none of {known}: no rate is held against a peak",
                text=precision,
                known=listed(PRECISIONS),
            )
            yield Unread(line=line_of(one.source), reason=reason)


def _facts(table: RawTable) -> tuple[tuple[int, str, str], ...]:
    """Return the lines above a table that name an axis: `Batch size: 4`."""
    found: list[tuple[int, str, str]] = []
    for line, name, value in table.facts:
        axis = axis_of(name)
        if axis in {"batch_size", "context_length", "warmup", "steps"} and parse_count(value) is not None:
            found.append((line, axis, str(parse_count(value))))
        elif axis in {"precision", "gpu"}:
            found.append((line, axis, value))
    return tuple(found)


def _described(table: RawTable) -> Defect | None:
    """Return the defect of a table that pandas' describe() made: averages over unlike rows."""
    names = [clean(row.entries[0]).casefold() for row in table.rows]
    if not set(names) >= _DESCRIBED or len(names) != len(set(names)):
        return None
    row = table.rows[names.index("count")]
    counts = [value.number for value in map(parse_value, row.entries[1:]) if value]
    return Defect(
        claim="describes_unlike_cells",
        subject=say("the table at line {line}", line=table.line),
        numbers=(("count", int(counts[0]) if counts else 0),),
        sources=(f"line {table.line}",),
    )


def _no_comparison(table: RawTable, mine: list[Observation]) -> list[Defect]:
    """Return the defect of a table that is called a comparison and has no column that compares."""
    caption = table.captions[0] if table.captions else ""
    compares = any(
        isinstance(found := measure_of(heading), Measure) and found.quantity == "ratio" for heading in table.headings
    )
    phases = {one.phase for one in mine}
    if compares or len(phases) < 2 or not re.search(r"\bvs\.?\b|comparison|对比", caption, re.IGNORECASE):
        return []
    return [
        Defect(
            claim="compares_nothing",
            subject=say("the table at line {line}", line=table.line),
            numbers=(("caption", caption),),
            sources=(f"line {table.line}",),
        )
    ]
