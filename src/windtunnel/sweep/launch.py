"""The parent's end of a worker: start it, ask it, and know how it ended when it no longer answers."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from windtunnel import __version__
from windtunnel.errors import RunError, SpecError
from windtunnel.records.calibration import Calibration, calibration_from_json
from windtunnel.records.checkup import CheckResult, checkup_from_json
from windtunnel.records.environment import Environment
from windtunnel.records.memory_ledger import MemoryLedger, ledger_from_json
from windtunnel.records.pair import PairRecord, pair_from_json
from windtunnel.records.precision_look import PrecisionLook, look_from_json
from windtunnel.records.profile import Profile, profile_from_json
from windtunnel.records.record import Failure, Record, Status, record_from_json
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.statistics.pairing import PairPlan

PROTOCOL = 1
"""Version of the messages between parent and worker; both ends must have the same one, and the same windtunnel."""

START_SECONDS = 300.0
"""How long a process may take to import torch: a cold network disk needs a minute."""

_TAIL_BYTES = 4000
_SHOWN_BYTES = 60
_END_SECONDS = 300.0  # a killed process is there until the driver has freed what it held on the device
_LOOK_SECONDS = 1.0  # how often to look whether a silent process is still there

OnStage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a worker says of one task: its record, and how much memory it could not give back."""

    record: Record
    leaked_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairAnswer:
    """What a worker says of one comparison: its record, and how much memory it could not give back."""

    record: PairRecord
    leaked_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a worker runs; None: as the parent does.

    Attributes:
        project: Its working directory, from which it imports first.
        python: Its interpreter, in whose environment the same windtunnel must be.
    """

    project: str | None = None
    python: str | None = None

    def check(self) -> None:
        """Refuse what is not there.

        Raises:
            SpecError: The project is no folder, or the interpreter no file.
        """
        if self.project is not None and not Path(self.project).is_dir():
            raise SpecError(f"project {self.project!r} is not a folder; name one that holds the code of this side")
        self.interpreter()

    def interpreter(self) -> str:
        """Return the path of the interpreter, links kept: a virtual environment is known by the path of its link.

        Raises:
            SpecError: There is no such program.
        """
        found = shutil.which(self.python) if self.python else sys.executable
        if not found:
            raise SpecError(
                f"python {self.python!r} is not a program; name an interpreter, such as /envs/other/bin/python"
            )
        return os.path.abspath(found)  # noqa: PTH100  # pathlib's `absolute` leaves .. in, its `resolve` follows links


class WorkerLostError(RunError):
    """A worker gave no answer: it crashed, its time was over, or what it wrote is no answer."""

    def __init__(self, status: Status, failure: Failure) -> None:
        """Keep what the record of the task will say."""
        super().__init__(failure.message)
        self.status = status
        self.failure = failure


class Worker(Protocol):
    """A process that measures; the engine is tested with a fake one."""

    is_fresh: bool
    """Whether nothing has used the device in this process yet."""

    def describe(self, device: str) -> Environment:
        """Return the environment of `device`, or raise SpecError when it is not there."""
        ...

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        """Measure one task within `timeout` seconds, or raise WorkerLostError."""
        ...

    def close(self) -> None:
        """End the process; it must not outlive this call."""
        ...


Launch = Callable[[], Worker]


class WorkerProcess:
    """A real worker: a child process in a session of its own, so that Ctrl-C reaches only the parent."""

    def __init__(self, place: Place | None = None) -> None:
        """Start the process and wait until it has imported torch.

        Raises:
            RunError: It ended, or said nothing for START_SECONDS; the message has the end of its output. Or it has
                another windtunnel than the parent.
        """
        place = place or Place()
        python = place.interpreter()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process, closed in `close`
        # Answers have a pipe of their own: anything may print to standard output, even before our code runs.
        self._answers, answers = os.pipe()
        try:
            self._process = subprocess.Popen(
                [python, "-m", "windtunnel.sweep.worker", str(answers)],
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(answers,),
                env=_environment_of(place),
                cwd=place.project,
                start_new_session=True,
            )
        except OSError as error:  # a program of another machine, a script without its interpreter
            os.close(self._answers)
            self._output.close()
            raise RunError(f"{python} cannot be started: {error.strerror}; name a Python interpreter") from error
        finally:
            os.close(answers)
        self._buffer = b""
        self._stage = "start"
        self.is_fresh = True
        try:
            _check_same(python, self._receive(time.monotonic() + START_SECONDS))
        except WorkerLostError as error:
            self.close()
            raise RunError(_why_not_started(python, error)) from None
        except BaseException:
            self.close()  # interrupted while torch is imported: nobody else knows this process yet
            raise

    def describe(self, device: str) -> Environment:
        """Return the environment of `device`; on CUDA the process has used the device after it."""
        self._send({"op": "describe", "device": device})
        message = self._answer(START_SECONDS)
        environment = Environment(**message["environment"])
        self.is_fresh = self.is_fresh and environment.device == "cpu"
        return environment

    def free_bytes(self, device: str) -> int:
        """Return what is free on `device`; on CUDA the process has used the device after it, with its context only."""
        self._send({"op": "free", "device": device})
        message = self._answer(START_SECONDS)
        self.is_fresh = self.is_fresh and device == "cpu"
        return message["free_bytes"]

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        """Measure one task; after a WorkerLostError the process is gone."""
        request = {"op": "measure", "task": task.model_dump(mode="json"), "with_probes": with_probes}
        message = self._work(request, "record", timeout=timeout, on_stage=on_stage)
        return Answer(record=record_from_json(message["record"]), leaked_bytes=message["leaked_bytes"])

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        """Compare two tasks in this one process; after a WorkerLostError the process is gone."""
        tasks = [task.model_dump(mode="json") for task in (a, b)]
        request = {"op": "compare", "tasks": tasks, "plan": asdict(plan), "seed": seed}
        message = self._work(request, "comparison", timeout=timeout, on_stage=on_stage)
        return PairAnswer(record=pair_from_json(message["comparison"]), leaked_bytes=message["leaked_bytes"])

    def examine(self, device: str) -> tuple[CheckResult, ...]:
        """Return what the checks of the machine found; on CUDA the process has used the device after it."""
        self._stage = "doctor"
        self.is_fresh = False
        self._send({"op": "doctor", "device": device})
        return checkup_from_json(self._answer(START_SECONDS)["results"])

    def calibrate(self, device: str, *, seconds: float, on_stage: OnStage) -> Calibration:
        """Measure the ceilings of `device` in about `seconds`; `on_stage` is told what is measured as it begins."""
        self.is_fresh = False
        self._send({"op": "calibrate", "device": device, "seconds": seconds})
        while True:
            message = self._answer(START_SECONDS + seconds)
            if message["event"] == "calibration":
                return calibration_from_json(message["calibration"])
            self._stage = message["stage"]
            on_stage(self._stage)

    def look_at_memory(self, cell: Cell, *, snapshot: Path | None, timeout: float, on_stage: OnStage) -> MemoryLedger:
        """Return the memory ledger of a cell; after a WorkerLostError the process is gone."""
        path = str(snapshot.absolute()) if snapshot else None
        request = {"op": "memory", "cell": cell.model_dump(mode="json"), "snapshot": path}
        return ledger_from_json(self._work(request, "ledger", timeout=timeout, on_stage=on_stage)["ledger"])

    def look_at_precision(self, request: PrecisionRequest, *, timeout: float, on_stage: OnStage) -> PrecisionLook:
        """Return the formats of a cell's step; after a WorkerLostError the process is gone."""
        asked = {"op": "precision", "request": request.model_dump(mode="json")}
        return look_from_json(self._work(asked, "precision", timeout=timeout, on_stage=on_stage)["look"])

    def look_at_profile(
        self, cell: Cell, *, steps: int, trace: Path | None, timeout: float, on_stage: OnStage
    ) -> Profile:
        """Return the profile of some steps of a cell; after a WorkerLostError the process is gone."""
        path = str(trace.absolute()) if trace else None
        request = {"op": "profile", "cell": cell.model_dump(mode="json"), "steps": steps, "trace": path}
        return profile_from_json(self._work(request, "profile", timeout=timeout, on_stage=on_stage)["profile"])

    def close(self) -> None:
        """Kill the process group, which holds nothing that would need an orderly end, and wait until it is gone.

        Raises:
            RunError: It is still there after five minutes, with all that it holds.
        """
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._wait()
        finally:
            os.close(self._answers)
            self._output.close()
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):  # a request that the dead process never read
                self._process.stdin.close()

    def _wait(self) -> int:
        """Return the exit code of the process, which is ending."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunError(
                f"worker process {self._process.pid} is not gone {_END_SECONDS:g} s after its end, so the device may "
                "hang and what it holds is not free; what was measured is stored: when the process is gone, or the "
                "machine was started anew, run the same command again"
            ) from None

    def _send(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process is gone: the next `_receive` says how
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _work(self, request: Mapping[str, object], event: str, *, timeout: float, on_stage: OnStage) -> dict[str, Any]:
        """Send a request that takes the whole process for some time, and return the message that answers it."""
        deadline = time.monotonic() + timeout
        self._stage = "start"
        self.is_fresh = False
        self._send(request)
        while True:
            message = self._receive(deadline, timeout)
            if message["event"] == event:
                return message
            if message["event"] == "error":
                raise RunError(message["message"])
            self._stage = message["stage"]
            on_stage(self._stage)

    def _answer(self, timeout: float) -> dict[str, Any]:
        """Return the next message of a request about a device, or raise SpecError when it is not there."""
        message = self._receive(time.monotonic() + timeout, timeout)
        if message["event"] == "error":
            raise SpecError(message["message"])
        return message

    def _receive(self, deadline: float, timeout: float = START_SECONDS) -> dict[str, Any]:
        """Return the next message, or say how the process was lost."""
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._answers], [], [], min(left, _LOOK_SECONDS))
            if readable:
                received = os.read(self._answers, 1 << 16)
                if not received:
                    raise self._crashed()
                self._buffer += received
            elif self._process.poll() is not None:
                raise self._crashed()  # a process that it forked still holds the pipe, so there is no end of file
            elif left <= _LOOK_SECONDS:
                raise self._timed_out(timeout)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or "event" not in message:
            raise self._spoiled(line)
        return cast("dict[str, Any]", message)

    def _spoiled(self, line: bytes) -> WorkerLostError:
        shown = line[:_SHOWN_BYTES].decode(errors="replace")
        return WorkerLostError(
            Status.CRASHED,
            Failure(
                stage=self._stage,
                message=f"own code wrote into the worker's answers, where now stands {shown!r}; let it write only to "
                "file descriptors that it opened itself",
                details=self._tail(),
            ),
        )

    def _timed_out(self, timeout: float) -> WorkerLostError:
        return WorkerLostError(
            Status.TIMED_OUT,
            Failure(
                stage=self._stage,
                message=f"no answer within {timeout:g} s; it was stopped (allow more with --timeout)",
                details=self._tail(),
            ),
        )

    def _crashed(self) -> WorkerLostError:
        code = self._wait()
        name = signal.Signals(-code).name if code < 0 else None
        how = f"was killed by {name}" if name else f"ended with exit code {code}"
        hint = " (the kernel does so to processes when the host runs out of memory)" if name == "SIGKILL" else ""
        return WorkerLostError(
            Status.CRASHED,
            Failure(
                stage=self._stage,
                message=f"the worker {how}{hint}",
                exit_code=code if code >= 0 else None,
                signal=name,
                details=self._tail(),
            ),
        )

    def _tail(self) -> str | None:
        """Return the end of what the process printed."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _TAIL_BYTES))
        return self._output.read().decode(errors="replace").strip() or None


def _environment_of(place: Place) -> dict[str, str]:
    """Return the variables of a worker: those of the parent, with paths that hold in another folder too."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if place.project is not None:
        paths = [place.project, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
        variables["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths)
    return variables


def _check_same(python: str, ready: Mapping[str, Any]) -> None:
    """Refuse a worker that may not understand what it is asked.

    Raises:
        RunError: It has another windtunnel than the parent.
    """
    theirs, ours = (ready.get("windtunnel"), ready.get("protocol")), (__version__, PROTOCOL)
    if theirs != ours:
        raise RunError(
            f"{python} has windtunnel {theirs[0] or 'of before 0.1.0'} with protocol {theirs[1]}, here it is {ours[0]} "
            f"with protocol {ours[1]}: install the same windtunnel in both environments"
        )


def _why_not_started(python: str, error: WorkerLostError) -> str:
    details = error.failure.details or ""
    if "No module named 'windtunnel" in details or "No module named windtunnel" in details:
        return (
            f"{python} cannot import windtunnel, which its worker needs; install there what runs here, version "
            f"{__version__}: `{python} -m pip install -e` with the path of this checkout"
        )
    message = f"the worker did not start: {error}\n{details}".rstrip()
    return f"{message}\ncheck that `{python} -c 'import torch'` works"


def describe_device(device: str, *, launch: Launch = WorkerProcess) -> Environment:
    """Return the environment of `device` by asking a worker that measures nothing.

    Raises:
        SpecError: The device is not there.
        RunError: No worker can be started.
    """
    with closing(launch()) as worker:
        return worker.describe(device)


def examine_device(device: str, *, launch: Callable[[], WorkerProcess] = WorkerProcess) -> tuple[CheckResult, ...]:
    """Return what would spoil a measurement on `device`, by asking a worker that measures nothing.

    Raises:
        SpecError: The device is not there.
        RunError: No worker can be started, or it was lost.
    """
    with closing(launch()) as worker:
        return worker.examine(device)


def calibrate_device(
    device: str,
    *,
    seconds: float,
    on_begin: Callable[[], None],
    on_stage: OnStage,
    launch: Callable[[], WorkerProcess] = WorkerProcess,
) -> tuple[Calibration, Environment]:
    """Measure the ceilings of `device` in a worker of their own; `on_begin` is called once the device is there.

    Raises:
        SpecError: The device is not there.
        RunError: No worker can be started, or it was lost.
    """
    with closing(launch()) as worker:
        environment = worker.describe(device)
        on_begin()
        return worker.calibrate(environment.device, seconds=seconds, on_stage=on_stage), environment
