"""Traces of torch's profiler, whole, compressed, cut, and no traces at all."""

import gzip
import json
from pathlib import Path

import pytest

from profiles import training_step, write_chrome_trace
from windtunnel.errors import SpecError
from windtunnel.records.chrome_trace import read_chrome_trace


def test_every_event_comes_back_as_it_was(tmp_path: Path):
    trace = training_step()

    read = read_chrome_trace(write_chrome_trace(trace, tmp_path / "t.json"))

    assert sorted(read.host) == sorted(trace.host)
    assert read.device == trace.device


def test_a_compressed_trace_reads_as_a_plain_one_whatever_it_is_called(tmp_path: Path):
    plain = write_chrome_trace(training_step(), tmp_path / "plain")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert read_chrome_trace(packed).host == read_chrome_trace(plain).host


def test_events_larger_than_what_is_read_at_once_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.records.chrome_trace._CHUNK", 64)
    path = tmp_path / "t.json"
    path.write_text(f"[{json.dumps({'ph': 'X', 'cat': 'cpu_op', 'name': 'x' * 500, 'tid': 1, 'ts': 1.5, 'dur': 2})}]")

    (event,) = read_chrome_trace(path).host

    assert (event.start, event.end, len(event.name)) == (1500, 3500, 500)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_trace_cut_in_the_middle_is_told_as_that(tmp_path: Path, is_compressed: bool):
    whole = write_chrome_trace(training_step(), tmp_path / "t.json").read_bytes()
    whole = gzip.compress(whole) if is_compressed else whole
    cut = tmp_path / "cut.json"
    cut.write_bytes(whole[: int(0.7 * len(whole))])

    with pytest.raises(SpecError, match="ends in the middle of its events: it was cut"):
        read_chrome_trace(cut)


@pytest.mark.parametrize("content", ["", "no json", '{"events": []}', "PK\x03\x04"])
def test_what_is_no_trace_is_told_as_that(tmp_path: Path, content: str):
    path = tmp_path / "t.json"
    path.write_text(content)

    with pytest.raises(SpecError, match="no trace in Chrome's format"):
        read_chrome_trace(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match=r"none\.json.*cannot be read"):
        read_chrome_trace(tmp_path / "none.json")
