"""Findings to sentences: templates of the language of now with the fields of a finding filled in, by units.py alone."""

from collections.abc import Callable, Mapping
from typing import Any

from windtunnel import units
from windtunnel.analysis.finding import Finding
from windtunnel.language import apart, current_texts, fill, listed, word


def sentence(finding: Finding) -> str:
    """Return what a finding claims."""
    return _filled("claims", finding.claim, finding)


def advice(finding: Finding) -> str | None:
    """Return what a finding advises, or None."""
    return None if finding.advice is None else _filled("advice", finding.advice, finding)


def ruled_out(finding: Finding) -> tuple[str, ...]:
    """Return the readings that a finding contradicts."""
    return tuple(_filled("readings", name, finding) for name in finding.rules_out)


def _filled(table: str, name: str, finding: Finding) -> str:
    numbers: dict[str, Any] = {"subject": finding.subject, **finding.numbers}
    if "low" in numbers and "high" in numbers:
        numbers["middle"] = (numbers["low"] + numbers["high"]) / 2
    return fill(current_texts()[table][name], numbers, lambda value, spec: _WRITERS[spec](value))


def _listed(values: Any) -> str:
    return listed(map(str, values))


def _missing(names: Any) -> str:
    return listed(current_texts()["missing"][name] for name in names)


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "": str,
    "time": units.duration,
    "ratio": units.ratio,
    "percent": units.percent,
    "share": units.share,
    "rate": units.rate,
    "memory": units.memory,
    "number": units.significant,
    "change": units.change,
    "count": lambda value: f"{value:,.0f}",
    "scientific": units.scientific,
    "list": _listed,
    "apart": lambda values: apart(map(str, values)),
    "missing": _missing,
    "word": word,
    "words": lambda names: _listed(map(word, names)),
    "start": lambda text: text[:1].upper() + text[1:],
    "times": lambda values: _listed(map(units.duration, values)),
    "percents": lambda values: _listed(map(units.percent, values)),
}
"""What may follow the colon of a field, to the function of units.py that writes it."""
