"""Snapshots in the structure that PyTorch documents: planted ones, damaged ones, and one that torch made."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from snapshots import MIB, entry, planted_snapshot
from windtunnel.errors import SpecError
from windtunnel.records.snapshot import Pieces, pieces_at, read_traces, site_of, sites_of, trace_of


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "snapshot.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_trace_is_the_same_from_torch_and_from_json(tmp_path: Path):
    snapshot = planted_snapshot()

    from_json = read_traces(written(tmp_path, json.dumps(snapshot)))

    assert from_json == (trace_of(snapshot, 0), trace_of(snapshot, 1))
    assert from_json[1][-1].free == 3 * MIB


def test_a_device_that_a_snapshot_does_not_know_did_nothing():
    assert trace_of(planted_snapshot(), 2) == ()


def test_each_allocation_has_its_own_line_of_code():
    trace = trace_of(planted_snapshot(), 1)

    assert sites_of(trace) == (
        "/home/me/mine.py:12 in attend",
        "/env/lib/python3.11/site-packages/torch/nn/modules/linear.py:5 in forward",
        "/home/me/mine.py:12 in attend",
    )


@pytest.mark.parametrize(
    ("frames", "site"),
    [
        ([], ""),
        ([("??", 0, "at::empty_cuda")], "at::empty_cuda"),
        ([("??", 0, "at::empty"), ("<string>", 3, "f"), ("/me/a.py", 4, "g")], "/me/a.py:4 in g"),
    ],
)
def test_the_line_of_a_stack(frames: list[tuple[str, int, str]], site: str):
    assert site_of(frames) == site


@pytest.mark.parametrize(
    ("num_allocations", "pieces"),
    [
        (1, Pieces(cached_bytes=0, fragmented_bytes=8 * MIB)),
        (2, Pieces(cached_bytes=0, fragmented_bytes=8 * MIB)),
        (3, Pieces(cached_bytes=2 * MIB, fragmented_bytes=8 * MIB - 512)),
    ],
)
def test_what_was_held_without_being_given_out(num_allocations: int, pieces: Pieces):
    assert pieces_at(trace_of(planted_snapshot(), 1), num_allocations) == pieces


def test_pieces_are_not_known_where_the_trace_begins_later_or_they_grow():
    later = {"device_traces": [[entry("alloc", 5, 512)]]}
    growing = {"device_traces": [[entry("segment_map", 0, MIB), entry("alloc", 5, 512)]]}

    assert pieces_at(trace_of(later, 0), 1) is None
    assert pieces_at(trace_of(growing, 0), 1) is None


def test_a_profile_of_a_cpu_has_the_same_structure(tmp_path: Path):
    with torch.profiler.profile(record_shapes=True, profile_memory=True, with_stack=True) as seen:
        kept = torch.ones(1000)
    snapshot = torch.cuda._memory_viz._profile_to_snapshot(seen)

    traces = read_traces(written(tmp_path, json.dumps(snapshot)))

    assert kept.numel() == 1000
    assert 4000 in [one.size for one in traces[-1] if one.action == "alloc"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(planted_snapshot())[:-20], "is damaged, or not a memory snapshot: Invalid JSON: EOF"),
        ("", "is damaged, or not a memory snapshot: Invalid JSON"),
        ("[]", "is damaged, or not a memory snapshot"),
        ('{"segments": []}', "device_traces: Field required; write it anew with json.dump"),
        ('{"device_traces": [[{"size": 5}]]}', "device_traces.0.0.action: Field required"),
        ('{"device_traces": [[{"action": "alloc", "size": -5}]]}', "size: Input should be greater than or equal to 0"),
        ('{"device_traces": [[{"action": "oom", "device_free": -1}]]}', "device_free: Input should be greater than or"),
        (b"\xff\xfe", "is damaged, or not a memory snapshot"),
        (pickle.dumps(planted_snapshot()), "is a pickle, and reading one may run code"),
    ],
)
def test_a_damaged_snapshot_is_refused_with_its_name_and_the_fault(tmp_path: Path, text: str | bytes, message: str):
    path = written(tmp_path, text)

    with pytest.raises(SpecError) as refused:
        read_traces(path)

    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)


def test_a_snapshot_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(SpecError, match=r"cannot read the snapshot .*none\.json': No such file"):
        read_traces(tmp_path / "none.json")
