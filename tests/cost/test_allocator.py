import pytest

from windtunnel.cost.allocator import handed_out

MIB = 2**20


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (1, 512),
        (512, 512),
        (513, 1024),
        (MIB, MIB),
        (25 * MIB, 26 * MIB),  # what is left of the segment, 1 MiB, is too small for a block of its own
        (24 * MIB, 24 * MIB),
        (25 * MIB - 512, 25 * MIB - 512),  # here it is not
        (10 * MIB, 10 * MIB),
        (6 * MIB, 6 * MIB),  # three from a segment of 20 MiB leave 2 MiB
        (13 * MIB // 2, 13 * MIB // 2 + MIB // 6),  # three leave 0.5 MiB, a third of it each
    ],
)
def test_sizes_are_rounded_as_the_allocator_of_cuda_does(asked: int, got: int):
    assert handed_out(asked) == pytest.approx(got, abs=1)
