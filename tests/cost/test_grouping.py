import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.cost.grouping import Blocks, best_grouping, blocks_of, groupings

LAYERS = st.integers(1, 200)
BYTES = st.integers(1, 10**9)


@pytest.mark.parametrize("root", [1, 2, 3, 4, 7, 12])
def test_where_a_boundary_costs_as_much_as_a_block_groups_of_root_n_are_best(root: int):
    blocks = Blocks(num_layers=root**2, block_bytes=1, boundary_bytes=1, fixed_bytes=0)

    assert blocks.best_real == root
    assert best_grouping(root**2, blocks.peak) == root
    assert blocks.peak(root) == 2 * root


def test_where_gradients_outweigh_inputs_single_blocks_are_best():
    blocks = Blocks(num_layers=64, block_bytes=3, boundary_bytes=1, gradient_bytes=2, fixed_bytes=0)

    assert blocks.best_real == 1
    assert best_grouping(64, blocks.peak) == 1


@given(LAYERS, BYTES, BYTES, BYTES, BYTES)
def test_the_peak_is_the_most_of_all_moments_of_backward(
    num_layers: int, block: int, boundary: int, gradient: int, size: int
):
    blocks = Blocks(
        num_layers=num_layers, block_bytes=block, boundary_bytes=boundary, gradient_bytes=gradient, fixed_bytes=7
    )
    size = 1 + size % num_layers
    groups = math.ceil(num_layers / size)

    moments = [(groups - done) * boundary + done * size * gradient for done in range(groups)]

    assert blocks.peak(size) == 7 + size * block + max(moments)


@given(LAYERS, BYTES, BYTES, BYTES)
def test_the_best_grouping_is_the_best_of_all_sizes(num_layers: int, block: int, boundary: int, fixed: int):
    blocks = Blocks(num_layers=num_layers, block_bytes=block, boundary_bytes=boundary, fixed_bytes=fixed)

    best = best_grouping(num_layers, blocks.peak)

    assert blocks.peak(best) == min(blocks.peak(size) for size in range(1, num_layers + 1))


@given(LAYERS, BYTES, BYTES)
def test_the_peak_there_is_the_law_but_for_whole_numbers(num_layers: int, block: int, boundary: int):
    """2 √(L · boundary · block) is the least for real N; a whole N and a whole number of groups add one of each."""
    blocks = Blocks(num_layers=num_layers, block_bytes=block, boundary_bytes=boundary, fixed_bytes=0)

    peak = blocks.peak(best_grouping(num_layers, blocks.peak))

    law = 2 * math.sqrt(num_layers * boundary * block)
    assert law * (1 - 1e-9) <= peak
    assert peak <= max(law, block + num_layers * boundary, num_layers * block + boundary) + block + boundary


@given(LAYERS)
def test_groupings_make_each_possible_number_of_groups_once(num_layers: int):
    sizes = groupings(num_layers)

    counts = [math.ceil(num_layers / size) for size in sizes]
    assert set(counts) == {math.ceil(num_layers / size) for size in range(1, num_layers + 1)}
    assert len(set(counts)) == len(counts)
    assert len(sizes) <= 2 * math.sqrt(num_layers) + 1


@given(st.integers(3, 200), BYTES, BYTES, BYTES, BYTES)
def test_two_peaks_tell_what_a_block_keeps(num_layers: int, block: int, boundary: int, gradient: int, fixed: int):
    known = Blocks(
        num_layers=num_layers,
        block_bytes=block,
        boundary_bytes=boundary,
        gradient_bytes=gradient,
        fixed_bytes=fixed,
    )

    found = blocks_of(
        (1, known.peak(1)),
        (2, known.peak(2)),
        num_layers=num_layers,
        boundary_bytes=boundary,
        gradient_bytes=gradient,
    )

    assert found.block_bytes == pytest.approx(block, abs=1e-3 * known.peak(1) / num_layers)
    assert found.peak(num_layers) == pytest.approx(known.peak(num_layers))
