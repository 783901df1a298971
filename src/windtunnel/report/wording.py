"""Findings to sentences: templates of a language with the fields of a finding filled in, by units.py alone."""

import string
from collections.abc import Callable, Mapping
from typing import Any

from windtunnel import units
from windtunnel.analysis.finding import Finding
from windtunnel.language import Texts


def sentence(finding: Finding, texts: Texts) -> str:
    """Return what a finding claims."""
    return _filled(texts["claims"][finding.claim], finding, texts)


def advice(finding: Finding, texts: Texts) -> str | None:
    """Return what a finding advises, or None."""
    return None if finding.advice is None else _filled(texts["advice"][finding.advice], finding, texts)


def ruled_out(finding: Finding, texts: Texts) -> tuple[str, ...]:
    """Return the readings that a finding contradicts."""
    return tuple(_filled(texts["readings"][name], finding, texts) for name in finding.rules_out)


def _filled(template: str, finding: Finding, texts: Texts) -> str:
    numbers: dict[str, Any] = {"subject": finding.subject, **finding.numbers}
    if "low" in numbers and "high" in numbers:
        numbers["middle"] = (numbers["low"] + numbers["high"]) / 2
    return _Formatter(texts).vformat(template, (), numbers)


class _Formatter(string.Formatter):
    """Writes a field as what follows its colon says."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "missing":
            return _listed([self._texts["missing"][name] for name in value])
        if format_spec == "word":
            return self._texts["words"].get(value, value)
        return _WRITERS[format_spec](value)


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values)


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
    "start": lambda text: text[:1].upper() + text[1:],
    "times": lambda values: _listed(map(units.duration, values)),
    "percents": lambda values: _listed(map(units.percent, values)),
}
"""What may follow the colon of a field, to the function of units.py that writes it."""
