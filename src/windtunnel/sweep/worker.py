"""The child: takes requests on standard input, does them with torch, answers in JSON lines on a pipe.

Run by the engine as `python -m windtunnel.sweep.worker DESCRIPTOR`, the number of the open pipe. The parent's
end is noticed even while a cell runs: a thread waits on standard input.
"""

import gc
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from windtunnel import __version__
from windtunnel.bench.calibrate import calibrate, sizes_for
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.doctor.examine import examine
from windtunnel.bench.environment import describe_environment, resolve_device
from windtunnel.bench.memory import LEFTOVER_LIMIT_BYTES, free_bytes
from windtunnel.bench.together import compare_cells
from windtunnel.bench.vitals import read_vitals
from windtunnel.errors import WindtunnelError
from windtunnel.probe.kernels import read_kernels
from windtunnel.records.calibration import calibration_to_json
from windtunnel.records.checkup import checkup_to_json
from windtunnel.records.memory_ledger import ledger_to_json
from windtunnel.records.pair import pair_to_json
from windtunnel.records.precision_look import look_to_json
from windtunnel.records.profile import profile_to_json
from windtunnel.records.record import record_to_json
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.launch import PROTOCOL
from windtunnel.sweep.memory_look import look_at_memory
from windtunnel.sweep.precision_look import look_at_precision
from windtunnel.sweep.profile_look import look_at_profile

Send = Callable[[Mapping[str, object]], None]


def main() -> None:
    """Answer requests until standard input ends."""
    send = _open_answers(int(sys.argv[1]))
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    gc.collect()
    gc.freeze()  # torch makes objects by the 100,000 that live for ever: a collection need not visit them
    send({"event": "ready", "protocol": PROTOCOL, "windtunnel": __version__})
    cells = 0
    while True:
        request = requests.get()
        try:
            if request["op"] == "describe":
                device = resolve_device(request["device"])
                send({"event": "environment", "environment": _fields(device)})
            elif request["op"] == "free":
                send({"event": "free", "free_bytes": free_bytes(resolve_device(request["device"]))})
            elif request["op"] == "doctor":
                vitals = read_vitals(request["device"], resolve_device(request["device"]))
                send({"event": "checkup", "results": checkup_to_json(examine(vitals))})
            elif request["op"] == "calibrate":
                _calibrate(request, send)
            elif request["op"] == "memory":
                _look_at_memory(request, send)
                cells += 1
            elif request["op"] == "precision":
                _look_at_precision(request, send)
                cells += 1
            elif request["op"] == "profile":
                _look_at_profile(request, send)
                cells += 1
            elif request["op"] == "compare":
                _compare(request, send)
                cells += 2
            else:
                _measure(request, cells, send)
                cells += 1
        except WindtunnelError as error:
            send({"event": "error", "message": str(error)})


def _open_answers(descriptor: int) -> Send:
    """Return what sends a message over the pipe to the parent."""
    answers = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(message: Mapping[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    return send


def _read_requests(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)  # the parent is gone: stop now, in the middle of a cell too, and leave the device to others


def _fields(device: str) -> dict[str, object]:
    environment = describe_environment(device)
    return {name: getattr(environment, name) for name in environment.__dataclass_fields__}


def _calibrate(request: Mapping[str, Any], send: Send) -> None:
    device = torch.device(resolve_device(request["device"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    calibration = calibrate(
        device,
        seconds=request["seconds"],
        sizes=sizes_for(device),
        on_stage=lambda name: send({"event": "stage", "stage": name}),
    )
    send({"event": "calibration", "calibration": calibration_to_json(calibration)})


def _look_at_memory(request: Mapping[str, Any], send: Send) -> None:
    cell = Cell.model_validate(request["cell"])
    if cell.device != "cpu":
        torch.cuda.set_device(torch.device(cell.device))
    ledger = look_at_memory(
        cell,
        snapshot=Path(request["snapshot"]) if request["snapshot"] else None,
        on_stage=lambda name: send({"event": "stage", "stage": name}),
    )
    send({"event": "ledger", "ledger": ledger_to_json(ledger)})


def _look_at_precision(request: Mapping[str, Any], send: Send) -> None:
    wanted = PrecisionRequest.model_validate(request["request"])
    if wanted.cell.device != "cpu":
        torch.cuda.set_device(torch.device(wanted.cell.device))
    look = look_at_precision(wanted, on_stage=lambda name: send({"event": "stage", "stage": name}))
    send({"event": "precision", "look": look_to_json(look)})


def _look_at_profile(request: Mapping[str, Any], send: Send) -> None:
    cell = Cell.model_validate(request["cell"])
    if cell.device != "cpu":
        torch.cuda.set_device(torch.device(cell.device))
    profile = look_at_profile(
        cell,
        steps=request["steps"],
        trace=Path(request["trace"]) if request["trace"] else None,
        on_stage=lambda name: send({"event": "stage", "stage": name}),
    )
    send({"event": "profile", "profile": profile_to_json(profile)})


def _measure(request: Mapping[str, Any], cells: int, send: Send) -> None:
    task = Task.model_validate(request["task"])
    record, leftover = measure_cell(
        task,
        process=os.getpid(),
        is_first_in_process=cells == 0,
        on_stage=lambda stage: send({"event": "stage", "stage": stage}),
        with_probes=request["with_probes"],
        look=read_kernels,
    )
    leaked = _leaked(leftover, task.cell.device)
    send({"event": "record", "record": record_to_json(record), "leaked_bytes": leaked})


def _compare(request: Mapping[str, Any], send: Send) -> None:
    a, b = (Task.model_validate(task) for task in request["tasks"])
    record, leftover = compare_cells(
        a,
        b,
        plan=PairPlan(**request["plan"]),
        seed=request["seed"],
        on_stage=lambda stage: send({"event": "stage", "stage": stage}),
    )
    leaked = _leaked(leftover, a.cell.device)
    send({"event": "comparison", "comparison": pair_to_json(record), "leaked_bytes": leaked})


def _leaked(leftover: int, device: str) -> int:
    """Return the bytes left over if they are more than what always stays."""
    return leftover if leftover > LEFTOVER_LIMIT_BYTES[device.partition(":")[0]] else 0


if __name__ == "__main__":
    main()
