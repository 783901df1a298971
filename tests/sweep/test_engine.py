"""The engine with workers that measure nothing, in a time that passes only when they say so."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import CPU, GPU, make_record
from windtunnel.cost.step import cost_of
from windtunnel.errors import RunError, SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import Run, Store, StoredRecord, read_store
from windtunnel.spec.cell import Task
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep import engine
from windtunnel.sweep.engine import RunSummary, measure_sweep
from windtunnel.sweep.launch import Answer, OnStage, WorkerLostError

Reply = Callable[[Task], Answer]
OTHER_FAILURES = sorted(set(Status) - {Status.OK, Status.CRASHED, Status.TIMED_OUT})
STAGES = {"build": 1.0, "warmup": 2.0, "measure": 4.0, "clean": 8.0}


def good(task: Task) -> Answer:
    return Answer(record=replace(make_record(task), stages=STAGES), leaked_bytes=0)


def failing(status: Status, stage: str = "measure") -> Reply:
    """Return a worker's answer for a cell that failed; the worker itself lives."""

    def reply(task: Task) -> Answer:
        failure = Failure(stage=stage, message="as scripted")
        record = make_record(task, status=status, failure=failure, stages={"build": 1.0})
        return Answer(record=record, leaked_bytes=0)

    return reply


def leaking(task: Task) -> Answer:
    return replace(good(task), leaked_bytes=2**30)


def raising(error: BaseException) -> Reply:
    def reply(task: Task) -> Answer:
        raise error

    return reply


def lost(status: Status) -> Reply:
    """Return the end of a worker that gives no answer."""
    return raising(WorkerLostError(status, Failure(stage="warmup", message="it is gone", signal="SIGKILL")))


class Lab:
    """Launches fake workers, which answer in the order of a script and well after its end.

    Launching takes 100 s, measuring 16 s of which the record's stages know 15, and being lost 50 s.
    """

    def __init__(self, *script: Reply, environment: Environment = CPU) -> None:
        self.script = list(script)
        self.environment = environment
        self.now = 0.0
        self.measured: list[Task] = []
        self.probed: list[bool] = []
        self.workers: list[FakeWorker] = []

    def launch(self) -> "FakeWorker":
        self.now += 100
        self.workers.append(FakeWorker(self))
        return self.workers[-1]

    @property
    def shares(self) -> list[int]:
        """How many tasks each worker was handed."""
        return [len(worker.tasks) for worker in self.workers]


class FakeWorker:
    """A worker without a process."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.is_fresh = True
        self.is_closed = False
        self.tasks: list[Task] = []

    def describe(self, device: str) -> Environment:
        self.is_fresh = self.lab.environment.device == "cpu"
        return self.lab.environment

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        assert not self.is_closed
        self.lab.probed.append(with_probes)
        self.is_fresh = False
        self.tasks.append(task)
        self.lab.measured.append(task)
        on_stage("build")
        reply = self.lab.script.pop(0) if self.lab.script else good
        try:
            answer = reply(task)
        except BaseException:
            self.lab.now += 50
            raise
        self.lab.now += 16
        return answer

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


def grid(*contexts: int, **fields: Any) -> Sweep:
    """Return a sweep of one forward cell a context."""
    return make_sweep({"size": "small", "mode": "forward", "context": contexts or (1, 2, 3), **fields})


def contexts(tasks: Sequence[Task]) -> list[int]:
    return [task.cell.context_length for task in tasks]


def stored(folder: Path, *, all_repeats: bool = False) -> list[StoredRecord]:
    with read_store(folder) as store:
        return list(store.records(all_repeats=all_repeats))


def runs(folder: Path) -> tuple[Run, ...]:
    with read_store(folder) as store:
        return store.runs()


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunSummary]:
    """Run a sweep in a lab, on the lab's time; the store is in `tmp_path`."""

    def run(sweep: Sweep, lab: Lab, **options: Any) -> RunSummary:
        monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: lab.now))
        monkeypatch.setattr(engine, "_Times", partial(engine._Times, begin=lab.now))
        return measure_sweep(sweep, store=tmp_path, launch=lab.launch, **options)

    return run


@pytest.mark.parametrize("with_probes", [True, False])
def test_cells_are_probed_unless_a_run_is_asked_not_to(tmp_path: Path, with_probes: bool):
    lab = Lab()

    measure_sweep(grid(1, 2), store=tmp_path, launch=lab.launch, with_probes=with_probes)

    assert lab.probed == [with_probes] * 2


def test_cells_are_measured_and_stored_in_the_order_of_the_sweep(measure, tmp_path: Path):
    lab = Lab()

    measure(grid(5, 1, 3), lab)

    assert contexts(lab.measured) == [5, 1, 3]
    assert contexts([item.record.task for item in stored(tmp_path)]) == [5, 1, 3]


def test_a_record_is_stored_as_the_worker_gave_it(measure, tmp_path: Path):
    lab = Lab()

    measure(grid(5), lab)

    (item,) = stored(tmp_path)
    assert item.record == good(lab.measured[0]).record
    assert item.environment == CPU


def test_each_record_is_stored_before_the_next_cell_begins(measure, tmp_path: Path):
    counts: list[int] = []

    def counting(task: Task) -> Answer:
        counts.append(len(stored(tmp_path)))
        return good(task)

    measure(grid(1, 2, 3), Lab(counting, counting, counting))

    assert counts == [0, 1, 2]


def test_the_tasks_are_for_the_device_that_the_worker_found(measure):
    lab = Lab(environment=GPU)

    measure(grid(1, device="auto"), lab)

    assert [task.cell.device for task in lab.measured] == ["cuda:0"]


def test_what_is_stored_is_not_measured_again(measure):
    measure(grid(1, 2), Lab())
    lab = Lab()

    summary = measure(grid(1, 3, 2, 4), lab)

    assert contexts(lab.measured) == [3, 4]
    assert (summary.cells, summary.already_stored, summary.measured) == (4, 2, 2)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.OK}))
def test_a_cell_that_failed_is_not_tried_again(measure, status: Status):
    measure(grid(1), Lab(failing(status)))
    lab = Lab()

    measure(grid(1), lab)

    assert lab.measured == []


@pytest.mark.parametrize(("fresh", "measured"), [(False, [1, 3]), (True, [1, 2, 3])])
def test_what_another_run_stores_meanwhile_is_not_measured_again(measure, fresh: bool, measured: list[int]):
    def while_another_measures(task: Task) -> Answer:
        measure(grid(2), Lab())
        return good(task)

    lab, notes = Lab(while_another_measures), Notes()

    summary = measure(grid(1, 2, 3), lab, fresh=fresh, observer=notes)

    assert contexts(lab.measured) == measured
    assert (summary.already_stored, summary.measured) == (3 - len(measured), len(measured))
    assert ("skipped 2" in notes.lines) is not fresh


def test_another_machine_measures_everything_itself(measure):
    measure(grid(1, 2), Lab())
    lab = Lab(environment=replace(CPU, torch="2.99"))

    summary = measure(grid(1, 2), lab)

    assert contexts(lab.measured) == [1, 2]
    assert summary.already_stored == 0


def test_fresh_measures_again_and_keeps_the_older_records(measure, tmp_path: Path):
    measure(grid(1, 2), Lab())
    lab = Lab()

    summary = measure(grid(1, 2), lab, fresh=True)

    assert contexts(lab.measured) == [1, 2]
    assert (summary.already_stored, summary.measured) == (0, 2)
    assert [item.repeat for item in stored(tmp_path, all_repeats=True)] == [0, 0, 1, 1]


@pytest.mark.parametrize("status", OTHER_FAILURES)
def test_a_failure_is_a_row_and_the_sweep_goes_on(measure, tmp_path: Path, status: Status):
    summary = measure(grid(1, 2, 3), Lab(good, failing(status)))

    assert [item.record.status for item in stored(tmp_path)] == [Status.OK, status, Status.OK]
    assert (summary.measured, summary.failed, summary.is_complete) == (3, 1, True)


@pytest.mark.parametrize("status", OTHER_FAILURES)
def test_a_worker_is_replaced_after_a_failure(measure, status: Status):
    lab = Lab(good, failing(status))

    measure(grid(1, 2, 3), lab)

    assert lab.shares == [2, 1]


def test_a_worker_stays_after_a_cell_that_was_refused_while_building(measure):
    lab = Lab(failing(Status.UNSUPPORTED, stage="build"))

    measure(grid(1, 2, 3), lab)

    assert lab.shares == [3]


def test_a_worker_is_replaced_after_a_leak(measure, tmp_path: Path):
    lab = Lab(leaking)

    measure(grid(1, 2, 3), lab)

    assert lab.shares == [1, 2]
    assert [item.record.status for item in stored(tmp_path)] == [Status.OK] * 3


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT])
def test_a_lost_worker_leaves_a_row_with_the_whole_configuration(measure, tmp_path: Path, status: Status):
    lab = Lab(lost(status))

    measure(grid(7), lab)

    (record,) = (item.record for item in stored(tmp_path))
    assert record.task == lab.measured[0]
    assert (record.status, record.samples, record.memory) == (status, (), None)
    assert record.failure == Failure(stage="warmup", message="it is gone", signal="SIGKILL")
    assert (record.flops, record.parameters) == (cost_of(record.task.cell).flops, cost_of(record.task.cell).parameters)


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT])
def test_after_a_lost_worker_the_sweep_goes_on_with_another(measure, tmp_path: Path, status: Status):
    lab = Lab(good, lost(status))

    summary = measure(grid(1, 2, 3), lab)

    assert lab.shares == [2, 1]
    assert [item.record.status for item in stored(tmp_path)] == [Status.OK, status, Status.OK]
    assert (summary.failed, summary.processes, summary.is_complete) == (1, 2, True)


def test_a_cold_cell_gets_a_worker_that_did_nothing_before(measure):
    lab = Lab()

    measure(grid(1, 2, warmup=[0, 5]), lab)

    plans = [[task.plan.warmup for task in worker.tasks] for worker in lab.workers]
    assert plans == [[0, 5], [0, 5]]


def test_the_first_cold_cell_takes_the_worker_that_only_described_a_cpu(measure):
    lab = Lab()

    measure(grid(1, warmup=0), lab)

    assert lab.shares == [1]


def test_on_a_gpu_the_first_cold_cell_gets_another_worker_than_the_one_that_described_it(measure):
    """Describing a GPU makes the process's context, and that is part of the cold start."""
    lab = Lab(environment=GPU)

    measure(grid(1, warmup=0), lab)

    assert lab.shares == [0, 1]


def test_warm_cells_share_a_worker(measure):
    lab = Lab()

    summary = measure(grid(1, 2, 3), lab)

    assert lab.shares == [3]
    assert summary.processes == 1


def replicas(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    return [(task.replica, task.cell.context_length) for task in tasks]


def test_each_process_of_a_cell_is_a_fresh_worker(measure, tmp_path: Path):
    lab = Lab()

    summary = measure(grid(1, 2, processes=3), lab)

    assert lab.shares == [1] * 6
    assert replicas(lab.measured) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert (summary.cells, summary.measured, summary.processes) == (6, 6, 6)


def test_on_a_gpu_the_first_process_of_a_cell_is_not_the_worker_that_described_it(measure):
    lab = Lab(environment=GPU)

    measure(grid(1, processes=2), lab)

    assert lab.shares == [0, 1, 1]


def test_a_process_that_fails_leaves_the_others_as_they_are(measure, tmp_path: Path):
    lab = Lab(good, lost(Status.CRASHED))

    summary = measure(grid(1, processes=3), lab)

    records = [item.record for item in stored(tmp_path)]
    assert [record.status for record in records] == [Status.OK, Status.CRASHED, Status.OK]
    assert [record.is_first_in_process for record in records[1:2]] == [True]
    assert (summary.measured, summary.failed) == (3, 1)


def test_after_an_interruption_only_the_processes_that_lack_are_measured(measure):
    with pytest.raises(KeyboardInterrupt):
        measure(grid(1, 2, processes=2), Lab(good, good, good, raising(KeyboardInterrupt())))
    lab = Lab()

    summary = measure(grid(1, 2, processes=2), lab)

    assert replicas(lab.measured) == [(1, 2)]
    assert (summary.already_stored, summary.measured) == (3, 1)


def test_a_cell_of_one_process_is_not_one_of_several(measure):
    measure(grid(1), Lab())
    lab = Lab()

    measure(grid(1, processes=2), lab)

    assert replicas(lab.measured) == [(0, 1), (1, 1)]


ENDINGS = [
    pytest.param((), None, id="complete"),
    pytest.param((good, failing(Status.FAILED)), None, id="failed"),
    pytest.param((good, lost(Status.CRASHED)), None, id="lost"),
    pytest.param((good, raising(KeyboardInterrupt())), KeyboardInterrupt, id="interrupted"),
    pytest.param((good, raising(RuntimeError("a bug"))), RuntimeError, id="bug"),
]


@pytest.mark.parametrize(("script", "error"), ENDINGS)
def test_no_worker_outlives_the_sweep(measure, script: tuple[Reply, ...], error: type[BaseException] | None):
    lab = Lab(*script)

    try:
        measure(grid(1, 2, 3), lab)
        raised = None
    except (KeyboardInterrupt, RuntimeError) as caught:
        raised = type(caught)

    assert raised is error
    assert [worker.is_closed for worker in lab.workers] == [True] * len(lab.workers)


def test_an_interruption_keeps_what_is_stored_and_marks_the_run(measure, tmp_path: Path):
    lab = Lab(good, good, raising(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        measure(grid(1, 2, 3, 4), lab)

    assert contexts([item.record.task for item in stored(tmp_path)]) == [1, 2]
    (run,) = runs(tmp_path)
    assert (run.summary["is_complete"], run.summary["measured"], run.summary["cells"]) == (False, 2, 4)


def test_after_an_interruption_the_next_call_goes_on(measure, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        measure(grid(1, 2, 3), Lab(good, raising(KeyboardInterrupt())))
    lab = Lab()

    summary = measure(grid(1, 2, 3), lab)

    assert contexts(lab.measured) == [2, 3]
    assert summary.is_complete
    assert contexts([item.record.task for item in stored(tmp_path)]) == [1, 2, 3]


def test_a_store_that_fails_in_the_middle_ends_the_sweep_and_its_worker(
    measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add, lab = Store.add, Lab()

    def failing_later(store: Store, record: Record, environment: Environment) -> int:
        if len(lab.measured) == 2:
            raise StoreError("the disk is full")
        return add(store, record, environment)

    monkeypatch.setattr(Store, "add", failing_later)

    with pytest.raises(StoreError, match="the disk is full"):
        measure(grid(1, 2, 3), lab)

    assert contexts(lab.measured) == [1, 2]
    assert [worker.is_closed for worker in lab.workers] == [True]
    assert contexts([item.record.task for item in stored(tmp_path)]) == [1]
    assert runs(tmp_path)[0].summary is None  # nothing more is written to such a store


def test_a_worker_that_cannot_be_started_again_ends_the_sweep(measure, tmp_path: Path):
    lab = Lab(lost(Status.CRASHED))
    launch = lab.launch

    def launch_once() -> FakeWorker:
        if lab.workers:
            raise RunError("the worker did not start")
        return launch()

    lab.launch = launch_once

    with pytest.raises(RunError, match="did not start"):
        measure(grid(1, 2), lab)

    assert [item.record.status for item in stored(tmp_path)] == [Status.CRASHED]
    assert runs(tmp_path)[0].summary["is_complete"] is False


def test_a_device_that_is_not_there_is_refused_before_a_run_begins(
    measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(worker: FakeWorker, device: str) -> Environment:
        raise SpecError(f"device {device!r} is not there")

    monkeypatch.setattr(FakeWorker, "describe", refuse)
    lab = Lab()

    with pytest.raises(SpecError, match="device 'cuda:7' is not there"):
        measure(grid(1, device="cuda:7"), lab)

    assert list(tmp_path.iterdir()) == []
    assert [worker.is_closed for worker in lab.workers] == [True]


def test_a_store_that_cannot_be_made_is_refused_before_anything_is_measured(tmp_path: Path):
    lab = Lab()
    (tmp_path / "store").symlink_to("no/such/folder")

    with pytest.raises(StoreError, match="cannot make the store folder"):
        measure_sweep(grid(1), store=tmp_path / "store", launch=lab.launch)

    assert lab.measured == []
    assert [worker.is_closed for worker in lab.workers] == [True]


@pytest.mark.parametrize("timeout", [float("nan"), -1.0, 0, float("inf")])
def test_a_timeout_that_is_no_time_is_refused_before_anything_is_stored(measure, tmp_path: Path, timeout: float):
    lab = Lab()

    with pytest.raises(SpecError, match=rf"timeout {timeout} is not a positive time"):
        measure(grid(1), lab, timeout=timeout)

    assert (lab.workers, list(tmp_path.iterdir())) == ([], [])


def test_the_timeout_reaches_the_worker(measure, monkeypatch: pytest.MonkeyPatch):
    timeouts: list[float] = []

    def measure_task(worker: FakeWorker, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool) -> Answer:
        timeouts.append(timeout)
        return good(task)

    monkeypatch.setattr(FakeWorker, "measure", measure_task)

    measure(grid(1), Lab(), timeout=12.5)

    assert timeouts == [12.5]


def test_the_summary_says_where_the_time_went(measure):
    """One launch, a good cell, a lost one, another launch, a good cell."""
    summary = measure(grid(1, 2, 3), Lab(good, lost(Status.CRASHED)))

    assert summary.wall_seconds == 100 + 16 + 50 + 100 + 16
    assert {label: seconds for label, seconds in summary.seconds.items() if seconds} == {
        "starting processes": 200,
        "building models": 2,
        "warm-up": 4,
        "measuring": 8,
        "freeing memory": 16,
        "cells without an answer": 50,
        "other": 2,
    }
    assert sum(summary.seconds.values()) == summary.wall_seconds


def test_the_run_is_stored_with_its_sweep_and_summary(measure, tmp_path: Path):
    sweep = grid(1, 2)

    summary = measure(sweep, Lab())

    (run,) = runs(tmp_path)
    assert make_sweep(run.sweep) == sweep
    assert run.machine == CPU.machine()
    assert RunSummary(**run.summary) == summary


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def planned(self, tasks: tuple[Task, ...], todo: tuple[Task, ...], environment: Environment) -> None:
        self.lines.append(f"planned {contexts(tasks)} todo {contexts(todo)} on {environment.device}")

    def began(self, task: Task) -> None:
        self.lines.append(f"began {task.cell.context_length}")

    def skipped(self, task: Task) -> None:
        self.lines.append(f"skipped {task.cell.context_length}")

    def stage(self, name: str) -> None:
        self.lines.append(f"stage {name}")

    def ended(self, record: Record) -> None:
        self.lines.append(f"ended {record.task.cell.context_length} {record.status}")


def test_the_observer_is_told_everything_in_order(measure):
    measure(grid(2), Lab())
    notes = Notes()

    measure(grid(1, 2, 3), Lab(failing(Status.FAILED)), observer=notes)

    assert notes.lines == [
        "planned [1, 2, 3] todo [1, 3] on cpu",
        "began 1",
        "stage build",
        "ended 1 failed",
        "began 3",
        "stage build",
        "ended 3 ok",
    ]


def test_a_cell_has_ended_only_when_it_is_stored(measure, tmp_path: Path):
    notes = Notes()
    counts: list[int] = []
    notes.ended = lambda record: counts.append(len(stored(tmp_path)))

    measure(grid(1, 2), Lab(), observer=notes)

    assert counts == [1, 2]
