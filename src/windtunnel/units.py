"""The only place where a number becomes text: inside, everything is seconds, bytes, FLOPs and fractions of 1."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from windtunnel.language import say

_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BINARY_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_DECIMAL_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))

NOT_KNOWN = "–"
"""What a table shows for a number that is not known or does not apply."""


def significant(value: float, digits: int = 3) -> str:
    """Write `value` with `digits` significant digits, grouped, and never in exponent form."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    rounded = round(value, digits - 1 - magnitude)
    magnitude = math.floor(math.log10(abs(rounded)))  # 9.996 becomes 10.0, one digit to the left
    return f"{rounded:,.{max(0, digits - 1 - magnitude)}f}"


def time_unit(*seconds: float | None) -> tuple[float, str]:
    """Choose one unit that reads well for all of `seconds`: its size in seconds, and its name.

    The smallest value decides, so that no entry of a column is shown as 0.00.
    """
    known = [abs(value) for value in seconds if value is not None and math.isfinite(value) and value != 0]
    smallest, largest = (min(known), max(known)) if known else (1.0, 1.0)
    for size, name in _TIME_UNITS:
        if smallest >= size or (largest >= 100 * size and smallest >= size / 100):
            return size, name
    return _TIME_UNITS[-1]


def duration(seconds: float | None, digits: int = 3) -> str:
    """Write a time with a unit of its own: 0.0123 becomes '12.3 ms', 754 becomes '12 min 34 s'."""
    if seconds is None:
        return NOT_KNOWN
    if math.isfinite(seconds) and seconds >= 120:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return say("{hours} h {minutes} min", hours=hours, minutes=minutes)
        return say("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    size, name = time_unit(seconds)
    return f"{significant(seconds / size, digits)} {name}"


def memory(byte_count: float | None, digits: int = 3) -> str:
    """Write a number of bytes in binary units: 5 * 2**30 becomes '5.00 GiB'."""
    if byte_count is None:
        return NOT_KNOWN
    if not math.isfinite(byte_count):
        return f"{byte_count} B"
    for size, name in _BINARY_UNITS:
        if abs(byte_count) >= size:
            return f"{significant(byte_count / size, digits)} {name}" if name != "B" else f"{byte_count:.0f} B"
    return "0 B"


def count(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Write a large count with a decimal prefix: 128_600_000 becomes '129 M', with a unit '129 MFLOP'."""
    if value is None:
        return NOT_KNOWN
    for size, prefix in _DECIMAL_PREFIXES:
        if abs(value) >= size:
            return f"{significant(value / size, digits)} {prefix}{unit}".rstrip()
    return f"{significant(value, digits)} {unit}".rstrip()


def rate(flops_per_second: float | None, digits: int = 3) -> str:
    """Write a rate of floating-point operations: 4.4e13 becomes '44.0 TFLOP/s'."""
    return NOT_KNOWN if flops_per_second is None else count(flops_per_second, "FLOP/s", digits)


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Write a fraction of 1 as percent: 0.0523 becomes '5.2 %'."""
    return NOT_KNOWN if fraction is None else say("{number} %", number=f"{100 * fraction:z.{decimals}f}")


def share(fraction: float | None) -> str:
    """Write a fraction of 1 as percent with at least two significant digits: 0.000039 becomes '0.0039 %'."""
    return NOT_KNOWN if fraction is None else say("{number} %", number=percent_scale((fraction,)).text(fraction))


def change(fraction: float | None, decimals: int = 1) -> str:
    """Write a relative change with its sign: 0.023 becomes '+2.3 %'."""
    return NOT_KNOWN if fraction is None else say("{number} %", number=f"{100 * fraction:+z.{decimals}f}")


def ratio(value: float | None, decimals: int = 2) -> str:
    """Write a ratio: 2.154 becomes '2.15x'."""
    return NOT_KNOWN if value is None else say("{number}x", number=f"{value:,.{decimals}f}")


def half_width(fraction: float | None, digits: int = 2) -> str:
    """Write half of an interval as a share of its middle: 0.0042 becomes '± 0.42 %'."""
    if fraction is None:
        return say("no interval")
    return say("± {percent}", percent=say("{number} %", number=significant(100 * fraction, digits)))


def known_to(seconds: float, fraction: float | None) -> str:
    """Write a time with how well it is known: '12.3 ms ± 0.42 %', or '12.3 ms, no interval'."""
    if fraction is None:
        return say("{time}, {known}", time=duration(seconds), known=half_width(None))
    return say("{time} {known}", time=duration(seconds), known=half_width(fraction))


def span(ends: tuple[float, float] | None, decimals: int = 2) -> str:
    """Write the ends of a range of ratios: (2.95, 3.05) becomes '2.95x to 3.05x'.

    Ends that look the same have more digits, up to three: (1.6093, 1.6121) becomes '1.609x to 1.612x'.
    """
    if ends is None:
        return NOT_KNOWN
    texts = [[f"{end:,.{more}f}" for end in ends] for more in range(decimals, decimals + 4)]
    low, high = next((pair for pair in texts if pair[0] != pair[1]), texts[0])
    return say("{low}x to {high}x", low=low, high=high)


def between(low: object, high: object) -> str:
    """Write the ends of a range that are text already, or whole numbers: '13.05 to 13.18'."""
    return say("{low} to {high}", low=low, high=high)


def scientific(value: float | None, digits: int = 2) -> str:
    """Write a number that may be very small: 0.000312 becomes '3.1e-04'."""
    return NOT_KNOWN if value is None else f"{value:.{digits - 1}e}"


_FIXED = tuple(f",.{decimals}f" for decimals in range(7))  # a large report asks half a million times


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """One unit and one number of decimals for all entries of a column, so that their points line up.

    `size` is the unit in seconds, bytes, FLOP/s or fractions of 1; its name stands in the column's header.
    """

    size: float
    unit: str
    decimals: int

    def text(self, value: float | None) -> str:
        """Write `value` without its unit: 0.0131 in milliseconds becomes '13.10'."""
        return NOT_KNOWN if value is None else format(value / self.size, _FIXED[self.decimals])

    def spread(self, mean: float, std: float | None) -> str:
        """Write a mean with its standard deviation: '13.10 ± 0.11'; one sample has no deviation."""
        return self.text(mean) if std is None else f"{self.text(mean)} ± {self.text(std)}"

    def interval(self, low: float | None, high: float | None) -> str:
        """Write the ends of an interval: '13.05 to 13.18'."""
        return NOT_KNOWN if low is None or high is None else between(self.text(low), self.text(high))


PERCENT = Scale(size=0.01, unit="%", decimals=1)
"""For columns of fractions."""

MEGAHERTZ = Scale(size=1.0, unit="MHz", decimals=0)
WATTS = Scale(size=1.0, unit="W", decimals=0)
CELSIUS = Scale(size=1.0, unit="°C", decimals=0)
"""For what sensors say, which is kept in these units."""

HALF_WIDTH = Scale(size=0.01, unit="± %", decimals=2)
"""For columns of half intervals, of which the good ones are small."""


def time_scale(seconds: Iterable[float | None]) -> Scale:
    """Choose the unit and the decimals with which a column of times reads well."""
    known = _known(seconds)
    size, name = time_unit(*known)
    return Scale(size=size, unit=name, decimals=_decimals(known, size, digits=4, at_most=4))


def milliseconds_scale(seconds: Iterable[float | None]) -> Scale:
    """Choose the decimals of a column in milliseconds, the unit of tables of kernels, whose times span decades."""
    return Scale(size=1e-3, unit="ms", decimals=max(2, _decimals(_known(seconds), 1e-3, digits=3, at_most=4)))


def scale_in(unit: str, seconds: Iterable[float | None], *, digits: int) -> Scale:
    """Choose the decimals of a column of times in a unit that somebody asked for: s, ms or us."""
    size, name = next((size, name) for size, name in _TIME_UNITS if name == unit.replace("us", "µs"))
    return Scale(size=size, unit=name, decimals=_decimals(_known(seconds), size, digits=digits, at_most=6))


def mebibytes_scale(byte_counts: Iterable[float | None]) -> Scale:
    """Choose the decimals of a column in MiB, or GiB where nothing is smaller: the smallest entry has to be seen."""
    known = _known(byte_counts)
    size, name = (2**30, "GiB") if min(known, default=0) >= 2**30 else (2**20, "MiB")
    return Scale(size=size, unit=name, decimals=max(1, _decimals(known, size, digits=2, at_most=2)))


def memory_scale(byte_counts: Iterable[float | None]) -> Scale:
    """Choose the binary unit and the decimals with which a column of memory sizes reads well."""
    known = _known(byte_counts)
    largest = max(known, default=1.0)
    size, name = next((size, name) for size, name in _BINARY_UNITS if largest >= size or size == 1)
    return Scale(size=size, unit=name, decimals=_decimals(known, size, digits=3, at_most=2) if size > 1 else 0)


def rate_scale(flops_per_second: Iterable[float | None]) -> Scale:
    """Choose the prefix and the decimals with which a column of rates reads well."""
    known = _known(flops_per_second)
    largest = max(known, default=1.0)
    size, prefix = next((size, prefix) for size, prefix in _DECIMAL_PREFIXES if largest >= size or size == 1)
    return Scale(size=size, unit=f"{prefix}FLOP/s", decimals=_decimals(known, size, digits=3, at_most=3))


def percent_scale(fractions: Iterable[float | None]) -> Scale:
    """Choose the decimals with which a column of fractions reads well as percent, at least one."""
    decimals = _decimals(_known(fractions), PERCENT.size, digits=2, at_most=4)
    return Scale(size=PERCENT.size, unit=PERCENT.unit, decimals=max(decimals, PERCENT.decimals))


def count_scale(counts: Iterable[float | None]) -> Scale:
    """Choose the prefix with which a column of counts reads well; the smallest decides: 128.6 and 3,406.8 in M."""
    known = _known(counts)
    smallest = min(known, default=1.0)
    size, prefix = next((size, prefix) for size, prefix in _DECIMAL_PREFIXES if smallest >= size or size == 1)
    return Scale(size=size, unit=prefix, decimals=_decimals(known, size, digits=4, at_most=1) if size > 1 else 0)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value) and value > 0]


def _decimals(known: list[float], size: float, *, digits: int, at_most: int) -> int:
    """Return the decimals that show `digits` significant digits of the smallest value."""
    if not known:
        return 0
    return min(at_most, max(0, digits - 1 - math.floor(math.log10(min(known) / size))))
