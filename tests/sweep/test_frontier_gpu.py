"""The search on a GPU for real, under a limit, so that it takes seconds on a card of any size."""

from pathlib import Path

import pytest

from windtunnel.records.record import Status
from windtunnel.records.store import read_store
from windtunnel.spec.frontier import make_frontier
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.frontier import search_frontier
from windtunnel.sweep.lines import predicted_peak

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

GIB = 2**30


def test_a_limited_search_ends_near_its_prediction_and_leaves_the_device_as_it_was(tmp_path: Path):
    sweep = make_sweep({"size": "small", "mode": "train_step", "context": 512, "attention": "sdpa"})
    frontier = make_frontier(sweep, along="batch", memory_limit="8GiB")

    summary = search_frontier(frontier, predict=predicted_peak, device="cuda:0", store=tmp_path)

    (found,) = summary.lines
    assert found.predicted is not None
    assert found.bracket.largest is not None
    largest, predicted = found.line.value(found.bracket.largest), found.line.value(found.predicted)
    assert isinstance(largest, int)
    assert isinstance(predicted, int)
    assert abs(predicted / largest - 1) < 0.15
    assert summary.missing_bytes == 0
    with read_store(tmp_path) as store:
        records = [one.record for one in store.records()]
    failed = [record for record in records if record.status is Status.OUT_OF_MEMORY]
    assert failed
    for record in failed:
        assert record.failure is not None
        assert record.failure.requested_bytes is not None
        assert record.failure.free_bytes is not None
        assert record.failure.free_bytes < record.failure.requested_bytes
    fitting = [record for record in records if record.status is Status.OK]
    assert all(record.memory and (record.memory.peak_reserved_bytes or 0) <= 8 * GIB for record in fitting)


def test_attention_alone_is_searched_along_its_sequence(tmp_path: Path):
    sweep = make_sweep({"kind": "attention", "backend": ["eager", "sdpa"], "precision": "bf16", "heads": 8})
    frontier = make_frontier(sweep, memory_limit="4GiB", most=2**17)

    summary = search_frontier(frontier, predict=predicted_peak, device="cuda:0", store=tmp_path)

    eager, fused = summary.lines
    assert eager.bracket.largest is not None
    assert fused.bracket.largest is not None
    assert fused.bracket.largest > eager.bracket.largest
