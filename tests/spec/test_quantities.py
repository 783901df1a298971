import pytest

from windtunnel.spec.quantities import parse_fraction, parse_memory_limit, parse_seconds, parse_warmup


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), (0.25, 0.25)])
def test_a_time_is_seconds_or_has_a_unit(text: object, seconds: float):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", 0, "inf", "nan", "5d", True, None])
def test_what_is_no_positive_time_is_refused_with_the_forms(text: object):
    with pytest.raises(ValueError, match="90s, 30m, 6h"):
        parse_seconds(text)


@pytest.mark.parametrize(("text", "fraction"), [("1%", 0.01), ("0.5 %", 0.005), (0.02, 0.02), ("100%", 1.0), (1, 1)])
def test_a_share_is_a_fraction_or_percent(text: object, fraction: float):
    assert parse_fraction(text) == pytest.approx(fraction)


@pytest.mark.parametrize("text", [0, "0%", "101%", 1.5, "-1%", "narrow", "nan", True, None])
def test_what_is_no_share_up_to_all_is_refused_with_the_forms(text: object):
    with pytest.raises(ValueError, match=r"1% or 0\.01"):
        parse_fraction(text)


@pytest.mark.parametrize("value", ["auto", 0, 5, 100_000])
def test_a_warm_up_is_a_count_or_auto(value: object):
    assert parse_warmup(value) == value


@pytest.mark.parametrize("value", ["5", -1, 100_001, 1.0, True, "automatic", None])
def test_any_other_warm_up_is_refused(value: object):
    with pytest.raises(ValueError, match="allowed: auto"):
        parse_warmup(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("24GiB", 24 * 2**30), ("1.5 MiB", 3 * 2**19), ("24GB", 24 * 10**9), ("25%", 10 * 2**30), ("100 %", 40 * 2**30)],
)
def test_a_memory_limit_has_a_unit_or_is_a_share_of_the_device(text: str, expected: int):
    assert parse_memory_limit(text, 40 * 2**30) == expected


@pytest.mark.parametrize("text", ["24", "24G", "", "0GiB", "-1GiB", "41GiB", "101%", "nan%", "much", True])
def test_what_is_no_memory_of_the_device_is_refused_with_what_it_has(text: object):
    with pytest.raises(ValueError, match=r"40\.0 GiB; write it as 24GiB"):
        parse_memory_limit(text, 40 * 2**30)
