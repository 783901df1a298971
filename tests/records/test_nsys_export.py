"""Exports of nsys with its real schema, as its versions differ; tables are there only when they have rows."""

import sqlite3
from pathlib import Path

import pytest

from profiles import GEMM, MAIN, SOFTMAX, US
from windtunnel.analysis.profile import ProfileView
from windtunnel.errors import SpecError
from windtunnel.records.imported_profile import profile_of_file
from windtunnel.records.nsys_export import read_nsys_export
from windtunnel.records.profile import Part
from windtunnel.records.trace import HostKind, part_range, phase_range, step_range

_KERNELS = """CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL,
    deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, greenContextId INTEGER, streamId INTEGER NOT NULL,
    correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL,
    mangledName INTEGER, launchType INTEGER, cacheConfig INTEGER, registersPerThread INTEGER NOT NULL,
    gridX INTEGER NOT NULL, gridY INTEGER NOT NULL, gridZ INTEGER NOT NULL, blockX INTEGER NOT NULL,
    blockY INTEGER NOT NULL, blockZ INTEGER NOT NULL, staticSharedMemory INTEGER NOT NULL,
    dynamicSharedMemory INTEGER NOT NULL, graphNodeId INTEGER)"""
_RUNTIME = """CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL,
    eventClass INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL,
    returnValue INTEGER NOT NULL, callchainId INTEGER)"""
_MEMCPY = """CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER NOT NULL, end INTEGER NOT NULL,
    deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER,
    globalPid INTEGER, bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL)"""
_NVTX = """CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL,
    rangeId INTEGER, category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER,
    textId INTEGER, domainId INTEGER, uint64Value INTEGER)"""


class Export:
    """An export in the making."""

    def __init__(self, path: Path, *tables: str) -> None:
        self.path = path
        self._connection = sqlite3.connect(path)
        self._connection.execute("CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
        for table in tables:
            self._connection.execute(table)

    def text(self, value: str) -> int:
        known = self._connection.execute("SELECT id FROM StringIds WHERE value = ?", (value,)).fetchone()
        if known:
            return known[0]
        return self._connection.execute("INSERT INTO StringIds (value) VALUES (?)", (value,)).lastrowid or 0

    def add(self, table: str, **columns: object) -> None:
        needed = {
            name: 0
            for _, name, _, not_null, _, _ in self._connection.execute(f"PRAGMA table_info({table})")
            if not_null
        }
        values = {**needed, **columns}
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))

    def kernel(self, name: str, start: int, end: int, correlation: int) -> None:
        names = {"demangledName": self.text(name), "shortName": self.text(name[:8])}
        self.add(
            "CUPTI_ACTIVITY_KIND_KERNEL", start=start, end=end, streamId=7, correlationId=correlation, **names
        )  # fmt: skip

    def call(self, name: str, start: int, end: int, correlation: int) -> None:
        self.add(
            "CUPTI_ACTIVITY_KIND_RUNTIME",
            start=start,
            end=end,
            globalTid=MAIN,
            correlationId=correlation,
            nameId=self.text(name),
        )

    def range(self, name: str, start: int, end: int | None, *, by_id: bool = False, kind: int = 59) -> None:
        text = {"textId": self.text(name)} if by_id else {"text": name}
        self.add("NVTX_EVENTS", start=start, end=end, eventType=kind, globalTid=MAIN, **text)

    def done(self) -> Path:
        self._connection.commit()
        self._connection.close()
        return self.path


@pytest.fixture
def forward_pass(tmp_path: Path) -> Export:
    """A forward pass with a product in the feed-forward part, and a softmax that emit_nvtx names."""
    export = Export(tmp_path / "report.sqlite", _KERNELS, _RUNTIME, _NVTX)
    export.range(step_range(0), 0, 100 * US)
    export.range(phase_range("forward"), 0, 90 * US, by_id=True)
    export.range(part_range(Part.FEED_FORWARD, "blocks.0"), 10 * US, 40 * US)
    export.range("aten::mm, seq = 12, op_id = 3", 12 * US, 38 * US, by_id=True)
    export.range("a mark", 20 * US, None, kind=34)
    export.call("cudaLaunchKernelExC_v11060", 20 * US, 25 * US, 1)
    export.call("cudaLaunchKernel_v7000", 50 * US, 55 * US, 2)
    export.kernel(GEMM, 30 * US, 60 * US, 1)
    export.kernel(SOFTMAX, 62 * US, 82 * US, 2)
    return export


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
    export = Export(tmp_path / "r.sqlite", _MEMCPY, _RUNTIME, _NVTX)
    export.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=1, end=9, streamId=7, correlationId=1, bytes=4, copyKind=1)

    trace = read_nsys_export(export.done())

    assert [event.name for event in trace.device] == ["Memcpy HtoD"]


def test_what_was_not_recorded_is_said_and_the_rest_is_read(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", _KERNELS)
    export.kernel(GEMM, 10, 20, 1)

    profile = profile_of_file(export.done(), started_at="")

    assert len(profile.work) == 1
    assert "no table CUPTI_ACTIVITY_KIND_RUNTIME" in profile.warnings[0]
    assert "no table NVTX_EVENTS" in profile.warnings[1]


def test_a_column_of_another_version_that_can_be_done_without_is_said(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", _KERNELS.replace("streamId INTEGER NOT NULL,", ""), _RUNTIME, _NVTX)
    names = {"demangledName": export.text(GEMM), "shortName": export.text("nvjet")}
    export.add("CUPTI_ACTIVITY_KIND_KERNEL", start=1, end=2, correlationId=1, **names)

    warnings = read_nsys_export(export.done()).warnings

    assert any("has no column streamId" in warning for warning in warnings)


def test_a_column_without_which_nothing_can_be_said_is_named(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (begin INTEGER, name INTEGER)")

    with pytest.raises(SpecError, match=r"lacks the column demangledName or shortName.*another schema"):
        read_nsys_export(export.done())


def test_an_export_in_which_no_kernel_ran_says_why(tmp_path: Path):
    export = Export(tmp_path / "r.sqlite", _NVTX)

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
