"""What a user writes for a quantity becomes a number: 90s, 30m, 6h; 80GiB; 1%, 0.01; 5, auto."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from windtunnel.units import memory

MAX_WARMUP = 100_000

_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(value: object) -> float:
    """Return the seconds of a number, or of a text such as 90, 90s, 30m or 6h.

    Raises:
        ValueError: It is not such a time, or not positive.
    """
    text = str(value)
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    seconds = _float(number) * _SECONDS[unit]
    if not 0 < seconds < math.inf or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a positive time; write seconds, or a unit as in 90s, 30m, 6h")
    return seconds


def parse_memory(value: object) -> int:
    """Return the bytes of a text such as 80GiB, 24GB or 141 GiB; GB and MB are of 1000.

    Raises:
        ValueError: It is not such a size, or not positive.
    """
    size = _bytes(str(value).strip())
    if not 1 <= size < math.inf:
        raise ValueError(f"{value!r} is not a size of memory; write it as 80GiB, 24GB or 512MiB")
    return round(size)


def parse_fraction(value: object) -> float:
    """Return the fraction of a number such as 0.01, or of a text such as 1%.

    Raises:
        ValueError: It is not such a share, or not above 0 and at most 1.
    """
    text = str(value).strip()
    fraction = _float(text[:-1]) / 100 if text.endswith("%") else _float(text)
    if not 0 < fraction <= 1 or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a share above 0 and at most 100 %; write it as 1% or 0.01")
    return fraction


def parse_memory_limit(value: object, capacity_bytes: int) -> int:
    """Return the bytes of a text such as 24GiB, 500MB or 30%, a share of the capacity.

    Raises:
        ValueError: It is no such memory, or not above 0 and at most the capacity.
    """
    text = str(value).strip()
    size = capacity_bytes * _float(text[:-1]) / 100 if text.endswith("%") else _bytes(text)
    if not 1 <= size <= capacity_bytes:
        raise ValueError(
            f"{value!r} is not a memory above 0 and at most what the device has, {memory(capacity_bytes)}; "
            "write it as 24GiB, 500MiB, 24GB or 30%"
        )
    return round(size)


def parse_warmup(value: object) -> int | Literal["auto"]:
    """Return a count of warm-up steps, or `auto`.

    Raises:
        ValueError: It is neither.
    """
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_WARMUP:
        return value
    raise ValueError(f"is {value!r}; allowed: auto, or a whole number from 0 to {MAX_WARMUP:,}")


def find_faults(arguments: Mapping[str, tuple[object, Callable[[object], object]]]) -> list[str]:
    """Return what is wrong with each argument, given with what reads it."""
    faults: list[str] = []
    for name, (value, parse) in arguments.items():
        try:
            parse(value)
        except ValueError as error:
            faults.append(f"{name} {error}")
    return faults


def _bytes(text: str) -> float:
    unit = next((unit for unit in _BYTES if text.endswith(unit)), None)
    return _float(text.removesuffix(unit).strip()) * _BYTES[unit] if unit else math.nan


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
