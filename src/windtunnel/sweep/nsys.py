"""Have cells profiled by NVIDIA's nsys, with the flags that a profile needs, and read what it recorded."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from windtunnel.errors import SpecError, UnsupportedError, WindtunnelError
from windtunnel.records.imported_profile import profile_of_trace
from windtunnel.records.looks import StoredLook
from windtunnel.records.nsys_export import read_nsys_export
from windtunnel.records.profile import Instrument, Profile
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import Store
from windtunnel.spec.cell import Cell
from windtunnel.sweep.launch import describe_device
from windtunnel.sweep.profiles import failed_profile, keep_profile

_PROFILE = (
    "--trace=cuda,nvtx",
    "--sample=none",
    "--cpuctxsw=none",
    "--cuda-graph-trace=node",
    "--capture-range=cudaProfilerApi",
    "--capture-range-end=stop",
    "--force-overwrite=true",
)
"""Nothing but the steps that are measured, kernels inside of CUDA graphs too, and no sampling of the host's code."""

_EXPORT = ("--type=sqlite", "--force-overwrite=true")
_TAIL = 2000

Run = Callable[..., subprocess.CompletedProcess[str]]


def find_nsys() -> str:
    """Return the path of nsys.

    Raises:
        UnsupportedError: It is not installed.
    """
    found = shutil.which("nsys")
    if found is None:
        raise UnsupportedError(
            "--nsys: nsys is not on the PATH; install NVIDIA Nsight Systems, or run nsys elsewhere and read its export "
            "with --import report.sqlite, or leave --nsys out to use torch's profiler"
        )
    return found


def profile_with_nsys(
    cells: Sequence[Cell],
    *,
    device: str,
    store: Store,
    steps: int,
    timeout: float,
    on_stage: Callable[[Cell, str], None],
    program: str,
    run: Run = subprocess.run,
) -> tuple[StoredLook[Profile], ...]:
    """Return the profile of each of `cells`, each stored before the next begins; a failure is a profile, too.

    Raises:
        SpecError: The device is not there, or is none that nsys records.
        StoreError: The store cannot be written; what was stored before is safe.
    """
    environment = describe_device(device)
    if environment.device == "cpu":
        raise SpecError("--nsys records what CUDA devices do, and this is device 'cpu': leave --nsys out")
    made: list[StoredLook[Profile]] = []
    for cell in cells:
        own = cell.model_copy(update={"device": environment.device})
        on_stage(own, "nsys")
        profile = _profile(own, steps=steps, timeout=timeout, program=program, run=run)
        made.append(keep_profile(profile, environment, store))
    return tuple(made)


def _profile(cell: Cell, *, steps: int, timeout: float, program: str, run: Run) -> Profile:
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request, answer, report = folder / "request.json", folder / "answer.json", folder / "report"
        request.write_text(json.dumps({"cell": cell.model_dump(mode="json"), "steps": steps}))
        child = (sys.executable, "-m", "windtunnel.sweep.nsys_pass", str(request), str(answer))
        calls = (
            (program, "profile", *_PROFILE, f"--output={report}", *child),
            (
                program,
                "export",
                *_EXPORT,
                f"--output={report}.sqlite",
                f"{report}.nsys-rep",
            ),
        )
        told: Mapping[str, Any] | None = None
        for call in calls:
            failure = _failure_of(call, timeout, run)
            told = _read_answer(answer)
            if told and told["status"] != Status.OK.value:
                status = Status(told["status"])
                return failed_profile(cell, status, Failure(stage="profile", message=told["message"]), started_at)
            if failure:
                return failed_profile(cell, *failure, started_at)
        assert told is not None  # nsys ends as its program does
        try:
            trace = read_nsys_export(Path(f"{report}.sqlite"))
            profile = profile_of_trace(trace, "nsys", started_at=started_at)
        except WindtunnelError as error:  # this cell's: the next ones go on
            return failed_profile(cell, Status.FAILED, Failure(stage="nsys export", message=str(error)), started_at)
    plain, watched = tuple(told["plain"]), tuple(told["watched"])
    count = min(len(plain), len(watched))
    return replace(
        profile,
        cell=cell,
        source=trace.source,
        stopwatch=plain,
        # One after the other, as capture begins once: the least that can be said, and the table names it so.
        instruments=(Instrument(name="nsys (not in pairs)", plain=plain[-count:], watched=watched[:count]),),
    )


def _read_answer(path: Path) -> Mapping[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _failure_of(call: Sequence[str], timeout: float, run: Run) -> tuple[Status, Failure] | None:
    """Run a program, and return how it failed; None when it did not."""
    try:
        done = run(call, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        message = f"nsys {call[1]} gave no answer within {timeout:g} s; it was stopped (allow more with --timeout)"
        return Status.TIMED_OUT, Failure(stage=f"nsys {call[1]}", message=message)
    if done.returncode == 0:
        return None
    output = f"{done.stdout}\n{done.stderr}".strip()[-_TAIL:]
    message = f"nsys {call[1]} ended with exit code {done.returncode}"
    return Status.FAILED, Failure(
        stage=f"nsys {call[1]}", message=message, exit_code=done.returncode, details=output or None
    )
