"""Real worker processes, and attention of the user's own that does its worst in them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from factory import make_row, make_task
from windtunnel.analysis.kernels import verdict_of
from windtunnel.errors import RunError, SpecError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Record, Status
from windtunnel.records.store import read_store
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Task
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep import launch as launch_module
from windtunnel.sweep.engine import RunSummary, measure_sweep
from windtunnel.sweep.launch import WorkerLostError, WorkerProcess

HOSTILE = '''
"""Attention that does its worst."""

import os, signal, sys, time
from contextlib import suppress
from pathlib import Path
from windtunnel.attention import eager

def kills_itself(q, k, v, *, is_causal):
    os.kill(os.getpid(), signal.SIGKILL)

def exits(q, k, v, *, is_causal):
    print("last words", flush=True)
    os._exit(3)

def leaves(q, k, v, *, is_causal):
    sys.exit(3)

def hangs(q, k, v, *, is_causal):
    time.sleep(600)

def prints(q, k, v, *, is_causal):
    print('{"event": "record"}')
    os.write(1, b'{"event": "ready"}\\n')
    return eager.attend(q, k, v, is_causal=is_causal)

def writes_everywhere(q, k, v, *, is_causal):
    for descriptor in range(3, 30):
        with suppress(OSError):
            os.write(descriptor, b"x")
    return eager.attend(q, k, v, is_causal=is_causal)

def dies_before_its_child(q, k, v, *, is_causal):
    if os.fork() == 0:
        time.sleep(600)
    os.kill(os.getpid(), signal.SIGKILL)

def waits_while_blocked(q, k, v, *, is_causal):
    while q.shape[2] == 3 and Path(os.environ["BLOCK"]).exists():
        time.sleep(0.02)
    return eager.attend(q, k, v, is_causal=is_causal)
'''

SWEEP = {"sizes": {"tiny": {"d_model": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 11}}, "size": "tiny"}
SHORT = {"context": 5, "batch": 1, "mode": "forward", "warmup": 1, "steps": 2, "device": "cpu"}


def sweep_of(**fields: object) -> Sweep:
    return make_sweep(SWEEP | SHORT | fields)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put the hostile module where workers find it, and return the folder."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "hostile.py").write_text(HOSTILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.setenv("BLOCK", str(folder / "block"))
        yield folder


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the workers that a process has now."""
    return [child for child in process.children() if "windtunnel.sweep.worker" in child.cmdline()]


def group_of(leader: int) -> list[psutil.Process]:
    """Return the processes that a worker started, whether or not it is still there."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if process.pid != leader and os.getpgid(process.pid) == leader:
                members.append(process)
    return members


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_gone(process: psutil.Process) -> bool:
    """Say whether a process has ended; a zombie has."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class Killer:
    """An observer that kills the worker from outside once it hangs in the warm-up of a cell."""

    def __init__(self) -> None:
        self.attention = ""

    def planned(self, tasks: tuple[Task, ...], todo: tuple[Task, ...], environment: Environment) -> None:
        pass

    def began(self, task: Task) -> None:
        self.attention = task.cell.attention

    def skipped(self, task: Task) -> None:
        pass

    def stage(self, name: str) -> None:
        if (self.attention, name) == ("hostile:hangs", "warmup"):
            for worker in workers_of(psutil.Process()):
                worker.kill()

    def ended(self, record: Record) -> None:
        pass


HOSTILE_SWEEP = (
    "hostile:prints",
    "hostile:writes_everywhere",
    "hostile:kills_itself",
    "hostile:exits",
    "hostile:leaves",
    "no_such_module:attend",
    "hostile:hangs",
    "eager",
)


@pytest.fixture(scope="module")
def hostile_run(hostile: Path) -> tuple[RunSummary, dict[str, Record]]:
    """A sweep in which cell after cell does its worst; the one that hangs is killed from outside."""
    store = hostile / "store"
    summary = measure_sweep(sweep_of(attention=HOSTILE_SWEEP), store=store, observer=Killer())
    with read_store(store) as opened:
        return summary, {item.record.task.cell.attention: item.record for item in opened.records()}


def test_a_sweep_survives_cells_that_do_their_worst(hostile_run: tuple[RunSummary, dict[str, Record]]):
    summary, records = hostile_run

    assert list(records) == list(HOSTILE_SWEEP)
    assert records["eager"].status == Status.OK
    assert (summary.is_complete, summary.measured, summary.failed) == (True, 8, 6)


def test_a_worker_is_replaced_after_each_cell_that_killed_it(hostile_run: tuple[RunSummary, dict[str, Record]]):
    summary, records = hostile_run

    assert summary.processes == 6
    assert records["eager"].is_first_in_process
    assert records["eager"].process != records["hostile:prints"].process


def test_seconds_of_a_real_run_add_up(hostile_run: tuple[RunSummary, dict[str, Record]]):
    summary, _ = hostile_run

    assert sum(summary.seconds.values()) == pytest.approx(summary.wall_seconds)
    assert summary.seconds["starting processes"] > 0


def test_what_a_cell_prints_does_not_reach_the_answers(hostile_run: tuple[RunSummary, dict[str, Record]]):
    _, records = hostile_run

    record = records["hostile:prints"]
    assert (record.status, record.failure) == (Status.OK, None)
    assert len(record.samples[0].nanoseconds) == 2


def test_a_cell_that_writes_into_the_answers_is_a_crash_that_says_so(
    hostile_run: tuple[RunSummary, dict[str, Record]],
):
    _, records = hostile_run

    record = records["hostile:writes_everywhere"]
    assert (record.status, record.failure.stage) == (Status.CRASHED, "warmup")
    assert record.failure.message.startswith("own code wrote into the worker's answers, where now stands 'x")


def test_a_cell_that_kills_its_process_is_a_crash_with_the_signal(
    hostile_run: tuple[RunSummary, dict[str, Record]],
):
    _, records = hostile_run

    record = records["hostile:kills_itself"]
    assert record.status == Status.CRASHED
    assert (record.failure.stage, record.failure.signal, record.failure.exit_code) == ("warmup", "SIGKILL", None)
    assert record.failure.message.startswith("the worker was killed by SIGKILL")


def test_a_cell_that_ends_its_process_is_a_crash_with_the_exit_code_and_the_last_words(
    hostile_run: tuple[RunSummary, dict[str, Record]],
):
    _, records = hostile_run

    record = records["hostile:exits"]
    assert record.status == Status.CRASHED
    assert (record.failure.signal, record.failure.exit_code) == (None, 3)
    assert record.failure.message == "the worker ended with exit code 3"
    assert "last words" in record.failure.details


def test_a_cell_that_leaves_by_an_exception_of_python_is_a_crash_with_its_exit_code(
    hostile_run: tuple[RunSummary, dict[str, Record]],
):
    _, records = hostile_run

    record = records["hostile:leaves"]
    assert (record.status, record.failure.message) == (Status.CRASHED, "the worker ended with exit code 3")


def test_a_worker_that_is_killed_from_outside_is_a_crash_of_its_cell(
    hostile_run: tuple[RunSummary, dict[str, Record]],
):
    _, records = hostile_run

    record = records["hostile:hangs"]
    assert (record.status, record.failure.stage) == (Status.CRASHED, "warmup")
    assert record.failure.signal == "SIGKILL"


def test_attention_that_cannot_be_loaded_is_a_row_too(hostile_run: tuple[RunSummary, dict[str, Record]]):
    _, records = hostile_run

    record = records["no_such_module:attend"]
    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "build")


def test_no_worker_is_left_after_a_sweep(hostile_run: tuple[RunSummary, dict[str, Record]]):
    _, records = hostile_run

    pids = {record.process for record in records.values()} - {0}  # 0: it gave no answer
    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture(scope="module")
def worker(hostile: Path) -> Iterator[WorkerProcess]:
    """A worker for tests that leave it as it was."""
    process = WorkerProcess()
    yield process
    process.close()


def tiny_task(attention: str) -> Task:
    (task,) = sweep_of(attention=attention).expand("cpu")
    return task


def ignore(stage: str) -> None:
    pass


def test_a_worker_refuses_a_device_that_is_not_there_and_goes_on(worker: WorkerProcess):
    with pytest.raises(SpecError, match="device 'cuda:7' is not there; on this machine: cpu"):
        worker.describe("cuda:7")

    assert worker.describe("cpu").device == "cpu"


def test_an_answer_tells_its_stages_and_leaves_no_memory_behind(worker: WorkerProcess):
    told: list[str] = []

    answer = worker.measure(tiny_task("eager"), timeout=60, on_stage=told.append)

    assert (answer.record.status, answer.leaked_bytes) == (Status.OK, 0)
    assert told == list(answer.record.stages)


@pytest.mark.parametrize(
    ("attention", "ran"), [("sdpa-flash", "flash"), ("sdpa-math", "math"), ("compiled", "Inductor")]
)
def test_a_record_of_attention_holds_the_kernels_that_ran(worker: WorkerProcess, attention: str, ran: str):
    heads = AttentionSpec(num_heads=2, d_head=16)
    task = make_task(size=heads, workload="attention_forward_backward", attention=attention, warmup=3, steps=2)

    record = worker.measure(task, timeout=100, on_stage=ignore).record

    verdict = verdict_of(make_row(record))
    assert (verdict.ran, verdict.is_as_asked) == (ran, True)
    assert {kernel.phase for kernel in record.kernels} == {"forward", "backward"}


def test_a_record_names_the_process_that_made_it(worker: WorkerProcess):
    answer = worker.measure(tiny_task("eager"), timeout=60, on_stage=ignore)

    assert answer.record.process in [child.pid for child in workers_of(psutil.Process())]


def test_a_cell_that_hangs_is_timed_out_in_the_stage_it_reached_and_leaves_no_process(hostile: Path):
    before = workers_of(psutil.Process())
    worker = WorkerProcess()
    told: list[str] = []

    with pytest.raises(WorkerLostError) as lost:
        worker.measure(tiny_task("hostile:hangs"), timeout=2, on_stage=told.append)
    worker.close()

    assert (lost.value.status, lost.value.failure.stage) == (Status.TIMED_OUT, told[-1])
    assert lost.value.failure.message == "no answer within 2 s; it was stopped (allow more with --timeout)"
    assert workers_of(psutil.Process()) == before


def test_a_worker_that_dies_before_a_process_it_forked_is_a_crash_and_takes_it_along(hostile: Path):
    """The forked process still holds the pipe for answers, so no end of file says that the worker is gone."""
    before = workers_of(psutil.Process())
    worker = WorkerProcess()
    (process,) = set(workers_of(psutil.Process())) - set(before)

    with pytest.raises(WorkerLostError) as lost:
        worker.measure(tiny_task("hostile:dies_before_its_child"), timeout=30, on_stage=ignore)
    group = group_of(process.pid)
    worker.close()

    assert (lost.value.status, lost.value.failure.signal) == (Status.CRASHED, "SIGKILL")
    assert group
    assert wait_until(lambda: all(is_gone(other) for other in group))


@pytest.fixture
def start_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script where a worker's Python is."""

    def install(line: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return install


def test_a_worker_that_cannot_start_is_an_error_with_its_last_words(start_with: Callable[[str], None]):
    start_with("echo 'no module named torch' >&2; exit 1")

    with pytest.raises(RunError) as error:
        WorkerProcess()

    first, *rest = str(error.value).splitlines()
    assert first == "the worker did not start: the worker ended with exit code 1"
    assert rest == ["no module named torch", f"check that `{sys.executable} -c 'import torch'` works"]


def test_a_worker_that_does_not_come_up_is_an_error_and_leaves_no_process(
    start_with: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    start_with("exec sleep 600")
    monkeypatch.setattr(launch_module, "START_SECONDS", 0.5)
    before = psutil.Process().children()

    with pytest.raises(RunError, match="the worker did not start: no answer"):
        WorkerProcess()

    assert psutil.Process().children() == before


def test_a_worker_that_is_not_gone_after_its_end_is_an_error_that_names_it_and_leaves_no_open_file(
    start_with: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*arguments, **options))
        return started[-1]

    start_with("exec sleep 600")  # stands for one whose memory the driver is still freeing
    files = psutil.Process().num_fds()
    monkeypatch.setattr(launch_module, "START_SECONDS", 0.5)
    monkeypatch.setattr(launch_module, "_END_SECONDS", 0.2)
    monkeypatch.setattr(launch_module, "os", SimpleNamespace(**{**vars(os), "killpg": lambda *_: None}))
    monkeypatch.setattr(launch_module, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))

    with pytest.raises(RunError) as error:
        WorkerProcess()

    (left,) = started
    left.kill()
    left.wait()
    assert f"worker process {left.pid} is not gone 0.2 s after its end" in str(error.value)
    assert psutil.Process().num_fds() == files


def test_an_interruption_while_a_worker_starts_leaves_no_process(
    start_with: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    start_with("exec sleep 600")
    monkeypatch.setattr(launch_module, "select", SimpleNamespace(select=interrupt))
    before = psutil.Process().children()

    with pytest.raises(KeyboardInterrupt):
        WorkerProcess()

    assert psutil.Process().children() == before


ENGINE = '''
"""Measure the sweep of this test; say when each cell begins, and whether torch was loaded."""

import sys
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.engine import measure_sweep

class Speaker:
    def planned(self, tasks, todo, environment):
        print("todo", *(task.key() for task in todo), flush=True)

    def began(self, task):
        self.task = task

    def stage(self, name):
        if name == "warmup":
            print("warms up", self.task.cell.context_length, flush=True)

    def ended(self, record):
        pass

measure_sweep(make_sweep({fields!r}), store=sys.argv[1], observer=Speaker())
print("torch loaded:", "torch" in sys.modules)
'''


class Killed:
    """What was seen of an engine that was killed with SIGKILL in its third cell, and of the same command again."""

    def __init__(self, folder: Path, block: Path) -> None:
        fields = SWEEP | SHORT | {"context": [1, 2, 3, 4], "attention": "hostile:waits_while_blocked"}
        self.tasks = make_sweep(fields).expand("cpu")
        self.store = folder / "store"
        command = [sys.executable, "-c", ENGINE.format(fields=fields), str(self.store)]
        block.touch()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
            for line in engine.stdout:
                if line == "warms up 3\n":
                    break
            self.workers = workers_of(psutil.Process(engine.pid))
            engine.send_signal(signal.SIGKILL)
        self.is_worker_gone = wait_until(lambda: all(is_gone(worker) for worker in self.workers))
        self.keys_after_kill = self.keys()
        block.unlink()
        self.output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def keys(self) -> list[str]:
        with read_store(self.store) as store:
            return [item.key for item in store.records(all_repeats=True)]


@pytest.fixture(scope="module")
def killed(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Kill an engine in the middle of a sweep, then run the same command again."""
    return Killed(tmp_path_factory.mktemp("killed"), hostile / "block")


def test_after_a_kill_of_the_engine_its_worker_ends_by_itself(killed: Killed):
    """In the middle of a cell that would otherwise go on."""
    assert len(killed.workers) == 1
    assert killed.is_worker_gone


def test_after_a_kill_of_the_engine_the_finished_cells_are_there_once(killed: Killed):
    assert killed.keys_after_kill == [task.key() for task in killed.tasks[:2]]


def test_the_same_command_again_measures_only_what_is_missing(killed: Killed):
    assert killed.output[0].split() == ["todo", *(task.key() for task in killed.tasks[2:])]


def test_the_rows_are_then_those_of_an_undisturbed_run(killed: Killed):
    with read_store(killed.store) as store:
        statuses = {item.record.status for item in store.records()}

    assert killed.keys() == [task.key() for task in killed.tasks]
    assert statuses == {Status.OK}


def test_a_run_that_was_killed_has_no_summary_and_the_next_one_is_complete(killed: Killed):
    with read_store(killed.store) as store:
        first, second = store.runs()

    assert first.summary is None
    assert second.summary["is_complete"] is True


def test_the_engines_process_loads_no_torch_in_a_whole_run(killed: Killed):
    assert killed.output[-1] == "torch loaded: False"
