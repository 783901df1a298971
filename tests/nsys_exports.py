"""Exports in the documented schema of nsys, made for tests and not by nsys."""

import sqlite3
from pathlib import Path

from profiles import GEMM, MAIN, SOFTMAX, US
from windtunnel.records.profile import Part
from windtunnel.records.trace import part_range, phase_range, step_range

KERNELS = """CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL,
    deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, greenContextId INTEGER, streamId INTEGER NOT NULL,
    correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL,
    mangledName INTEGER, launchType INTEGER, cacheConfig INTEGER, registersPerThread INTEGER NOT NULL,
    gridX INTEGER NOT NULL, gridY INTEGER NOT NULL, gridZ INTEGER NOT NULL, blockX INTEGER NOT NULL,
    blockY INTEGER NOT NULL, blockZ INTEGER NOT NULL, staticSharedMemory INTEGER NOT NULL,
    dynamicSharedMemory INTEGER NOT NULL, graphNodeId INTEGER)"""
RUNTIME = """CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL,
    eventClass INTEGER NOT NULL, globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL,
    returnValue INTEGER NOT NULL, callchainId INTEGER)"""
MEMCPY = """CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER NOT NULL, end INTEGER NOT NULL,
    deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER,
    globalPid INTEGER, bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL)"""
GRAPHS = """CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INTEGER NOT NULL, end INTEGER NOT NULL,
    deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, greenContextId INTEGER, streamId INTEGER NOT NULL,
    correlationId INTEGER, globalPid INTEGER, graphId INTEGER NOT NULL, graphExecId INTEGER NOT NULL)"""
NVTX = """CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL,
    rangeId INTEGER, category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER,
    textId INTEGER, domainId INTEGER, uint64Value INTEGER)"""


OLD_KERNELS = """CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT NOT NULL, end INT NOT NULL, deviceId INT NOT NULL,
    contextId INT NOT NULL, streamId INT NOT NULL, correlationId INT NOT NULL, demangledName INT NOT NULL,
    shortName INT NOT NULL, gridX INT NOT NULL, gridY INT NOT NULL, gridZ INT NOT NULL)"""
OLD_RUNTIME = """CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT NOT NULL, end INT NOT NULL, globalTid INT NOT NULL,
    correlationId INT NOT NULL, nameId INT NOT NULL, returnValue INT NOT NULL)"""
OLD_NVTX = """CREATE TABLE NVTX_EVENTS (start INT NOT NULL, end INT NOT NULL, eventType INT NOT NULL,
    rangeId INT NOT NULL, category INT NOT NULL, color INT NOT NULL, text TEXT NOT NULL, globalTid INT NOT NULL,
    endGlobalTid INT NOT NULL, textId INT NOT NULL, domainId INT NOT NULL)"""
"""As versions before 2020 write them: nothing is NULL, what is not there is 0 or an empty text."""


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
            name: "" if kind == "TEXT" else 0
            for _, name, kind, not_null, _, _ in self._connection.execute(f"PRAGMA table_info({table})")
            if not_null and columns.get(name) is None
        }
        values = {**columns, **needed}
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

    def version(self, table: str, product: str) -> None:
        self._connection.execute(f"CREATE TABLE {table} (name TEXT, value TEXT)")
        rows = [("EXPORT_PRODUCT_NAME", "NVIDIA Nsight Systems"), ("EXPORT_PRODUCT_VERSION", product)]
        self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)

    def done(self) -> Path:
        self._connection.commit()
        self._connection.close()
        return self.path


def forward_pass_export(folder: Path, *tables: str) -> Export:
    """Begin an export of a forward pass: a product in the feed-forward part, and a softmax in none."""
    export = Export(folder / "report.sqlite", *(tables or (KERNELS, RUNTIME, NVTX)))
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


def forward_pass(folder: Path) -> Path:
    """Write that export."""
    return forward_pass_export(folder).done()
