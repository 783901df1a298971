"""A snapshot of another program as a ledger."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots import MIB, planted_snapshot
from windtunnel.analysis.imported_snapshot import ledger_of_traces
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.errors import SpecError
from windtunnel.records.memory_ledger import Category
from windtunnel.records.record import Status
from windtunnel.records.snapshot import TraceEntry, read_traces, trace_of
from windtunnel.report.document import Document
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.report.sections.memory.ledger import ledgers_section

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


def test_the_device_with_the_most_allocations_is_taken_not_the_one_with_the_longest_trace():
    idle = [TraceEntry("segment_alloc", place, 8, "", "", None) for place in range(3)]

    ledger = ledger_of_traces([idle, [TraceEntry("alloc", 2, 4, "", "", None)]], started_at=AT)

    assert LedgerView(ledger).peak.total == 4


def test_more_than_any_device_holds_is_refused():
    trace = [TraceEntry("alloc", place, 2**49, "", "", None) for place in range(3)]

    with pytest.raises(SpecError, match="the snapshot is damaged: it holds 1,540 TiB at once, allowed: 1,020 TiB"):
        ledger_of_traces([trace], started_at=AT)


_NAMES = st.text(max_size=5) | st.sampled_from(["[bold]x[/]", "[/]", "<b>", "a|b", "\n", "\x1b[31m", "$x_1\\"])
_ODD = st.none() | st.booleans() | st.floats() | st.integers(-3, 2**64) | st.text(max_size=3) | st.just([])
_ENTRIES = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["alloc", "alloc", "free_requested", "oom", "segment_alloc", ""]),
        "size": st.sampled_from([0, 1, 511, 2**20, 2**49]),
    },
    optional={
        "addr": st.integers(-1, 2),
        "frames": st.lists(
            st.fixed_dictionaries({}, optional={"filename": _NAMES, "line": st.integers(-2, 9), "name": _NAMES}),
            max_size=2,
        ),
        "category": _NAMES | st.just("parameter"),
        "device_free": st.integers(0, 2**64),
        "stream": _ODD,
    },
)


_FIELDS = st.sampled_from(["action", "size", "addr", "frames", "category", "device_free"])


@given(st.lists(st.lists(_ENTRIES, min_size=1), min_size=1), st.dictionaries(_FIELDS, _ODD))
def test_whatever_a_snapshot_holds_is_a_ledger_that_can_be_shown_or_a_clear_error(
    traces: list[list[dict[str, object]]], odd: dict[str, object]
):
    traces[0][0] |= odd
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.json"
        path.write_text(json.dumps({"device_traces": traces}))
        try:
            ledger = ledger_of_traces(read_traces(path), started_at=AT)
        except SpecError:
            return

    document = Document(title="theirs", sections=(ledgers_section([ledger]),))

    assert "At its peak" in render_markdown(document) or ledger.failure
    assert render_html(document)


@pytest.mark.parametrize(
    "traces",
    [
        [],
        [[]],
        [[TraceEntry("segment_alloc", 1, 8, "", "", None)]],
        [[TraceEntry("alloc", 1, 0, "", "", None)]],
    ],
)
def test_a_snapshot_without_allocations_is_refused(traces: list[list[TraceEntry]]):
    with pytest.raises(SpecError, match="holds no allocation; record some with"):
        ledger_of_traces(traces, started_at=AT)
