"""Read what `nsys export --type sqlite` writes: kernels, calls of the runtime and NVTX ranges, whatever its version.

nsys makes only the tables that it has rows for, and columns come and go between versions: what is not there is said.
Names are numbers that `StringIds` translates. Source: NVIDIA Nsight Systems user guide, SQLite schema reference.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from windtunnel.errors import SpecError
from windtunnel.records.trace import NO_NUMBER, PREFIX, DeviceEvent, HostEvent, HostKind, Trace

_KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
_RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
_MEMCPY = "CUPTI_ACTIVITY_KIND_MEMCPY"
_MEMSET = "CUPTI_ACTIVITY_KIND_MEMSET"
_GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_NVTX = "NVTX_EVENTS"
_STRINGS = "StringIds"
_METADATA = ("META_DATA_EXPORT", "EXPORT_META_DATA")
"""What says which nsys wrote an export: the newer name of that table, then the older."""
_VERSION = "EXPORT_PRODUCT_VERSION"

_COPY_KINDS = {1: "HtoD", 2: "DtoH", 8: "DtoD", 10: "PtoP"}
"""Of CUpti_ActivityMemcpyKind; the others are rare, and shown by their number."""

_OPERATOR = re.compile(r"^(?P<name>.*?), (?:seq|op_id) = ")
_SEQUENCE = re.compile(r", seq = (\d+)")
_ENGINE = "autograd::engine::"

_HAS_RANGES = (59, 60)
"""Types of NVTX events that have a beginning and an end: pushed and popped, started and ended."""

_PROCESS_SHIFT = 24
"""The bits of a thread below its process in `globalTid`; they are 0 in `globalPid`."""
_CORRELATION_BITS = 32


def read_nsys_export(path: Path) -> Trace:
    """Return the events of an export.

    Raises:
        SpecError: It is no SQLite file, no export of nsys, or a column is missing without which nothing can be said.
    """
    if not path.is_file():
        raise SpecError(f"--import {str(path)!r}: there is no such file")
    try:
        with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as connection:
            return _Export(connection, path).read()
    except sqlite3.Error as error:
        raise SpecError(
            f"--import {str(path)!r}: cannot be read as SQLite: {error}; make it with "
            "`nsys export --type sqlite report.nsys-rep`, and copy the whole file"
        ) from error


class _Export:
    """An open export."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._strings: dict[int, str] = {}
        self._trace = Trace(source="nsys")
        self._knows_processes = all(
            name in self._columns(table)
            for table, name in ((_RUNTIME, "globalTid"), *((table, "globalPid") for table in _DEVICE_TABLES))
            if table in self._tables
        )

    def read(self) -> Trace:
        if not self._tables & {_KERNELS, _RUNTIME, _NVTX, _STRINGS}:
            known = ", ".join(sorted(self._tables)[:5]) or "none"
            raise SpecError(
                f"--import {str(self._path)!r}: no export of nsys: it has none of the tables {_KERNELS}, {_RUNTIME}, "
                f"{_NVTX}, but {known}; make it with `nsys export --type sqlite report.nsys-rep`"
            )
        self._trace.source = self._source()
        if _STRINGS in self._tables:
            self._strings = dict(self._connection.execute(f"SELECT id, value FROM {_STRINGS}"))
        else:
            self._trace.warnings.append(f"the export has no table {_STRINGS}: names are numbers, and kinds not known")
        self._read_kernels()
        self._read_graphs()
        self._read_copies()
        self._read_runtime()
        self._read_ranges()
        processes = {event.correlation >> _CORRELATION_BITS for event in self._trace.device if event.correlation > 0}
        if len(processes) > 1:
            self._trace.warnings.append(
                f"{len(processes)} processes used a device: steps and phases of all are one row of time here, so "
                "record one process at a time"
            )
        return self._trace

    def _read_kernels(self) -> None:
        if _KERNELS not in self._tables:
            if _GRAPHS not in self._tables:
                self._trace.warnings.append(
                    f"the export has no table {_KERNELS}: no kernel ran while nsys recorded, or it was run without "
                    "--trace=cuda"
                )
            return
        names = self._columns(_KERNELS)
        name = next((one for one in ("demangledName", "shortName", "mangledName") if one in names), None)
        if name is None:
            raise self._missing(_KERNELS, ("demangledName", "shortName", "mangledName"), names)
        for begin, end, number, stream, correlation, process in self._timed(_KERNELS, (name,), _OF_DEVICE):
            self._ran(self._text(number), begin, end, stream, correlation, process)

    def _read_graphs(self) -> None:
        """Read whole launches of CUDA graphs: what nsys records in place of their kernels, unless asked for these."""
        if _GRAPHS not in self._tables:
            return
        before = len(self._trace.device)
        for begin, end, stream, correlation, process, graph in self._timed(_GRAPHS, (), (*_OF_DEVICE, "graphId")):
            self._ran(f"CUDA graph {graph}", begin, end, stream, correlation, process)
        if count := len(self._trace.device) - before:
            self._trace.warnings.append(
                f"launches of CUDA graphs that were recorded whole, without their kernels: {count:,}; record with "
                "--cuda-graph-trace=node to see what runs inside"
            )

    def _read_copies(self) -> None:
        if _MEMCPY in self._tables:
            for begin, end, stream, correlation, process, kind in self._timed(_MEMCPY, (), (*_OF_DEVICE, "copyKind")):
                name = f"Memcpy {_COPY_KINDS.get(kind, f'kind {kind}')}"
                self._ran(name, begin, end, stream, correlation, process)
        if _MEMSET in self._tables:
            for begin, end, stream, correlation, process in self._timed(_MEMSET, (), _OF_DEVICE):
                self._ran("Memset (Device)", begin, end, stream, correlation, process)

    def _ran(
        self, name: str, begin: int, end: int, stream: int | None, correlation: int | None, process: int | None
    ) -> None:
        number = self._launch(correlation, process)
        self._trace.device.append(DeviceEvent(name, begin, end, stream or 0, number))

    def _read_runtime(self) -> None:
        if _RUNTIME not in self._tables:
            self._trace.warnings.append(
                f"the export has no table {_RUNTIME}: which launch made which kernel is not known, so neither are "
                "phases, parts and who waits"
            )
            return
        columns = ("globalTid", "correlationId")
        for begin, end, number, thread, correlation in self._timed(_RUNTIME, ("nameId",), columns):
            name = self._text(number).partition("_v")[0]  # cudaLaunchKernel_v7000
            launch = self._launch(correlation, thread)
            self._trace.host.append(HostEvent(name, begin, end, thread or 0, HostKind.RUNTIME, correlation=launch))

    def _read_ranges(self) -> None:
        if _NVTX not in self._tables:
            self._trace.warnings.append(
                f"the export has no table {_NVTX}: nsys saw no NVTX ranges, so phases and parts are not known"
            )
            return
        for start, end, kind, text, number, thread in self._select(
            _NVTX, ("start", "end"), ("eventType", "text", "textId", "globalTid")
        ):
            if end is None or end < start or (kind is not None and kind not in _HAS_RANGES):
                continue  # a mark, or a range that never ended: older versions write 0 for what is not there
            name = text or self._text(number)
            if name:
                self._trace.host.append(_range(name, start, end, thread or 0))
        if not any(event.name.startswith(PREFIX) for event in self._trace.host):
            self._trace.warnings.append(
                "the export has no ranges of windtunnel: phases and parts are those that autograd's own ranges tell"
            )

    def _source(self) -> str:
        """Return which nsys wrote the export, as far as it says."""
        table = next((name for name in _METADATA if name in self._tables), None)
        if table is None or not {"name", "value"} <= self._columns(table):
            return "nsys"
        found = self._connection.execute(f"SELECT value FROM {table} WHERE name = ?", (_VERSION,)).fetchone()
        return f"nsys {found[0]}" if found else "nsys"

    def _columns(self, table: str) -> frozenset[str]:
        return frozenset(row[1] for row in self._connection.execute(f"PRAGMA table_info({table})"))

    def _timed(self, table: str, needed: Sequence[str], wanted: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Yield rows that begin with when they started and ended; those that did not end are counted and left out."""
        lost = 0
        for row in self._select(table, ("start", "end", *needed), wanted):
            if row[0] is None or row[1] is None or row[1] < row[0] or row[1] == 0:
                lost += 1
            else:
                yield row
        if lost:
            self._trace.warnings.append(f"rows of the export's table {table} that have no times, left out: {lost:,}")

    def _launch(self, correlation: int | None, owner: int | None) -> int:
        """Return the number of a launch; each process counts its own, so the number has the process too, where known.

        Args:
            correlation: The number in its process; None or 0: not known.
            owner: The process or the thread of it, as nsys numbers both.
        """
        if not correlation:
            return NO_NUMBER
        if not self._knows_processes or owner is None:
            return correlation
        return ((owner >> _PROCESS_SHIFT) << _CORRELATION_BITS) | correlation

    def _select(self, table: str, needed: Sequence[str], wanted: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Return rows of the columns, which are untyped; None stands for what is wanted and not there.

        Raises:
            SpecError: A needed column is not there.
        """
        there = self._columns(table)
        missing = [name for name in needed if name not in there]
        if missing:
            raise self._missing(table, missing, there)
        self._trace.warnings += [
            f"the export's table {table} has no column {name}, so what follows from it is not known"
            for name in wanted
            if name not in there and name not in _SILENT
        ]
        chosen = [f'"{name}"' if name in there else "NULL" for name in (*needed, *wanted)]
        return self._connection.execute(f"SELECT {', '.join(chosen)} FROM {table}")

    def _missing(self, table: str, missing: Sequence[str], there: frozenset[str]) -> SpecError:
        return SpecError(
            f"--import {str(self._path)!r}: table {table} lacks the column {' or '.join(missing)}; it has "
            f"{', '.join(sorted(there))}: this version ({self._trace.source}) writes another schema; export it with "
            "another version of nsys"
        )

    def _text(self, number: int | None) -> str:
        """Return a text by its number; some versions write the text itself."""
        if isinstance(number, str):
            return number
        return self._strings.get(number, f"name {number}") if number is not None else ""


_OF_DEVICE = ("streamId", "correlationId", "globalPid")
"""What is wanted of all that ran on a device."""
_DEVICE_TABLES = (_KERNELS, _GRAPHS, _MEMCPY, _MEMSET)

_SILENT = frozenset({"text", "textId", "globalPid"})
"""Columns of which either will do, or that only exports of several processes need."""


def _range(name: str, start: int, end: int, thread: int) -> HostEvent:
    """Return a range; those that torch's emit_nvtx makes are operators, with the number of their node."""
    found = _OPERATOR.match(name)
    if not found:
        return HostEvent(name, start, end, thread, HostKind.RANGE)
    operator = found["name"]
    sequence = _SEQUENCE.search(name)
    return HostEvent(
        operator,
        start,
        end,
        thread,
        HostKind.OPERATOR,
        int(sequence[1]) if sequence else NO_NUMBER,
        operator.startswith(_ENGINE) or operator.rpartition("::")[2].rstrip("0123456789").endswith("Backward"),
    )
