"""The program that nsys records: some steps of one cell in NVTX ranges; and, without nsys, the same steps plain.

Run by the parent as `nsys profile … python -m windtunnel.sweep.nsys_pass REQUEST ANSWER`, both files of JSON.
"""

import json
import sys
from pathlib import Path

import torch

from windtunnel.bench.build import build_workload
from windtunnel.bench.failing import explain_error
from windtunnel.bench.loop import no_garbage_collection
from windtunnel.probe.profile import Steps
from windtunnel.records.record import Status
from windtunnel.records.trace import step_range
from windtunnel.spec.cell import Cell
from windtunnel.sweep.profile_look import steps_of, warm_up


def main() -> None:
    """Do what the request says, and write how long the steps took, or why there are none."""
    request = json.loads(Path(sys.argv[1]).read_text())
    cell = Cell.model_validate(request["cell"])
    answer: dict[str, object] = {"status": Status.OK.value}
    try:
        answer["seconds"] = _run(cell, request["steps"], is_captured=request["is_captured"])
    except Exception as error:  # noqa: BLE001  # the child's top: the parent makes a row of it
        status, failure = explain_error(error, stage="profile", phase=None, device=cell.device)
        answer = {"status": status.value, "message": failure.message}
    Path(sys.argv[2]).write_text(json.dumps(answer))


def _run(cell: Cell, count: int, *, is_captured: bool) -> list[float]:
    torch.cuda.set_device(torch.device(cell.device))
    steps = steps_of(build_workload(cell), cell)
    warm_up(steps)
    with no_garbage_collection():
        return _captured(steps, count) if is_captured else [steps.run()[0] for _ in range(count)]


def _captured(steps: Steps, count: int) -> list[float]:
    """Run steps while nsys captures; autograd names its operators with the numbers of their nodes."""
    watched: list[float] = []
    torch.cuda.profiler.start()
    with steps.ranges(torch.cuda.nvtx.range), torch.autograd.profiler.emit_nvtx():
        for number in range(count):
            watched.append(steps.run(torch.cuda.nvtx.range, step_range(number))[0])
    torch.cuda.profiler.stop()
    return watched


if __name__ == "__main__":
    main()
