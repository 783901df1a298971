"""Exports in the documented schema of nsys, as its versions differ; tables are there only when they have rows."""

import sqlite3
from pathlib import Path

import pytest

from nsys_exports import (
    GRAPHS,
    KERNELS,
    MEMCPY,
    NVTX,
    OLD_KERNELS,
    OLD_NVTX,
    OLD_RUNTIME,
    RUNTIME,
    Export,
    forward_pass_export,
)
from profiles import GEMM, MAIN
from windtunnel.analysis.profile import ProfileView
from windtunnel.errors import SpecError
from windtunnel.records.imported_profile import profile_of_file
from windtunnel.records.nsys_export import read_nsys_export
from windtunnel.records.profile import Part
from windtunnel.records.trace import HostKind


@pytest.fixture
def forward_pass(tmp_path: Path) -> Export:
    """A forward pass with a product in the feed-forward part, and a softmax that nothing names."""
    return forward_pass_export(tmp_path)


def test_an_export_gives_the_same_tables_as_a_trace(forward_pass: Export):
    view = ProfileView(profile_of_file(forward_pass.done(), started_at="2026-11-24T10:00:00+00:00"))

    assert view.total == pytest.approx(50e-6)
    assert view.phases == ("forward",)
    (place,) = view.sums(lambda place, name, _: (place.part, place.block) if name == GEMM else None)
    assert place == (Part.FEED_FORWARD, "blocks.0")
    assert view.profile.launches is not None
    assert view.profile.launches.calls == view.profile.launches.matched == 2
    assert view.profile.warnings == ()


def test_an_old_export_whose_missing_values_are_zeros_reads_the_same(tmp_path: Path):
    export = forward_pass_export(tmp_path, OLD_KERNELS, OLD_RUNTIME, OLD_NVTX)
    export.add("NVTX_EVENTS", start=50, end=0, eventType=59, globalTid=MAIN, text="a range that never ended")

    view = ProfileView(profile_of_file(export.done(), started_at=""))

    assert view.total == pytest.approx(50e-6)
    assert view.phases == ("forward",)
    assert view.profile.warnings == ()
    assert view.profile.launches is not None
    assert view.profile.launches.matched == 2


@pytest.mark.parametrize("table", ["META_DATA_EXPORT", "EXPORT_META_DATA"])
def test_the_source_says_which_nsys_wrote_it(forward_pass: Export, table: str):
    forward_pass.version(table, "2025.4.1.136")

    assert profile_of_file(forward_pass.done(), started_at="").source == "nsys 2025.4.1.136, report.sqlite"


def test_launches_of_graphs_that_were_recorded_whole_are_work_and_are_said(tmp_path: Path):
    export = forward_pass_export(tmp_path, KERNELS, RUNTIME, NVTX, GRAPHS)
    export.call("cudaGraphLaunch_v10000", 57_000, 59_000, 3)
    graph = {"streamId": 7, "correlationId": 3, "graphId": 5}
    export.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=90_000, end=97_000, **graph)
    export.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=0, end=0, **graph)  # CUPTI could not tell its times

    view = ProfileView(profile_of_file(export.done(), started_at=""))

    assert view.total == pytest.approx(57e-6)
    assert "CUDA graph 5" in view.profile.names
    assert view.profile.launches is not None
    assert view.profile.launches.matched == view.profile.launches.calls == 3
    assert [warning.partition(";")[0] for warning in view.profile.warnings] == [
        "rows of the export's table CUPTI_ACTIVITY_KIND_GRAPH_TRACE that have no times, left out: 1",
        "launches of CUDA graphs that were recorded whole, without their kernels: 1",
    ]


def test_without_texts_names_are_numbers_and_that_is_said(forward_pass: Export):
    path = forward_pass.done()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE StringIds")
    connection.close()

    trace = read_nsys_export(path)

    assert all(event.name.startswith("name ") for event in trace.device)
    assert "no table StringIds" in trace.warnings[0]


def test_an_export_of_nothing_but_graphs_is_read(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", RUNTIME, NVTX, GRAPHS)
    export.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=1_000, end=9_000, correlationId=3, graphId=5)

    assert profile_of_file(export.done(), started_at="").names == ("CUDA graph 5",)


def test_two_processes_that_count_launches_alike_are_told_apart(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", KERNELS, RUNTIME, NVTX)
    first, second = 5 << 24, 6 << 24
    for process, begin, name in ((first, 0, "aten::mm, seq = 1"), (second, 100, "aten::add, seq = 1")):
        thread = process + 1
        export.add("NVTX_EVENTS", start=begin, end=begin + 50, eventType=59, globalTid=thread, text=name)
        launch = {"globalTid": thread, "correlationId": 9, "nameId": export.text("cudaLaunchKernel_v7000")}
        export.add("CUPTI_ACTIVITY_KIND_RUNTIME", start=begin + 10, end=begin + 20, **launch)
        kernel = {"globalPid": process, "correlationId": 9, "demangledName": export.text(GEMM)}
        export.add("CUPTI_ACTIVITY_KIND_KERNEL", start=begin + 30, end=begin + 40, **kernel)

    profile = profile_of_file(export.done(), started_at="")

    assert profile.work.launched == (10, 110)
    assert any("2 processes used a device" in warning for warning in profile.warnings)


def test_texts_are_found_by_their_number_and_operators_know_their_node(forward_pass: Export):
    trace = read_nsys_export(forward_pass.done())

    operator = next(event for event in trace.host if event.kind is HostKind.OPERATOR)
    assert (operator.name, operator.sequence) == ("aten::mm", 12)
    assert {event.name for event in trace.host if event.kind is HostKind.RUNTIME} == {
        "cudaLaunchKernel",
        "cudaLaunchKernelExC",
    }


def test_copies_are_named_by_their_direction(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", MEMCPY, RUNTIME, NVTX)
    export.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=1, end=9, streamId=7, correlationId=1, bytes=4, copyKind=1)

    trace = read_nsys_export(export.done())

    assert [event.name for event in trace.device] == ["Memcpy HtoD"]


def test_what_was_not_recorded_is_said_and_the_rest_is_read(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", KERNELS)
    export.kernel(GEMM, 10, 20, 1)

    profile = profile_of_file(export.done(), started_at="")

    assert len(profile.work) == 1
    assert "no table CUPTI_ACTIVITY_KIND_RUNTIME" in profile.warnings[0]
    assert "no table NVTX_EVENTS" in profile.warnings[1]


def test_a_column_of_another_version_that_can_be_done_without_is_said(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", KERNELS.replace("streamId INTEGER NOT NULL,", ""), RUNTIME, NVTX)
    names = {"demangledName": export.text(GEMM), "shortName": export.text("nvjet")}
    export.add("CUPTI_ACTIVITY_KIND_KERNEL", start=1, end=2, correlationId=1, **names)

    warnings = read_nsys_export(export.done()).warnings

    assert any("has no column streamId" in warning for warning in warnings)


def test_a_column_without_which_nothing_can_be_said_is_named(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (begin INTEGER, name INTEGER)")

    export.version("META_DATA_EXPORT", "2031.1")

    with pytest.raises(SpecError, match=r"lacks the column demangledName or shortName.*nsys 2031\.1.*another schema"):
        read_nsys_export(export.done())


def test_an_export_in_which_no_kernel_ran_says_why(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", NVTX)

    with pytest.raises(SpecError, match=r"nothing ran in it.*CUPTI_ACTIVITY_KIND_KERNEL"):
        profile_of_file(export.done(), started_at="")


def test_another_database_is_no_export(tmp_path: Path):
    path = tmp_path / "r.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records (id INTEGER)")
    connection.close()

    with pytest.raises(SpecError, match="no export of nsys"):
        read_nsys_export(path)


def test_a_file_cut_in_the_middle_is_told(forward_pass: Export, tmp_path: Path):
    whole = forward_pass.done().read_bytes()
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(SpecError, match="copy the whole file"):
        read_nsys_export(cut)


def test_a_report_that_was_not_exported_says_how(tmp_path: Path):
    path = tmp_path / "report.nsys-rep"
    path.write_bytes(b"whatever")

    with pytest.raises(SpecError, match=r"nsys export --type sqlite report\.nsys-rep"):
        profile_of_file(path, started_at="")
