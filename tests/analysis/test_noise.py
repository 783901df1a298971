import pytest

from factory import make_processes, make_record, make_row, make_row_of, make_task
from windtunnel.analysis.noise import Noise, noisy


def noise_of(*milliseconds: float) -> Noise | None:
    found = noisy([make_row(make_record(make_task(), milliseconds=milliseconds))])
    return found[0] if found else None


def test_a_steady_series_is_not_noisy():
    assert noise_of(10, 10.1, 9.9, 10, 10.1, 9.9) is None


def test_a_wide_series_keeps_its_spread_with_and_without_its_first_sample():
    noise = noise_of(20, 10, 10, 10)

    assert noise is not None
    assert noise.cv == pytest.approx(0.4)
    assert noise.cv_without_first == 0


def test_a_first_sample_far_above_the_others_is_slow():
    noise = noise_of(10.6, 10, 10.01, 9.99, 10.02, 9.98)

    assert noise is not None
    assert noise.is_first_slow
    assert noise.first_ratio == pytest.approx(1.06)


def test_a_first_sample_within_the_spread_of_the_others_is_not_slow():
    noise = noise_of(10.6, 9.3, 10, 10.5, 9.6, 11.2, 8.9)

    assert noise is not None  # wide
    assert not noise.is_first_slow


def test_two_samples_do_not_make_a_slow_first():
    assert noise_of(10.4, 10) is None


def test_samples_that_rise_in_their_order_drift():
    noise = noise_of(*(10 + 0.1 * place for place in range(12)))

    assert noise is not None
    assert noise.drift == pytest.approx(0.0575, abs=0.005)


def test_the_same_samples_in_another_order_do_not_drift():
    assert noise_of(*(10 + 0.1 * place for place in (5, 0, 11, 3, 8, 1, 10, 4, 7, 2, 9, 6))) is None


def test_a_drift_too_small_to_matter_is_not_named():
    assert noise_of(*(10 + 0.01 * place for place in range(12))) is None


def test_a_difference_between_processes_is_no_drift_inside_one():
    steady, slower = [10.0, 10.1] * 10, [12.0, 12.1] * 10

    assert noisy([make_row_of(*make_processes(steady, slower, slower))]) == ()


def test_a_row_is_unusual_when_one_of_its_processes_is():
    steady, slow_first = [10.0, 10.1] * 10, [30.0] + [10.0, 10.1] * 10
    row = make_row_of(*make_processes(steady, slow_first, steady))

    (found,) = noisy([row])

    assert found.row is row
    assert found.is_first_slow
