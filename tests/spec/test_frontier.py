import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.frontier import ALONG_STEPS, Frontier, make_frontier, with_every_size
from windtunnel.spec.model import NAMED_SIZES
from windtunnel.spec.sweep import make_sweep

STEPS = make_sweep({"size": "small"})
ATTENTION = make_sweep({"kind": "attention"})


def test_the_values_are_multiples_of_the_granularity_up_to_the_most():
    frontier = make_frontier(STEPS, along="context", granularity=100, most=450)

    assert list(frontier.values()) == [100, 200, 300, 400]


def test_without_an_axis_the_length_of_the_sequence_is_searched():
    assert make_frontier(STEPS).along == "context"
    assert make_frontier(ATTENTION).along == "seq"
    assert make_frontier(ATTENTION).field == "context_length"


def test_the_defaults_are_those_of_the_table():
    frontier = make_frontier(STEPS, along="batch")

    assert frontier.values() == range(1, (ALONG_STEPS["batch"].most or 0) + 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"along": "contxt"}, "unknown axis to search along 'contxt'; known: batch, context, size; did you mean"),
        ({"along": "seq"}, "unknown axis to search along 'seq'"),
        ({"along": "size", "most": 4}, "most has no effect along size"),
        ({"along": "batch", "most": 0}, "most is 0; allowed: at least 1"),
        ({"along": "context", "granularity": 64, "most": 32}, "leaves no value to try"),
        ({"along": "context", "granularity": 1, "most": 10**8}, "100,000,000 values to try; allowed"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(fields: dict[str, object], message: str):
    with pytest.raises(SpecError) as refused:
        make_frontier(STEPS, **fields)

    assert message in str(refused.value)


def test_a_flag_for_the_axis_that_is_searched_is_refused():
    with pytest.raises(SpecError, match="--context and --along context contradict"):
        make_frontier(STEPS, given=("size", "context"))


def test_a_flag_that_is_no_axis_to_search_along_is_said_to_be_none():
    with pytest.raises(SpecError, match="unknown axis to search along 'heads'; known: batch, context, size"):
        make_frontier(STEPS, given=("heads",), along="heads")


def test_sizes_that_are_given_are_the_range_and_all_named_ones_are_without():
    assert with_every_size({"mode": "forward"}, "size")["size"] == list(NAMED_SIZES)
    assert with_every_size({"size": ["xl"]}, "size") == {"size": ["xl"]}
    assert with_every_size({"mode": "forward"}, "batch") == {"mode": "forward"}


@pytest.mark.parametrize("sweep", [STEPS, ATTENTION, make_sweep({"d_model": 64, "layers": 1, "heads": 2})])
def test_a_search_that_went_through_a_store_is_the_same_search(sweep):
    frontier = make_frontier(sweep, along="batch", memory_limit="30%")

    written = frontier.model_dump(mode="json", exclude_defaults=True)

    assert Frontier.model_validate(written) == frontier
