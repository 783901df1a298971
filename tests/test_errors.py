import pytest

from windtunnel.errors import (
    RunError,
    SpecError,
    StoreError,
    UnsupportedError,
    WindtunnelError,
    unknown_name,
)


def test_an_unknown_name_is_named_with_what_is_known_and_the_nearest():
    message = unknown_name("attention", "eagr", ["sdpa", "eager"])

    assert message == "unknown attention 'eagr'; known: eager, sdpa; did you mean 'eager'?"


def test_nothing_is_suggested_where_nothing_is_near():
    message = unknown_name("attention", "zzz", ["sdpa", "eager"])

    assert message == "unknown attention 'zzz'; known: eager, sdpa"


@pytest.mark.parametrize(("written", "meant"), [("FP32", "fp32"), ("BF16", "bf16"), ("Bf16-Pure", "bf16-pure")])
def test_the_nearest_name_does_not_depend_on_upper_and_lower_case(written: str, meant: str):
    message = unknown_name("precision", written, ["bf16", "bf16-pure", "fp16", "fp32", "tf32"])

    assert message.endswith(f"; did you mean {meant!r}?")


def test_a_value_that_is_no_text_can_be_unknown_too():
    message = unknown_name("size", 27, ["2.7B", "small"])

    assert message.startswith("unknown size 27; known: 2.7B, small")


def test_a_spec_error_keeps_every_fault_and_shows_each_on_a_line():
    error = SpecError("steps is 0", "seed is -1")

    assert error.faults == ("steps is 0", "seed is -1")
    assert str(error) == "steps is 0\nseed is -1"


@pytest.mark.parametrize("kind", [SpecError, UnsupportedError, RunError, StoreError])
def test_every_error_on_purpose_can_be_caught_as_one(kind: type[WindtunnelError]):
    with pytest.raises(WindtunnelError, match="what happened"):
        raise kind("what happened")
