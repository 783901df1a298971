import pytest

from windtunnel.language import counted
from windtunnel.units import (
    PERCENT,
    change,
    count_scale,
    half_width,
    known_to,
    memory_scale,
    percent_scale,
    rate_scale,
    span,
    time_scale,
)


def test_all_times_of_a_column_share_unit_and_decimals():
    scale = time_scale([0.0131, 0.3866])

    assert scale.unit == "ms"
    assert [scale.text(0.0131), scale.text(0.3866)] == ["13.10", "386.60"]


def test_a_mean_has_its_deviation_beside_it():
    assert time_scale([0.0131]).spread(0.0131, 0.00011) == "13.10 ± 0.11"


def test_a_mean_of_one_sample_stands_alone():
    assert time_scale([0.0131]).spread(0.0131, None) == "13.10"


def test_an_unknown_value_is_a_dash():
    assert time_scale([None]).text(None) == "–"


def test_no_values_make_a_scale_all_the_same():
    assert [make([]).text(None) for make in (time_scale, memory_scale, rate_scale, count_scale)] == ["–"] * 4


@pytest.mark.parametrize(
    ("values", "texts"),
    [([3 * 2**30, 40 * 2**30], ["3.00", "40.00"]), ([2**20], ["1.00"]), ([512], ["512"])],
)
def test_memory_is_in_the_unit_of_the_largest(values: list[int], texts: list[str]):
    scale = memory_scale(values)

    assert [scale.text(value) for value in values] == texts


def test_rates_are_in_the_prefix_of_the_largest():
    scale = rate_scale([1.96e13, 1.97e14])

    assert scale.unit == "TFLOP/s"
    assert [scale.text(1.96e13), scale.text(1.97e14)] == ["19.6", "197.0"]


def test_counts_are_in_the_prefix_of_the_smallest():
    scale = count_scale([128_600_000, 3_406_800_000])

    assert scale.unit == "M"
    assert [scale.text(128_600_000), scale.text(3_406_800_000)] == ["128.6", "3,406.8"]


def test_percent_is_a_scale():
    assert PERCENT.text(0.0523) == "5.2"


def test_a_change_has_its_sign():
    assert [change(0.023), change(-0.5), change(None)] == ["+2.3 %", "-50.0 %", "–"]


def test_one_is_not_plural():
    assert [counted(1, "cell"), counted(1234, "cell")] == ["1 cell", "1,234 cells"]


def test_small_fractions_are_not_shown_as_nothing():
    scale = percent_scale([0.0052, 0.587])

    assert [scale.text(0.0052), scale.text(0.587)] == ["0.52", "58.70"]


def test_an_interval_is_its_ends_in_the_unit_of_the_column():
    scale = time_scale([0.0131])

    assert scale.interval(0.01305, 0.01318) == "13.05 to 13.18"
    assert scale.interval(None, None) == "–"


def test_half_an_interval_is_percent_with_two_significant_digits():
    assert [half_width(0.0042), half_width(0.25), half_width(None)] == ["± 0.42 %", "± 25 %", "no interval"]


def test_a_range_of_ratios_has_both_ends():
    assert [span((2.95, 3.05)), span(None)] == ["2.95x to 3.05x", "–"]


def test_a_time_says_how_well_it_is_known():
    assert [known_to(0.0123, 0.0042), known_to(0.0123, None)] == ["12.3 ms ± 0.42 %", "12.3 ms, no interval"]
