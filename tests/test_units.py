import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windtunnel import units

magnitudes = st.floats(min_value=1e-12, max_value=1e18)
numbers = magnitudes | magnitudes.map(lambda value: -value)
times = st.floats(min_value=1e-9, max_value=1e5)


def parsed(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (-9.996, "-10.0"),
        (0.0123456, "0.0123"),
        (0.00099996, "0.00100"),
        (123_456, "123,000"),
        (1e-7, "0.000000100"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_significant_writes_three_digits(value: float, text: str):
    assert units.significant(value) == text


@given(numbers, st.integers(min_value=1, max_value=8))
@example(9.996, 3)
@example(999.5, 3)
def test_significant_rounds_as_the_exponent_form_of_python_does(value: float, digits: int):
    text = units.significant(value, digits)

    assert parsed(text) == Decimal(f"{value:.{digits - 1}e}")
    assert "e" not in text


@given(st.floats(min_value=1e-12, max_value=99.9) | st.floats(min_value=-99.9, max_value=-1e-12))
def test_significant_shows_exactly_as_many_digits_as_asked_for(value: float):
    text = units.significant(value)

    assert len(text.lstrip("-0.").replace(".", "")) == 3


@given(numbers)
def test_significant_never_shows_zero_for_what_is_not(value: float):
    assert parsed(units.significant(value)) != 0


@given(st.lists(times, min_size=1, max_size=8))
def test_one_time_unit_shows_no_entry_of_a_column_as_zero(column: list[float]):
    size, _ = units.time_unit(*column)

    assert "0.00" not in [f"{value / size:.2f}" for value in column]


@given(st.lists(times, min_size=1, max_size=8))
def test_the_time_unit_does_not_depend_on_the_order(column: list[float]):
    assert units.time_unit(*column) == units.time_unit(*reversed(column))


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ((1.5,), "s"),
        ((0.5,), "ms"),
        ((2e-3, 1.5), "ms"),
        ((20e-3, 150.0), "s"),
        ((5e-6, 5e-3), "µs"),
        ((5e-9,), "ns"),
        ((1e-12,), "ns"),
        ((None, 0, math.nan, math.inf, 0.5), "ms"),
        ((-0.5,), "ms"),
        ((), "s"),
        ((0, None), "s"),
    ],
)
def test_the_time_unit_of_a_column(column: tuple[float | None, ...], name: str):
    assert units.time_unit(*column)[1] == name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.0123, "12.3 ms"),
        (3.4e-7, "340 ns"),
        (-0.002, "-2.00 ms"),
        (119.4, "119 s"),
        (120, "2 min 0 s"),
        (754, "12 min 34 s"),
        (3599.6, "1 h 0 min"),
        (7 * 3600 + 125, "7 h 2 min"),
        (math.inf, "inf s"),
        (math.nan, "nan s"),
    ],
)
def test_duration(seconds: float | None, text: str):
    assert units.duration(seconds) == text


@given(magnitudes)
def test_no_duration_that_is_not_zero_reads_as_zero(seconds: float):
    text = units.duration(seconds)

    assert any(digit in text for digit in "123456789")


@pytest.mark.parametrize(
    ("byte_count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (-3 * 2**20, "-3.00 MiB"),
        (5 * 2**30, "5.00 GiB"),
        (150_000_000_000, "140 GiB"),
        (2**41, "2.00 TiB"),
        (math.nan, "nan B"),
    ],
)
def test_memory(byte_count: float | None, text: str):
    assert units.memory(byte_count) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "FLOP", "–"),
        (0, "", "0"),
        (7, "", "7.00"),
        (128_600_000, "", "129 M"),
        (128_600_000, "FLOP", "129 MFLOP"),
        (-2500, "", "-2.50 k"),
        (0.5, "FLOP", "0.500 FLOP"),
        (3e21, "FLOP", "3,000 EFLOP"),
    ],
)
def test_count(value: float | None, unit: str, text: str):
    assert units.count(value, unit) == text


@pytest.mark.parametrize(("value", "text"), [(4.4e13, "44.0 TFLOP/s"), (None, "–")])
def test_rate(value: float | None, text: str):
    assert units.rate(value) == text


@pytest.mark.parametrize(("fraction", "text"), [(0.0523, "5.2 %"), (1, "100.0 %"), (-0.58, "-58.0 %"), (None, "–")])
def test_percent(fraction: float | None, text: str):
    assert units.percent(fraction) == text


def test_a_percentage_that_rounds_to_nothing_has_no_sign():
    assert units.percent(-0.0001) == "0.0 %"


@pytest.mark.parametrize(("value", "text"), [(2.154, "2.15x"), (186, "186.00x"), (1234.5, "1,234.50x"), (None, "–")])
def test_ratio(value: float | None, text: str):
    assert units.ratio(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.023, "+2.3 %"), (-0.58, "-58.0 %"), (0.0, "+0.0 %"), (-0.0001, "+0.0 %"), (None, "–")]
)
def test_a_change_has_its_sign(fraction: float | None, text: str):
    assert units.change(fraction) == text


def test_a_scale_writes_every_entry_in_its_unit_with_its_decimals():
    scale = units.Scale(size=1e-3, unit="ms", decimals=2)

    assert [scale.text(value) for value in (0.0131, 1.5, None)] == ["13.10", "1,500.00", "–"]


def test_a_scale_writes_a_mean_with_its_deviation_and_one_sample_without():
    scale = units.Scale(size=1e-3, unit="ms", decimals=2)

    assert scale.spread(0.0131, 0.00011) == "13.10 ± 0.11"
    assert scale.spread(0.0131, None) == "13.10"


def test_a_column_of_fractions_is_in_percent():
    assert units.PERCENT.text(0.0523) == "5.2"


@given(st.lists(times, min_size=1, max_size=8))
def test_a_scale_of_times_shows_no_entry_as_zero(column: list[float]):
    scale = units.time_scale(column)

    assert all(parsed(scale.text(value)) > 0 for value in column)


@given(times)
def test_a_scale_of_one_time_shows_at_least_three_digits_of_it(value: float):
    scale = units.time_scale([value])

    assert float(parsed(scale.text(value))) * scale.size == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("scale_of", "column", "texts", "unit"),
    [
        (units.time_scale, (0.0131, 0.15, None), ["13.10", "150.00", "–"], "ms"),
        (units.memory_scale, (5 * 2**30, 2**29), ["5.00", "0.50"], "GiB"),
        (units.memory_scale, (100, 1000), ["100", "1,000"], "B"),
        (units.rate_scale, (4.4e13, 9.8e13), ["44.0", "98.0"], "TFLOP/s"),
        (units.count_scale, (128_625_408, 3_406_809_600), ["128.6", "3,406.8"], "M"),
        (units.time_scale, (None, 0.0), ["–", "0"], "s"),
    ],
)
def test_a_column_has_one_unit_for_all_its_entries(
    scale_of: Callable[[Sequence[float | None]], units.Scale],
    column: tuple[float | None, ...],
    texts: list[str],
    unit: str,
):
    scale = scale_of(column)

    assert [scale.text(value) for value in column] == texts
    assert scale.unit == unit


def test_ends_of_a_range_that_look_the_same_have_more_digits():
    assert units.span((2.951, 3.049)) == "2.95x to 3.05x"
    assert units.span((1.6093, 1.6121)) == "1.609x to 1.612x"
    assert units.span((1.60931, 1.60939)) == "1.6093x to 1.6094x"
    assert units.span((3.6, 3.6)) == "3.60x to 3.60x"
    assert units.span(None) == units.NOT_KNOWN
