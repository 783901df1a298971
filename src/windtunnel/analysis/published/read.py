"""A published document to observations: each table interpreted, with what was understood and what was not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from windtunnel.analysis.observed import Defect, Held, Observation, Observed, shared_fields
from windtunnel.analysis.published.columns import columns_of, labels_of, words_of
from windtunnel.analysis.published.commas import with_points
from windtunnel.analysis.published.entries import Assumption, Declared, line_of, read_row
from windtunnel.analysis.published.headings import Measure, axis_of, measure_of
from windtunnel.analysis.published.identity import find_defects
from windtunnel.analysis.published.layout import RawTable, Unread, find_tables
from windtunnel.analysis.published.precisions import precision_of
from windtunnel.analysis.published.values import clean, parse_count, parse_value
from windtunnel.cost.devices import ALIASES, peaks_of
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import listed, passage, say, word
from windtunnel.spec.tables import PRECISIONS

_Fact: TypeAlias = tuple[int, str, str]
"""A line, the axis that it names, and the value there."""

_DESCRIBED = {"count", "mean", "std", "min", "max"}
_MOST_BYTES = 20 * 2**20
_MOST_REASONS = 5


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
    has_numbers = any(table.observations or table.failures for table in published.tables)
    if not has_numbers and not published.observed.defects:
        raise SpecError(*_without_numbers(path, published))
    return published


def _without_numbers(path: Path, published: Published) -> Iterator[str]:
    """Yield why no number was read: what each table was taken for, and the first entries that are none."""
    for table in published.tables:
        columns = listed(f"{name!r}: {passage(map(word, meaning))}" for name, meaning in table.columns)
        yield (
            f"{path}, line {table.line}: no time and no memory was read from this table ({columns}); allowed: means or "
            "medians as 12.3 or 12.3 ± 0.4, or memory, below a heading that says so; give such a column"
        )
    for one in published.unread[:_MOST_REASONS]:
        yield f"{path}, line {one.line}: {one.reason}"
    if more := published.unread[_MOST_REASONS:]:
        yield f"{path}: {len(more)} more entries could not be read"


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
    said_once: dict[str, Unread] = {}
    ends = [0, *(table.rows[-1].line if table.rows else table.line for table in raw)]
    for series, (end, written) in enumerate(zip(ends, raw, strict=False), start=1):
        pointed = with_points(written)
        table = pointed.table
        problems += pointed.unread
        if described := _described(table):
            defects.append(described)
            continue
        known, unknown = _facts(table)
        facts.update(dict.fromkeys(known))
        said_once = {one.reason: one for one in unknown} | said_once
        columns, reason = columns_of(table, declared.unit)
        if reason:
            problems.append(Unread(line=table.line, reason=reason))
            continue
        labels = labels_of(table, columns)
        fixed = {name: value for _, name, value in known}
        before = len(times)
        held = len(memory)
        assumptions = dict.fromkeys(_said_twice(table.line, [one for one in known if one[0] > end]))
        if pointed.meaning:
            example = (("line", str(table.line)), ("text", pointed.example), ("number", pointed.number))
            assumptions[pointed.meaning, example] = None
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
        said_once = {one.reason: one for one in _without_peak(mine)} | said_once
    kept, more = find_defects(times)
    shared = shared_fields(one.config for one in (*kept, *memory))
    kept = tuple(replace(one, config=replace(one.config, shared=shared)) for one in kept)
    memory = [replace(one, config=replace(one.config, shared=shared)) for one in memory]
    observed = Observed(times=kept, memory=tuple(dict.fromkeys(memory)), defects=(*defects, *more))
    unread = tuple(sorted((*problems, *said_once.values()), key=lambda one: one.line))
    return Published(observed=observed, tables=tuple(tables), facts=tuple(facts), unread=unread)


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


def _facts(table: RawTable) -> tuple[tuple[_Fact, ...], tuple[Unread, ...]]:
    """Return the lines above a table that name an axis, as `Batch size: 4`, and those whose value is none."""
    found: list[_Fact] = []
    unread: list[Unread] = []
    for line, name, value in table.facts:
        axis = axis_of(name)
        if axis in {"precision", "gpu"}:
            found.append((line, axis, value))
        elif axis in {"batch_size", "context_length", "warmup", "steps"}:
            count = parse_count(value)
            if count is None:
                reason = say("{name} is {text!r}, which is no whole number above 0", name=clean(name), text=value)
                unread.append(Unread(line=line, reason=reason))
            else:
                found.append((line, axis, str(count)))
    return tuple(found), tuple(unread)


def _said_twice(line: int, known: list[_Fact]) -> Iterator[Assumption]:
    """Yield each axis that lines between a table and the one before it give two values: the last is taken."""
    for axis in dict.fromkeys(name for _, name, _ in known):
        values = [(place, value) for place, name, value in known if name == axis]
        if len({value for _, value in values}) > 1:
            places = listed(say("{value} (line {line})", value=value, line=place) for place, value in values)
            yield "said_twice", (("line", str(line)), ("name", axis), ("places", places), ("value", values[-1][1]))


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
