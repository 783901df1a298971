"""The rules of an audit read our own records too, and say of them what they say of a table."""

import pytest

from factory import CPU, GPU, make_record, make_row, make_task
from published import the
from windtunnel.analysis.audit import audit
from windtunnel.analysis.observed_results import observed_of
from windtunnel.analysis.results import Row
from windtunnel.records.record import Status


def rows(**shares: tuple[float, ...]) -> list[Row]:
    return [
        make_row(
            make_record(
                make_task(size=size, workload="forward_backward", context_length=256),
                shares=shares.get(size, (0.3, 0.1, 0.6)),
                milliseconds=[mean - 0.1, mean, mean + 0.1],
            )
        )
        for size, mean in (("small", 40.0), ("medium", 100.0), ("large", 170.0), ("xl", 260.0))
    ]


def test_each_phase_is_an_observation_with_its_samples_and_its_key() -> None:
    row = rows()[0]

    times = observed_of([row]).times

    assert [one.phase for one in times] == ["forward", "loss", "backward", "forward_backward"]
    assert times[3].mean == pytest.approx(0.040)
    assert times[3].std_seconds == pytest.approx(1e-4)
    assert (times[3].n, times[3].source) == (3, f"{row.key[:12]}, forward_backward")


def test_rules_find_in_records_what_they_find_in_tables() -> None:
    found = audit(observed_of(rows(large=(0.2, 0.1, 0.7))))

    assert the(found, "ratio_ranges", "backward").numbers["high"] == pytest.approx(3.5, rel=1e-3)
    assert the(found, "scales_with_work", "backward").numbers["count"] == 4


def test_out_of_memory_is_a_state_and_other_failures_are_left_out() -> None:
    failed = [
        make_row(make_record(make_task(context_length=64), status=Status.OUT_OF_MEMORY)),
        make_row(make_record(make_task(context_length=32), status=Status.CRASHED)),
    ]

    assert [one.state for one in observed_of(failed).times] == ["out of memory"]


def test_machines_never_meet() -> None:
    record = make_record(make_task())

    with pytest.raises(ValueError, match="several machines"):
        observed_of([make_row(record, CPU), make_row(record, GPU)])
