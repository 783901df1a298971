"""What one entry of a table says: a number with its deviation and unit, a failure, or nothing."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds", "毫秒"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond", "microseconds", "微秒"), 1e-6),
    **dict.fromkeys(("ns", "纳秒"), 1e-9),
}
"""Names of units of time to seconds."""
BYTES = {
    **dict.fromkeys(("mb", "mib", "兆字节"), 2.0**20),
    **dict.fromkeys(("gb", "gib"), 2.0**30),
    **dict.fromkeys(("kb", "kib"), 2.0**10),
    **dict.fromkeys(("bytes", "byte", "字节"), 1.0),
}
"""Names of units of memory to bytes. Whoever divides torch's counts by 1024² mostly writes MB."""

_NUMBER = r"[-+]?(?:[0-9]{1,3}(?:[,\u2009\u202f\u00a0][0-9]{3})+|[0-9]+)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?"
_UNIT = r"[A-Za-zµμ%×秒毫微纳]*"
_VALUE = re.compile(
    rf"(?P<mean>{_NUMBER})\s*(?P<unit>{_UNIT})"
    rf"(?:\s*(?:±|\+/-|\+-|\\pm)\s*(?P<std>{_NUMBER})\s*(?P<std_unit>{_UNIT})"
    rf"|(?<=[0-9])\((?P<places>[0-9]{{1,4}})\)|\s*\(\s*±?\s*(?P<std2>{_NUMBER})\s*\))?"
    r"\s*(?P<last>[A-Za-zµμ秒毫微纳]*)"
)
_LONGEST = 80
"""No number with its deviation is longer than this; what is, is text."""
_OUT_OF_MEMORY = re.compile(r"\boom\b|out\s*of\s*memory|显存不足|内存不足|爆显存", re.IGNORECASE)
_NOTHING = {"", "-", "–", "—", "--", "nan", "n/a", "na", "none", "null", "nil", "/", "无"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A number, its standard deviation, and the unit that stands beside it; each None where it is not there."""

    number: float
    std: float | None = None
    unit: str | None = None


def clean(text: str) -> str:
    """Return an entry without the marks of Markdown."""
    return re.sub(r"[*`$]|<[^>]{1,12}>|^_+|_+$", "", text).strip()


def is_nothing(text: str) -> bool:
    """Whether an entry says that there is no value."""
    return clean(text).casefold() in _NOTHING


def is_out_of_memory(text: str) -> bool:
    """Whether an entry says that memory ran out."""
    return len(text) <= _LONGEST and _OUT_OF_MEMORY.search(text) is not None


def parse_value(text: str) -> Value | None:
    """Return what an entry says, or None where it is no number."""
    text = clean(text)
    found = _VALUE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    number = parse_number(found["mean"])
    if number is None:
        return None
    deviation = found["std"] or found["std2"] or _last_places(found["mean"], found["places"])
    units = {name.casefold() for name in (found["unit"], found["std_unit"], found["last"]) if name}
    if len(units) > 1:  # as 1.2 s ± 30 ms: nobody writes that on purpose
        return None
    std = None if deviation is None else parse_number(deviation)
    if deviation is not None and std is None:
        return None
    return Value(number=number, std=std, unit=next(iter(units), None))


def _last_places(mean: str, digits: str | None) -> str | None:
    """Return the deviation that digits right behind a number mean: (21) behind 12.345 is 0.021, behind 12 it is 21."""
    if digits is None:
        return None
    exponent = Decimal(_without_separators(mean)).as_tuple().exponent
    return str(Decimal(digits).scaleb(int(exponent)))


def parse_number(text: str) -> float | None:
    """Return a finite number, thousands separated or not, or None."""
    try:
        value = float(_without_separators(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _without_separators(text: str) -> str:
    return re.sub("[,\u2009\u202f\u00a0]", "", text)


def parse_count(text: str) -> int | None:
    """Return a whole number that is not negative and not beyond any table, or None; 4k and 1,024 are numbers too."""
    text = clean(text)
    thousands = re.fullmatch(r"([0-9]{1,4})\s*[kK]", text)
    if thousands:
        return int(thousands[1]) * 1024
    value = parse_value(text)
    if value is None or value.std is not None or value.unit or value.number != int(value.number):
        return None
    return int(value.number) if 0 <= value.number < 1e12 else None
