"""Cells over many runs, and the page that shows them."""

import shutil
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from factory import CPU, GPU, make_processes, make_task
from nightly import nightly
from reading import column_of, headings_of, tables_of, texts_of
from windtunnel.analysis.history import histories_of
from windtunnel.errors import SpecError
from windtunnel.records.store import open_store
from windtunnel.report.document import Figure
from windtunnel.report.history import history_document, sparkline
from windtunnel.units import NOT_KNOWN


def test_each_run_is_a_number_with_its_interval(tmp_path: Path):
    (history,) = histories_of([nightly(tmp_path, [1.0, 1.1, 1.2])])

    assert [estimate.value for _, estimate in history.measured] == pytest.approx([0.010, 0.011, 0.012], rel=0.01)
    assert all(estimate.low is not None for _, estimate in history.measured)
    assert [moment.label for moment in history.moments] == ["nightly"] * 3


def test_a_change_of_level_is_found_with_the_version_that_came_with_it(tmp_path: Path):
    newer = replace(CPU, torch="2.13.0")
    folder = nightly(tmp_path, [1.0] * 20 + [1.15] * 20, environments=[CPU] * 20 + [newer] * 20)

    (history,) = histories_of([folder])

    (change,) = history.course.changes
    assert change.change == pytest.approx(0.15, abs=0.01)
    assert history.at(change).started_at.startswith("2026-01-21")
    assert [str(field) for field in history.at(change).since] == ["torch 2.11.0 → 2.13.0"]
    (table,) = tables_of(history_document([history]), "All cells")
    assert column_of(table, "changes of level")[0].endswith("from 2026-01-21 02:00 on, with torch 2.11.0 → 2.13.0")


def test_stores_are_joined_in_the_order_of_time(tmp_path: Path):
    later, earlier = nightly(tmp_path / "b", [2.0], first=5), nightly(tmp_path / "a", [1.0])

    (history,) = histories_of([later, earlier])

    assert [round(estimate.value, 3) for _, estimate in history.measured] == [0.01, 0.02]


def test_a_run_that_several_stores_hold_counts_once_and_that_is_said(tmp_path: Path):
    folder = nightly(tmp_path / "a", [1.0, 1.1, 1.2])
    copy = Path(shutil.copytree(folder, tmp_path / "b"))
    nightly(copy, [1.3], first=3)

    (history,) = histories_of([folder, folder, copy])

    assert [moment.copies for moment in history.moments] == [3, 3, 3, 1]
    said = texts_of(history_document([history]).sections[0])
    assert "Counted once, though found more than once" in said
    assert "3 runs of 1 cell." in said


def test_of_copies_of_a_run_the_one_with_most_processes_counts(tmp_path: Path):
    records = make_processes([10.0] * 10, [11.0] * 10, [12.0] * 10)
    for name, some in (("whole", records), ("begun", records[:1])):
        with open_store(tmp_path / name) as store:
            for record in some:
                store.add(record, CPU)

    (history,) = histories_of([tmp_path / "whole", tmp_path / "begun"])

    (moment,) = history.moments
    assert moment.row.is_complete


def test_one_run_has_no_change(tmp_path: Path):
    (table,) = tables_of(history_document(histories_of([nightly(tmp_path, [1.0])])), "All cells")

    assert column_of(table, "change") == [NOT_KNOWN]


def test_what_a_change_of_level_is_stands_only_below_series_that_were_scanned(tmp_path: Path):
    notes = [
        tables_of(history_document(histories_of([nightly(tmp_path / str(runs), [1.0] * runs)])), "All cells")[0].note
        for runs in (29, 30)
    ]

    assert notes[0] == ""
    assert "at most two in a hundred have one by accident" in notes[1]


def test_machines_are_not_joined(tmp_path: Path):
    folder = nightly(tmp_path, [1.0, 1.0], environments=[CPU, GPU])

    histories = histories_of([folder])

    assert [history.machine for history in histories] == ["A CPU", "NVIDIA H200"]
    assert all(
        heading.endswith((", A CPU", ", NVIDIA H200")) for heading in headings_of(history_document(histories))[1:]
    )


def test_a_run_that_failed_is_a_row_without_a_number(tmp_path: Path):
    histories = histories_of([nightly(tmp_path, [1.0, 0.0, 1.0])])

    table = tables_of(history_document(histories), headings_of(history_document(histories))[1])[0]

    assert column_of(table, "run") == ["1", "2", "3"]
    assert column_of(table, "median (ms)")[1] == "out of memory"
    assert len(histories[0].measured) == 2


def test_few_runs_say_that_nothing_was_looked_for(tmp_path: Path):
    document = history_document(histories_of([nightly(tmp_path, [1.0, 2.0])]))

    assert column_of(tables_of(document, "All cells")[0], "changes of level") == ["not looked for"]
    assert any("fewer than 30 runs" in getattr(block, "text", "") for block in document.sections[0].blocks)


def test_the_chart_is_one_that_plotly_takes_and_marks_the_change(tmp_path: Path):
    (history,) = histories_of([nightly(tmp_path, [1.0] * 20 + [1.15] * 20)])

    (figure,) = (block for block in history_document([history]).sections[1].blocks if isinstance(block, Figure))

    drawn = go.Figure(figure.plotly)
    assert len(drawn.data[0].x) == 40
    assert drawn.layout.shapes[0].x0 == 20.5
    assert "1 change" not in figure.alternative
    assert "+15" in figure.alternative or "+14" in figure.alternative


def test_of_many_cells_the_terminal_shows_only_the_overview(tmp_path: Path):
    for length in (8, 16, 32, 64):
        nightly(tmp_path, [1.0, 1.0], task=make_task(context_length=length))

    document = history_document(histories_of([tmp_path]))

    assert [section.is_detail for section in document.sections] == [False, True, True, True, True]


def test_phases_and_cells_are_chosen_by_name(tmp_path: Path):
    nightly(tmp_path, [1.0])
    nightly(tmp_path, [1.0], task=make_task(workload="forward", context_length=99))

    (history,) = histories_of([tmp_path], phase="backward", containing="train_step")

    assert history.measured[0][1].value == pytest.approx(0.006, rel=0.01)
    with pytest.raises(SpecError, match="no cell holds 'trian'; there are: tiny"):
        histories_of([tmp_path], containing="trian")
    with pytest.raises(SpecError, match="no cell has a phase 'bakward'; there are: forward"):
        histories_of([tmp_path], phase="bakward")


def test_a_sparkline_has_a_bar_for_each_of_the_last_values():
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert sparkline([1.0, 1.0]) == "▄▄"
    assert sparkline([]) == ""
    assert len(sparkline(list(range(100)))) == 40
