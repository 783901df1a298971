"""Rotary positions: turns that keep lengths and know distances only."""

import math

import pytest
import torch
from torch import Tensor

from windtunnel.models.transformer import rotate, rotation_tables

CPU = torch.device("cpu")


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tables(seq_len: int, d_head: int, theta: float = 100.0) -> tuple[Tensor, Tensor]:
    cos, signed_sin = rotation_tables(seq_len, d_head, theta=theta, device=CPU)
    return cos.double(), signed_sin.double()


@pytest.mark.parametrize("d_head", [2, 6, 16])
def test_position_0_stays_as_it_is(d_head: int):
    x = normal(2, 3, 1, d_head)

    rotated = rotate(x, *tables(1, d_head))

    assert torch.equal(rotated, x)


@pytest.mark.parametrize("d_head", [2, 6, 16])
def test_the_length_of_every_pair_is_kept(d_head: int):
    x = normal(2, 3, 7, d_head)

    rotated = rotate(x, *tables(7, d_head))

    before = x.unflatten(-1, (2, -1)).norm(dim=-2)
    after = rotated.unflatten(-1, (2, -1)).norm(dim=-2)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)  # tables in float32


@pytest.mark.parametrize("d_head", [2, 6, 16])
def test_scores_depend_on_the_distance_of_the_positions_only(d_head: int):
    """The same query and key at all pairs of positions: equal scores along each diagonal."""
    q = normal(1, 1, 1, d_head).expand(1, 1, 9, d_head)
    k = normal(1, 1, 1, d_head, seed=1).expand(1, 1, 9, d_head)

    scores = (rotate(q, *tables(9, d_head)) @ rotate(k, *tables(9, d_head)).mT)[0, 0]

    for distance in range(-8, 9):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)
    assert scores[0].std() > 0.1


def test_the_first_pair_turns_by_one_radian_a_position():
    cos, signed_sin = tables(3, 4)

    angles = torch.atan2(signed_sin[:, 2], cos[:, 2])

    torch.testing.assert_close(angles, torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_the_last_pair_turns_slower_by_theta():
    """Its exponent is (d_head - 2) / d_head."""
    cos, signed_sin = tables(2, 4, theta=10_000.0)

    angle = torch.atan2(signed_sin[1, 3], cos[1, 3])

    assert angle.item() == pytest.approx(10_000**-0.5, rel=1e-6)


def test_far_positions_keep_their_angle():
    """In float32 alone, position 100,003 times a frequency near one would be off by 4e-3."""
    position, d_head = 100_003, 64

    cos, signed_sin = tables(position + 1, d_head, theta=10_000.0)

    angle = position * 10_000.0 ** (-2 / d_head)
    assert cos[position, 1].item() == pytest.approx(math.cos(angle), abs=1e-7)
    assert signed_sin[position, d_head // 2 + 1].item() == pytest.approx(math.sin(angle), abs=1e-7)
