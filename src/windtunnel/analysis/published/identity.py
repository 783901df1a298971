"""Which observations are one: the same number printed twice, rows that nothing tells apart, averages of other cells."""

import itertools
from collections.abc import Iterable
from dataclasses import fields, replace

from windtunnel.analysis.observed import Configuration, Defect, Observation
from windtunnel.analysis.published.entries import UNNAMED
from windtunnel.language import say

_ROUNDING = 2e-4
"""How far a printed average may be from the average of printed numbers, as a share of it."""


def find_defects(times: Iterable[Observation]) -> tuple[tuple[Observation, ...], tuple[Defect, ...]]:
    """Return the observations that rules may use, and what is wrong with the others.

    Of a number that is printed several times the first counts. Rows of one configuration that
    differ are not used: a column that told them apart was lost. An average over other cells of the document is no cell
    of its own.
    """
    times = tuple(times)
    defects: list[Defect] = []
    kept: list[Observation] = []
    for _, members in itertools.groupby(times, key=lambda one: one.series):
        table = tuple(members)
        if torn := _torn(table):
            defects.append(_column_lost(table, torn))
            ambiguous = {(one.config, one.phase) for group in torn for one in group}
            kept += _not_seen(tuple(one for one in table if (one.config, one.phase) not in ambiguous), kept)
        elif (averages := _averages(table, kept)) is not None:
            defects += averages
        else:
            kept += _not_seen(table, kept)
    return tuple(kept), tuple(defects)


def _not_seen(table: tuple[Observation, ...], before: list[Observation]) -> list[Observation]:
    """Leave out what was printed before with the same numbers; a table that names fewer axes says it again too."""
    numbers = {(one.mean_seconds, one.std_seconds) for one in before if one.std_seconds is not None}
    if all((one.mean_seconds, one.std_seconds) in numbers for one in table):
        return []
    seen = {_key(one) for one in before}
    kept: list[Observation] = []
    for one in table:
        if _key(one) not in seen:
            seen.add(_key(one))
            kept.append(one)
    return kept


def _key(one: Observation) -> tuple[Configuration, str, float | None]:
    return one.config, one.phase, one.mean_seconds


def _torn(table: tuple[Observation, ...]) -> list[list[Observation]]:
    """Return the groups of rows of one configuration and phase with different values."""
    values: dict[tuple[Configuration, str], list[Observation]] = {}
    for one in table:
        if one.state == "ok":
            values.setdefault((one.config, one.phase), []).append(one)
    return [group for group in values.values() if len({one.mean_seconds for one in group}) > 1]


def _column_lost(table: tuple[Observation, ...], torn: list[list[Observation]]) -> Defect:
    worst = max(torn, key=lambda group: max(one.mean for one in group) / min(one.mean for one in group))
    line = table[0].source.partition(",")[0]
    return Defect(
        claim="column_lost",
        subject=say("the table from line {line} on", line=line.removeprefix("line ")),
        numbers=(
            ("groups", len(torn)),
            ("example", worst[0].config.name),
            ("low_seconds", min(one.mean for one in worst)),
            ("high_seconds", max(one.mean for one in worst)),
        ),
        sources=tuple(one.source for one in worst),
    )


def _averages(table: tuple[Observation, ...], before: list[Observation]) -> list[Defect] | None:
    """Return the defect of a table of averages over cells that came before; None where it holds anything else."""
    if not before or any(one.phase != UNNAMED or one.std_seconds is not None for one in table):
        return None
    found: list[tuple[Observation, list[Observation]]] = []
    for one in table:
        members = [other for other in before if other.state == "ok" and _covers(one.config, other.config)]
        if one.mean_seconds is None or len(members) < 2:
            return None
        mean = sum(other.mean for other in members) / len(members)
        if abs(mean / one.mean - 1) > _ROUNDING:
            return None
        found.append((one, members))
    first, members = max(found, key=lambda pair: max(x.mean for x in pair[1]) / min(x.mean for x in pair[1]))
    return [
        Defect(
            claim="averages_unlike_cells",
            subject=say("the table from line {line} on", line=table[0].source.partition(",")[0].removeprefix("line ")),
            numbers=(
                ("count", len(found)),
                ("mean_seconds", first.mean),
                ("cells", len(members)),
                ("low_seconds", min(other.mean for other in members)),
                ("high_seconds", max(other.mean for other in members)),
                ("what", first.config.name),
            ),
            sources=(first.source, *(other.source for other in members)),
        )
    ]


def _covers(coarse: Configuration, fine: Configuration) -> bool:
    """Whether `fine` agrees with all that `coarse` says."""
    coarse = replace(coarse, others=())
    return all(
        getattr(coarse, field.name) in {None, getattr(fine, field.name)}
        for field in fields(Configuration)
        if field.name != "others"
    )
