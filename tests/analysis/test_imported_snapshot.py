"""A snapshot of another program as a ledger."""

import pytest

from snapshots import MIB, planted_snapshot
from windtunnel.analysis.imported_snapshot import ledger_of_traces
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.errors import SpecError
from windtunnel.records.memory_ledger import Category
from windtunnel.records.record import Status
from windtunnel.records.snapshot import TraceEntry, trace_of

AT = "2026-01-02T03:04:05+00:00"


def test_the_busiest_device_becomes_a_ledger_with_its_peak_and_its_failure():
    traces = [trace_of(planted_snapshot(), index) for index in (0, 1)]

    ledger = ledger_of_traces(traces, started_at=AT)

    view = LedgerView(ledger)
    assert view.peak.total == 14 * MIB - 100
    assert (ledger.status, ledger.failure.requested_bytes, ledger.failure.free_bytes) == (
        Status.OUT_OF_MEMORY,
        100 * MIB,
        3 * MIB,
    )
    assert view.held_by(view.peak.event, lambda label: label.site) == {
        "/home/me/mine.py:12 in attend": 12 * MIB - 100,
        "/env/lib/python3.11/site-packages/torch/nn/modules/linear.py:5 in forward": 2 * MIB,
    }


def test_categories_that_a_snapshot_names_are_taken_over():
    trace = [TraceEntry("alloc", 1, 8, "", "parameter", None), TraceEntry("alloc", 2, 4, "", "gradient", None)]

    view = LedgerView(ledger_of_traces([trace], started_at=AT))

    assert view.peak.by_category == {Category.PARAMETERS: 8, Category.GRADIENTS: 4}


def test_a_free_of_what_was_there_before_is_no_event():
    trace = [TraceEntry("free_requested", 9, 8, "", "", None), TraceEntry("alloc", 2, 4, "", "", None)]

    assert ledger_of_traces([trace], started_at=AT).num_events == 1


@pytest.mark.parametrize("traces", [[], [[]], [[TraceEntry("segment_alloc", 1, 8, "", "", None)]]])
def test_a_snapshot_without_allocations_is_refused(traces: list[list[TraceEntry]]):
    with pytest.raises(SpecError, match="holds no allocation; record some with"):
        ledger_of_traces(traces, started_at=AT)
