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
from random import Random
from statistics import median
from typing import Any

from windtunnel.errors import SpecError, UnsupportedError, WindtunnelError
from windtunnel.records.imported_profile import profile_of_trace
from windtunnel.records.looks import StoredLook
from windtunnel.records.nsys_export import read_nsys_export
from windtunnel.records.profile import NSYS, Instrument, Profile
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import Store
from windtunnel.records.trace import Trace
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

_PAIRS = 3
"""Each takes as long as two profiles."""

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
    store.make()
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
        session = _Session(cell, Path(name), steps=steps, timeout=timeout, program=program, run=run)
        try:
            session.take_pairs()
            trace = session.export()
            profile = profile_of_trace(trace, "nsys", started_at=started_at)
        except _EndedError as ended:
            return failed_profile(cell, ended.status, ended.failure, started_at)
        except WindtunnelError as error:  # this cell's: the next ones go on
            return failed_profile(cell, Status.FAILED, Failure(stage="nsys export", message=str(error)), started_at)
    return replace(
        profile,
        cell=cell,
        source=trace.source,
        stopwatch=tuple(seconds for one in session.plain for seconds in one),
        instruments=(
            Instrument(
                name=NSYS,
                plain=tuple(map(median, session.plain)),
                watched=tuple(map(median, session.watched)),
            ),
        ),
    )


class _EndedError(Exception):
    """A program of the session failed, or said that the cell did."""

    def __init__(self, status: Status, failure: Failure) -> None:
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


class _Session:
    """The programs that make one profile, and the seconds of the steps of each process."""

    def __init__(self, cell: Cell, folder: Path, *, steps: int, timeout: float, program: str, run: Run) -> None:
        self.plain: list[list[float]] = []
        self.watched: list[list[float]] = []
        self._folder = folder
        self._report = folder / "report"
        self._order = Random(cell.seed)
        self._timeout = timeout
        self._program = program
        self._run = run
        for is_captured in (False, True):
            request = {"cell": cell.model_dump(mode="json"), "steps": steps, "is_captured": is_captured}
            self._request(is_captured=is_captured).write_text(json.dumps(request))

    def take_pairs(self) -> None:
        """Run the cell in pairs of processes, one without nsys and one under it, in random order.

        Raises:
            _EndedError: One of them failed.
        """
        for _ in range(_PAIRS):
            for is_captured in self._order.sample((False, True), 2):
                (self.watched if is_captured else self.plain).append(self._steps(is_captured=is_captured))

    def export(self) -> Trace:
        """Return what nsys recorded of the last process.

        Raises:
            _EndedError: nsys cannot export it.
            SpecError: The export cannot be read.
        """
        path = f"{self._report}.sqlite"
        self._call("nsys export", (self._program, "export", *_EXPORT, f"--output={path}", f"{self._report}.nsys-rep"))
        return read_nsys_export(Path(path))

    def _steps(self, *, is_captured: bool) -> list[float]:
        """Run one process, and return the seconds of its steps."""
        answer = self._folder / "answer.json"
        answer.unlink(missing_ok=True)
        child = (
            sys.executable,
            "-m",
            "windtunnel.sweep.nsys_pass",
            str(self._request(is_captured=is_captured)),
            str(answer),
        )
        under = (self._program, "profile", *_PROFILE, f"--output={self._report}") if is_captured else ()
        ended: _EndedError | None = None
        try:
            self._call("nsys profile" if is_captured else "steps without nsys", (*under, *child))
        except _EndedError as error:
            ended = error
        told: Mapping[str, Any] | None = json.loads(answer.read_text()) if answer.is_file() else None
        if told and told["status"] != Status.OK.value:  # says more than the exit code of nsys
            raise _EndedError(Status(told["status"]), Failure(stage="profile", message=told["message"]))
        if ended:
            raise ended
        assert told is not None  # nsys ends as its program does
        return told["seconds"]

    def _request(self, *, is_captured: bool) -> Path:
        return self._folder / ("captured.json" if is_captured else "plain.json")

    def _call(self, stage: str, call: Sequence[str]) -> None:
        try:
            done = self._run(call, capture_output=True, text=True, timeout=self._timeout, check=False)
        except subprocess.TimeoutExpired:
            message = f"{stage} gave no answer within {self._timeout:g} s; it was stopped (allow more with --timeout)"
            raise _EndedError(Status.TIMED_OUT, Failure(stage=stage, message=message)) from None
        if done.returncode == 0:
            return
        output = f"{done.stdout}\n{done.stderr}".strip()[-_TAIL:]
        message = f"{stage} ended with exit code {done.returncode}"
        failure = Failure(stage=stage, message=message, exit_code=done.returncode, details=output or None)
        raise _EndedError(Status.FAILED, failure)
