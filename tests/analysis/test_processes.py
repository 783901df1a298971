from dataclasses import replace

import pytest

from factory import make_processes, make_record, make_row, make_row_of, make_task
from windtunnel.analysis.processes import between_processes
from windtunnel.records.record import Status

NOISE = [0.99, 1.0, 1.01, 1.0, 0.99, 1.01, 1.0, 1.0, 0.99, 1.01]


def scaled(factor: float) -> list[float]:
    return [factor * value for value in NOISE]


def test_the_spread_is_the_deviation_of_the_medians_over_their_mean():
    (found,) = between_processes([make_row_of(*make_processes(scaled(9.0), scaled(10.0), scaled(11.0)))])

    assert found.medians == pytest.approx((9e-3, 10e-3, 11e-3))
    assert found.spread == pytest.approx(0.1)


def test_the_interval_within_a_process_stands_beside_that_between_them():
    """The ranks of 10 samples are the second and the ninth; t of 2 degrees of freedom is 4.3027."""
    (found,) = between_processes([make_row_of(*make_processes(scaled(9.0), scaled(10.0), scaled(11.0)))])

    assert found.within == pytest.approx(0.01)
    assert found.between == pytest.approx(4.302652729911275 * 0.1 / 3**0.5)


def test_two_processes_have_a_spread_and_no_interval_between_them():
    (found,) = between_processes([make_row_of(*make_processes([1.0], [3.0]))])

    assert found.spread == pytest.approx(2**0.5 / 2)
    assert (found.within, found.between) == (None, None)


def test_rows_of_one_process_and_rows_that_failed_are_left_out():
    alone = make_row(make_record(make_task()))
    first, second = make_processes([1.0], [2.0])
    failed = make_row_of(first, replace(second, status=Status.TIMED_OUT))

    assert between_processes([alone, failed]) == ()
