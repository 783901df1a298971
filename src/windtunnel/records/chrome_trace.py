"""Read a trace that torch's profiler exported, event by event: only what a profile needs is ever in memory."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from windtunnel.errors import SpecError
from windtunnel.records.trace import NO_NUMBER, DeviceEvent, HostEvent, HostKind, Trace

SOURCE = "torch.profiler"

_CHUNK = 1 << 22
_EVENTS = '"traceEvents"'
_GZIP = b"\x1f\x8b"
_DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_RUNTIME = frozenset({"cuda_runtime", "cuda_driver"})
_COMPILED = "## Call CompiledFxGraph"
_ENGINE = "autograd::engine::evaluate_function"
_SPACE = " \n\r\t,"

Json = dict[str, Any]


def read_chrome_trace(path: Path) -> Trace:
    """Return the events of a trace in Chrome's format, plain or compressed by gzip.

    Raises:
        SpecError: There is no such file, it is not such a trace, or it ends in the middle.
    """
    trace = Trace(source=SOURCE)
    names: dict[str, str] = {}  # each name once, not once for each event
    for event in _events(path):
        if event.get("ph") != "X" or "dur" not in event:
            continue
        category = event.get("cat")
        name = str(event["name"])
        name = names.setdefault(name, name)
        start = round(event["ts"] * 1e3)
        end = start + round(event["dur"] * 1e3)
        arguments = cast("Json", event.get("args") or {})
        if category in _DEVICE:
            stream = arguments.get("stream", event["tid"])
            trace.device.append(DeviceEvent(name, start, end, _number(stream), arguments.get("correlation", NO_NUMBER)))
        elif category == "cpu_op" or category == "user_annotation" or category in _RUNTIME:
            trace.host.append(_host_event(name, start, end, category, event, arguments))
    return trace


def _host_event(name: str, start: int, end: int, category: str, event: Json, arguments: Json) -> HostEvent:
    if category in _RUNTIME:
        correlation = arguments.get("correlation", NO_NUMBER)
        return HostEvent(name, start, end, _number(event["tid"]), HostKind.RUNTIME, correlation=correlation)
    is_operator = category == "cpu_op" or name.startswith(_COMPILED)
    return HostEvent(
        name,
        start,
        end,
        _number(event["tid"]),
        HostKind.OPERATOR if is_operator else HostKind.RANGE,
        arguments.get("Sequence number", NO_NUMBER),
        bool(arguments.get("Fwd thread id")) or name.startswith(_ENGINE),
    )


def _number(thread: object) -> int:
    """Return the number of a thread or stream, which some versions write as text."""
    if isinstance(thread, int):
        return thread
    digits = "".join(letter for letter in str(thread) if letter.isdigit())
    return int(digits) if digits else 0


def _events(path: Path) -> Iterator[Json]:
    """Yield the objects of the list of events.

    Raises:
        SpecError: See `read_chrome_trace`.
    """
    try:
        with path.open("rb") as plain:
            is_compressed = plain.read(2) == _GZIP
        with gzip.open(path, "rt", encoding="utf-8") if is_compressed else path.open(encoding="utf-8") as text:
            yield from _decoded(cast("TextIO", text), path)
    except (EOFError, zlib.error):
        raise _cut(path) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(f"--import {str(path)!r}: cannot be read: {why}; name a trace that torch exported") from error


def _decoded(text: TextIO, path: Path) -> Iterator[Json]:
    """Yield one object after the other; the buffer holds a few thousand of them."""
    buffer = text.read(_CHUNK)
    begin = buffer.find("[", buffer.find(_EVENTS)) if _EVENTS in buffer else buffer.find("[")
    if begin < 0 or (_EVENTS not in buffer and buffer.lstrip()[:1] != "["):
        raise SpecError(
            f"--import {str(path)!r}: no trace in Chrome's format: it has no list of traceEvents; export one with "
            "torch.profiler's export_chrome_trace, or windtunnel profile --trace"
        )
    decode, place = json.JSONDecoder().raw_decode, begin + 1
    while True:
        while place < len(buffer) and buffer[place] in _SPACE:
            place += 1
        if place < len(buffer) and buffer[place] == "]":
            return
        try:
            event, place = decode(buffer, place)
        except json.JSONDecodeError:
            more = text.read(_CHUNK)
            if not more:
                raise _cut(path) from None
            buffer, place = buffer[place:] + more, 0
            continue
        if isinstance(event, Mapping):
            yield cast("Json", event)


def _cut(path: Path) -> SpecError:
    return SpecError(
        f"--import {str(path)!r}: the trace ends in the middle of its events: it was cut, or is still being written; "
        "export it again and copy the whole file"
    )
