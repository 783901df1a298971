"""Findings to sentences: templates of the language of now with the fields of a finding filled in, by units.py alone."""

from collections.abc import Callable, Mapping
from typing import Any

from windtunnel import units
from windtunnel.analysis.finding import Finding
from windtunnel.language import apart, counted, current_texts, fill, listed, word


def sentence(finding: Finding) -> str:
    """Return what a finding claims."""
    return _filled("claims", finding.claim, finding)


def advice(finding: Finding) -> str | None:
    """Return what a finding advises, or None."""
    return None if finding.advice is None else _filled("advice", finding.advice, finding)


def ruled_out(finding: Finding) -> tuple[str, ...]:
    """Return the readings that a finding contradicts."""
    return tuple(_filled("readings", name, finding) for name in finding.rules_out)


class _End(float):
    """One end of a range: where both would look the same they have more digits."""

    other: float


def _filled(table: str, name: str, finding: Finding) -> str:
    numbers: dict[str, Any] = {"subject": finding.subject, **finding.numbers}
    for low in [key for key in numbers if "low" in key]:
        high = low.replace("low", "high")
        first, last = numbers[low], numbers.get(high)
        if isinstance(first, float) and isinstance(last, float):
            numbers[low], numbers[high] = _End(first), _End(last)
            numbers[low].other, numbers[high].other = last, first
    if "low" in numbers and "high" in numbers:
        numbers["middle"] = (numbers["low"] + numbers["high"]) / 2
    of_one = f"{name}{_OF_ONE}"
    is_one = numbers.get("count") == 1 and of_one in current_texts()[table]
    return written(table, of_one if is_one else name, numbers)


def written(table: str, name: str, fields: Mapping[str, Any]) -> str:
    """Return a text of the language of now with its fields, each written as what follows its colon says."""
    return fill(current_texts()[table][name], fields, _written)


def _written(value: Any, spec: str) -> str:
    write = _PRECISE_WRITERS.get(spec)
    if write is None:
        return _WRITERS[spec](value)
    if not isinstance(value, _End):
        return write(value, 0)
    return write(value, next((more for more in range(_MOST_MORE) if write(value, more) != write(value.other, more)), 0))


def _listed(values: Any) -> str:
    return listed(map(str, values))


def _missing(names: Any) -> str:
    return listed(current_texts()["missing"][name] for name in names)


_OF_ONE = "_one"
"""What stands behind the name of a text where its `count` is 1 and the grammar changes."""

_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "": str,
    "share": units.share,
    "rate": units.rate,
    "memory": units.memory,
    "points": lambda number: counted(number, "point"),
    "operations": lambda number: counted(number, "operation"),
    "count": lambda value: f"{value:,.0f}",
    "scientific": units.scientific,
    "list": _listed,
    "apart": lambda values: apart(map(str, values)),
    "missing": _missing,
    "word": word,
    "words": lambda names: _listed(map(word, names)),
    "start": lambda text: text[:1].upper() + text[1:],
    "cells": lambda number: counted(number, "cell"),
    "groups": lambda number: counted(number, "group"),
    "means": lambda number: counted(number, "mean"),
    "pairs": lambda number: counted(number, "pair"),
    "samples": lambda number: counted(number, "sample"),
    "such cells": lambda number: counted(number, "such cell"),
    "such pairs": lambda number: counted(number, "such pair"),
    "such samples": lambda number: counted(number, "such sample"),
    "times": lambda values: _listed(map(units.duration, values)),
    "percents": lambda values: _listed(map(units.percent, values)),
}
"""What may follow the colon of a field, to the function that writes it: of units.py, or of what is counted."""

_MOST_MORE = 4

_PRECISE_WRITERS: Mapping[str, Callable[[float, int], str]] = {
    "time": lambda value, more: units.duration(value, 3 + more),
    "ratio": lambda value, more: units.ratio(value, 2 + more),
    "percent": lambda value, more: units.percent(value, 1 + more),
    "number": lambda value, more: units.significant(value, 3 + more),
    "change": lambda value, more: units.change(value, 1 + more),
}
"""The same of numbers that can have more digits than a sentence mostly gives them, by how many more."""
