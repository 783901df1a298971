import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from windtunnel.spec.model import NAMED_SIZES, ModelSpec


def make_model(**fields: object) -> ModelSpec:
    shape = {"name": "m", "d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    return ModelSpec.model_validate(shape | fields)


@pytest.mark.parametrize(
    ("name", "d_model", "d_ff", "num_layers", "num_heads", "vocab_size"),
    [
        ("small", 768, 3072, 12, 12, 10_000),
        ("medium", 1024, 4096, 24, 16, 10_000),
        ("large", 1280, 5120, 36, 20, 10_000),
        ("xl", 1600, 6400, 48, 25, 10_000),
        ("2.7B", 2560, 10240, 32, 32, 10_000),
        ("8B", 4096, 11008, 34, 32, 151_936),
        ("10B", 4608, 12288, 50, 36, 10_000),
    ],
)
def test_the_named_sizes_are_those_of_the_published_tables(
    name: str, d_model: int, d_ff: int, num_layers: int, num_heads: int, vocab_size: int
):
    assert NAMED_SIZES[name] == ModelSpec(
        name=name,
        d_model=d_model,
        d_ff=d_ff,
        num_layers=num_layers,
        num_heads=num_heads,
        vocab_size=vocab_size,
    )


def test_a_head_takes_its_share_of_the_width():
    assert make_model(d_model=1600, num_heads=25).d_head == 64


def test_there_are_as_many_key_heads_as_query_heads_unless_queries_are_grouped():
    assert make_model(num_heads=4).kv_heads == 4
    assert make_model(num_heads=4, num_kv_heads=1).kv_heads == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"d_model": 768, "num_heads": 7},
            "num_heads 7 does not divide d_model 768; the nearest number that fits is 6",
        ),
        (
            {"d_model": 64, "num_heads": 65},
            "num_heads 65 does not divide d_model 64; the nearest number that fits is 32",
        ),
        (
            {"d_model": 64, "num_heads": 64},
            "d_model / num_heads is 1; RoPE rotates pairs, so it must be even: the nearest number that fits is 32",
        ),
        (
            {"d_model": 63, "num_heads": 2},
            "num_heads 2 does not divide d_model 63; no number of heads fits an odd d_model, so change that",
        ),
        (
            {"num_heads": 4, "num_kv_heads": 3},
            "num_kv_heads 3 does not divide num_heads 4: each key head serves the same number of query heads",
        ),
    ],
)
def test_heads_that_do_not_fit_are_refused_with_a_way_out(shape: dict[str, int], message: str):
    with pytest.raises(ValidationError) as caught:
        make_model(**shape)

    assert [str(fault["ctx"]["error"]) for fault in caught.value.errors()] == [message]


@given(
    st.integers(min_value=1, max_value=600).map(lambda half: 2 * half),
    st.integers(min_value=1, max_value=1200),
)
def test_the_number_of_heads_that_an_error_proposes_is_accepted(d_model: int, num_heads: int):
    try:
        make_model(d_model=d_model, num_heads=num_heads)
    except ValidationError as error:
        proposed = int(str(error.errors()[0]["ctx"]["error"]).rpartition(" ")[2])
    else:
        proposed = num_heads

    assert make_model(d_model=d_model, num_heads=proposed).d_head % 2 == 0


@pytest.mark.parametrize("rope_theta", [0, -1.0, math.inf, math.nan, True, "10000"])
def test_the_base_of_the_rotations_is_a_finite_positive_number(rope_theta: object):
    with pytest.raises(ValidationError, match="rope_theta"):
        make_model(rope_theta=rope_theta)


def test_a_model_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        make_model().d_model = 128  # pyright: ignore[reportAttributeAccessIssue]
