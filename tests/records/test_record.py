import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import make_record, make_task
from windtunnel.records.record import (
    ClockName,
    Failure,
    Memory,
    Record,
    Samples,
    Status,
    record_from_json,
    record_to_json,
)

counts = st.integers(min_value=0, max_value=2**70)
times = st.lists(st.integers(min_value=0, max_value=2**63 - 1), max_size=5).map(tuple)
phases = st.sampled_from(["forward", "backward", "optimizer", "step", "größer\n"])

samples = st.builds(
    Samples,
    phase=phases,
    clock=st.sampled_from(ClockName),
    nanoseconds=times,
    warmup_nanoseconds=times,
)
memories = st.builds(
    Memory,
    built_bytes=st.none() | counts,
    peak_bytes=st.none() | counts,
    peak_reserved_bytes=st.none() | counts,
    capacity_bytes=st.none() | counts,
    source=st.text(),
)
failures = st.builds(
    Failure,
    stage=st.text(),
    message=st.text(),
    requested_bytes=st.none() | counts,
    free_bytes=st.none() | counts,
    exit_code=st.none() | st.integers(min_value=-64, max_value=255),
    signal=st.none() | st.text(),
    details=st.none() | st.text(),
)
records = st.builds(
    replace,
    st.just(make_record(make_task(precision="bf16", attention="my.kernels:flash"))),
    status=st.sampled_from(Status),
    timed=st.dictionaries(phases, st.text()),
    flops=st.dictionaries(phases, counts),
    samples=st.lists(samples, max_size=3).map(tuple),
    memory=st.none() | memories,
    failure=st.none() | failures,
    stages=st.dictionaries(phases, st.floats(allow_nan=False)),
    warnings=st.lists(st.text(), max_size=3).map(tuple),
    process=st.integers(min_value=0, max_value=1000),
    is_first_in_process=st.booleans(),
)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


@settings(max_examples=40)
@given(records)
def test_a_record_of_any_content_is_read_as_it_was_written(record: Record):
    assert record_from_json(record_to_json(record)) == record


@pytest.mark.parametrize("status", Status)
def test_a_record_of_any_status_is_read_as_it_was_written(status: Status):
    failure = None if status is Status.OK else Failure(stage="measure", message="what happened")
    record = make_record(make_task(), status=status, failure=failure)

    assert record_from_json(record_to_json(record)) == record


def test_a_time_that_is_no_number_is_read_as_it_was_written():
    record = make_record(make_task(), stages={"build": math.nan})

    assert math.isnan(record_from_json(record_to_json(record)).stages["build"])


@settings(max_examples=40)
@given(records)
def test_a_record_is_json_for_every_reader(record: Record):
    """Python's own writer puts NaN and Infinity into JSON, which other readers refuse."""
    assert json.loads(record_to_json(record), parse_constant=refuse)["status"] == record.status


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", '{"status": "ok"}', "\x00"])
def test_text_that_is_no_record_is_refused(text: str):
    with pytest.raises(ValidationError):
        record_from_json(text)


def test_a_record_with_an_impossible_task_is_refused():
    text = record_to_json(make_record(make_task(batch_size=4)))

    with pytest.raises(ValidationError, match="batch_size"):
        record_from_json(text.replace('"batch_size":4', '"batch_size":0'))


def test_the_samples_of_a_phase_are_found_by_their_clock():
    record = make_record(make_task(workload="train_step", device="cuda:0"), milliseconds=[10.0])

    device = record.series("forward", ClockName.DEVICE)

    assert device is not None
    assert (device.phase, device.clock, device.nanoseconds) == ("forward", "device", (3_000_000,))
    assert record.series("forward", ClockName.HOST) is None
    assert record.series("decode", ClockName.DEVICE) is None
