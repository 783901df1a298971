"""FLOPs and bytes of attention alone, against the closed forms of the field."""

import pytest

from windtunnel.cost.attention import score_matrix_bytes
from windtunnel.cost.step import cost_of
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell


def make_cell(mask: str = "full", **fields) -> Cell:
    """16 heads of width 64 on 16,384 tokens in bf16."""
    defaults = {
        "model": AttentionSpec(num_heads=16, d_head=64, mask=mask),
        "workload": "attention_forward_backward",
        "batch_size": 1,
        "context_length": 16384,
        "precision": "bf16",
        "device": "cpu",
    }
    return Cell.model_validate({**defaults, **fields})


def test_a_full_mask_costs_4bhssd_forward_and_two_and_a_half_times_that_backward():
    flops = cost_of(make_cell()).flops

    assert flops["forward"] == 4 * 16 * 16384**2 * 64
    assert flops["backward"] == 2.5 * flops["forward"]


def test_a_causal_mask_costs_half_of_a_full_one_but_for_the_diagonal():
    full, causal = cost_of(make_cell()).flops["forward"], cost_of(make_cell("causal")).flops["forward"]

    assert causal == pytest.approx(full / 2, rel=1 / 16384)


def test_a_window_costs_as_much_as_its_keys():
    flops = cost_of(make_cell("window:256")).flops["forward"]

    assert flops == 4 * 16 * 64 * (16384 * 256 - 256 * 255 // 2)


def test_the_least_bytes_are_inputs_outputs_gradients_and_log_sum_exp():
    tensor, rows = 16 * 16384 * 64 * 2, 16 * 16384

    assert cost_of(make_cell()).floor_bytes == 8 * tensor + 4 * rows
    assert cost_of(make_cell(workload="attention_forward")).floor_bytes == 4 * tensor


def test_grouped_key_heads_cost_fewer_bytes_and_as_many_flops():
    grouped = make_cell(model=AttentionSpec(num_heads=16, num_kv_heads=4, d_head=64, mask="full"))
    tensor, rows = 16 * 16384 * 64 * 2, 16 * 16384

    assert cost_of(grouped).flops == cost_of(make_cell()).flops
    assert cost_of(grouped).floor_bytes == 4 * tensor + 4 * tensor // 4 + 4 * rows


def test_a_score_matrix_grows_with_the_square():
    shape = AttentionSpec(num_heads=1, d_head=16)

    assert score_matrix_bytes(shape, batch_size=8, seq_len=8192, element_bytes=4) == 2048 * 2**20
