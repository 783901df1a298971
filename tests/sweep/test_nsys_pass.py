"""The program that nsys records, on a CPU: what it runs, what it puts into ranges, and what it answers."""

import json
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from factory import make_task
from windtunnel.records.trace import read_range
from windtunnel.sweep.nsys_pass import main


class Recorder:
    """Stands for the calls that nsys listens to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_capturing = False
        self.captures = 0
        self.outside = 0
        self.ranges: list[str] = []
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
        monkeypatch.setattr(torch.cuda.profiler, "start", self._start)
        monkeypatch.setattr(torch.cuda.profiler, "stop", self._stop)
        monkeypatch.setattr(torch.cuda.nvtx, "range", self._range)
        monkeypatch.setattr(torch.autograd.profiler, "emit_nvtx", nullcontext)

    def _start(self) -> None:
        self.is_capturing = True
        self.captures += 1

    def _stop(self) -> None:
        self.is_capturing = False

    @contextmanager
    def _range(self, name: str):
        self.ranges.append(name)
        self.outside += not self.is_capturing
        yield


def answer_of(monkeypatch: pytest.MonkeyPatch, folder: Path, *, is_captured: bool, **fields: Any) -> dict[str, Any]:
    cell = make_task(workload="forward", device="cpu", **fields).cell
    request, answer = folder / "request.json", folder / "answer.json"
    request.write_text(json.dumps({"cell": cell.model_dump(mode="json"), "steps": 3, "is_captured": is_captured}))
    monkeypatch.setattr(sys, "argv", ["nsys_pass", str(request), str(answer)])

    main()

    return json.loads(answer.read_text())


def test_steps_are_captured_in_ranges_and_nothing_before_them_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    recorder = Recorder(monkeypatch)

    answer = answer_of(monkeypatch, tmp_path, is_captured=True)

    assert answer["status"] == "ok"
    assert len(answer["seconds"]) == 3
    assert (recorder.captures, recorder.outside, recorder.is_capturing) == (1, 0, False)
    ours = [found for name in recorder.ranges if (found := read_range(name))]
    assert [found.name for found in ours if found.around == "step"] == ["0", "1", "2"]
    assert [found.name for found in ours if found.around == "phase"] == ["forward"] * 3
    assert {found.name for found in ours if found.around == "part"} > {"feed-forward", "norm"}


def test_without_nsys_the_steps_are_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    recorder = Recorder(monkeypatch)

    answer = answer_of(monkeypatch, tmp_path, is_captured=False)

    assert len(answer["seconds"]) == 3
    assert (recorder.captures, recorder.ranges) == (0, [])


def test_a_cell_that_cannot_run_is_the_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Recorder(monkeypatch)

    answer = answer_of(monkeypatch, tmp_path, is_captured=True, precision="tf32")

    assert answer["status"] == "unsupported"
    assert "tf32" in answer["message"]
