"""Exports in the documented schema of nsys, as its versions differ; tables are there only when they have rows."""

import sqlite3
from pathlib import Path

import pytest

from nsys_exports import KERNELS, MEMCPY, NVTX, RUNTIME, Export, forward_pass_export
from profiles import GEMM
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

    with pytest.raises(SpecError, match=r"lacks the column demangledName or shortName.*another schema"):
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
