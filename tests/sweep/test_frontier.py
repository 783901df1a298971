"""The search with workers that measure nothing: what is probed, stored and believed, and what is free afterwards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import CPU, GPU, make_record
from windtunnel.errors import RunError, SpecError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import Run, StoredRecord, read_store
from windtunnel.spec.cell import Task
from windtunnel.spec.frontier import Frontier, make_frontier
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.bracketing import Bracket
from windtunnel.sweep.frontier import FrontierSummary, search_frontier
from windtunnel.sweep.launch import Answer, OnStage, WorkerLostError
from windtunnel.sweep.lines import Line

GIB = 2**30
OUT = Failure(stage="warmup", phase="backward", message="as scripted", requested_bytes=3 * GIB, free_bytes=GIB)


def fits_up_to(last: int) -> Callable[[Task], Status]:
    return lambda task: Status.OK if task.cell.context_length <= last else Status.OUT_OF_MEMORY


class Lab:
    """Launches fake workers that answer by a rule; `free` is what each of them finds free, the last value for ever."""

    def __init__(
        self, rule: Callable[[Task], Status], *, environment: Environment = GPU, free: tuple[int, ...] = (100 * GIB,)
    ) -> None:
        self.rule = rule
        self.environment = environment
        self.free = list(free)
        self.measured: list[Task] = []
        self.open = self.launched = 0

    def launch(self) -> "FakeWorker":
        self.launched += 1
        self.open += 1
        return FakeWorker(self)

    @property
    def contexts(self) -> list[int]:
        return [task.cell.context_length for task in self.measured]


class FakeWorker:
    """A worker without a process, which measures once."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.is_fresh = True

    def describe(self, device: str) -> Environment:
        return self.lab.environment

    def free_bytes(self, device: str) -> int:
        return self.lab.free.pop(0) if len(self.lab.free) > 1 else self.lab.free[0]

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        assert self.is_fresh, "each probe has a process of its own"
        assert not with_probes
        assert self.lab.open == 1, "no other process may hold memory meanwhile"
        self.is_fresh = False
        self.lab.measured.append(task)
        on_stage("build")
        status = self.lab.rule(task)
        if status is Status.CRASHED:
            raise WorkerLostError(status, Failure(stage="warmup", message="it is gone"))
        failure = None if status is Status.OK else replace(OUT, message=status.value)
        return Answer(record=make_record(task, status=status, failure=failure), leaked_bytes=0)

    def close(self) -> None:
        self.lab.open -= 1


class Watcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.budget = 0

    def planned(self, lines: tuple[Line, ...], environment: Environment, budget_bytes: int) -> None:
        self.budget = budget_bytes
        self.said.append(f"planned {len(lines)}")

    def began_line(self, line: Line, predicted: int | None) -> None:
        self.said.append(f"line from {predicted}")

    def began(self, task: Task) -> None:
        self.said.append("began")

    def stage(self, name: str) -> None:
        self.said.append(name)

    def ended(self, record: Record, *, was_stored: bool) -> None:
        self.said.append(f"{record.status.value}{' stored' if was_stored else ''}")

    def ended_line(self, line: Line, found: Bracket) -> None:
        self.said.append(f"{found.largest} {found.smallest}")


def asked(**fields: Any) -> Frontier:
    """Return a search of one line of 32 contexts, in steps of 10."""
    sweep = make_sweep({"size": "small", "mode": "forward"} | fields.pop("sweep", {}))
    return make_frontier(sweep, **({"along": "context", "granularity": 10, "most": 320} | fields))


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., FrontierSummary]:
    def run(lab: Lab, frontier: Frontier | None = None, **options: Any) -> FrontierSummary:
        fields = {"predict": None, "store": tmp_path, "launch": lab.launch} | options
        return search_frontier(frontier or asked(), **fields)

    return run


def stored(folder: Path) -> list[StoredRecord]:
    with read_store(folder) as store:
        return list(store.records(all_repeats=True))


def runs(folder: Path) -> tuple[Run, ...]:
    with read_store(folder) as store:
        return store.runs()


def by_length(task_cell: Any) -> int:
    """Predict a GiB for each token."""
    return task_cell.context_length * GIB


def test_the_largest_that_fits_is_found_and_each_probe_is_a_record(search, tmp_path: Path):
    lab = Lab(fits_up_to(170))

    summary = search(lab)

    (found,) = summary.lines
    assert found.line.value(found.bracket.largest) == 170
    assert found.line.value(found.bracket.smallest) == 180
    assert [one.record.task for one in stored(tmp_path)] == lab.measured
    assert summary.probes == len(lab.measured) <= 8


def test_the_search_starts_at_the_last_that_the_prediction_lets_fit_into_what_is_free(search):
    lab = Lab(fits_up_to(105), free=(107 * GIB,))

    summary = search(lab, predict=by_length)

    assert lab.contexts == [100, 110]
    assert summary.budget_bytes == 107 * GIB


def test_a_limit_is_the_budget_of_the_prediction_and_part_of_each_probe(search):
    lab = Lab(fits_up_to(50))

    search(lab, asked(memory_limit="50GiB"), predict=by_length)

    assert lab.contexts == [50, 60]
    assert {task.plan.memory_limit_bytes for task in lab.measured} == {50 * GIB}


def test_a_share_is_of_what_the_device_has(search):
    lab = Lab(fits_up_to(50))

    search(lab, asked(memory_limit="50%"))

    assert {task.plan.memory_limit_bytes for task in lab.measured} == {GPU.device_memory_bytes // 2}


def test_each_line_is_searched_on_its_own(search):
    def rule(task: Task) -> Status:
        last = 100 if task.cell.precision == "fp32" else 200
        return fits_up_to(last)(task)

    summary = search(Lab(rule), asked(sweep={"precision": ["fp32", "bf16"]}))

    assert [found.line.value(found.bracket.largest) for found in summary.lines] == [100, 200]


def test_a_killed_search_goes_on_where_it_was(search, tmp_path: Path):
    def interrupted(task: Task) -> Status:
        if len(lab.measured) == 4:
            raise KeyboardInterrupt
        return fits_up_to(170)(task)

    lab = Lab(interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(lab)
    again, whole = Lab(fits_up_to(170)), Lab(fits_up_to(170))

    summary = search(again)
    search(whole, store=tmp_path / "other")

    assert lab.open == 0
    assert lab.contexts[:3] + again.contexts == whole.contexts
    assert summary.stored == 3
    assert [run.summary["is_complete"] for run in runs(tmp_path) if run.summary] == [False, True]


def test_a_probe_is_stored_before_its_process_is_ended_which_can_fail(search, tmp_path: Path):
    class Stuck(FakeWorker):
        def close(self) -> None:
            super().close()
            if self.lab.measured:
                raise RunError("worker process 7 is not gone")

    class StuckLab(Lab):
        def launch(self) -> FakeWorker:
            super().launch()
            return Stuck(self)

    lab = StuckLab(fits_up_to(170))

    with pytest.raises(RunError, match="process 7"):
        search(lab)

    assert [one.record.task for one in stored(tmp_path)] == lab.measured
    assert len(lab.measured) == 1


def test_the_same_search_again_probes_nothing_and_finds_the_same(search):
    first = search(Lab(fits_up_to(170)))
    lab = Lab(fits_up_to(0))

    again = search(lab)

    assert lab.measured == []
    assert again.lines[0].bracket == first.lines[0].bracket


def test_fresh_probes_everything_anew(search):
    search(Lab(fits_up_to(170)))
    lab = Lab(fits_up_to(40))

    summary = search(lab, fresh=True)

    assert summary.lines[0].line.value(summary.lines[0].bracket.largest) == 40


def test_a_failure_that_does_not_come_again_is_reported_and_kept(search, tmp_path: Path):
    def once(task: Task) -> Status:
        if task.cell.context_length == 160 and lab.contexts.count(160) == 1:
            return Status.OUT_OF_MEMORY
        return fits_up_to(170)(task)

    lab = Lab(once)

    summary = search(lab)

    (found,) = summary.lines
    assert found.line.value(found.bracket.largest) == 170
    assert [found.line.value(place) for place in found.bracket.contradictions] == [160]
    outcomes = [one.record.status for one in stored(tmp_path) if one.record.task.cell.context_length == 160]
    assert outcomes == [Status.OUT_OF_MEMORY, Status.OK]


@pytest.mark.parametrize("status", [Status.CRASHED, Status.FAILED, Status.TIMED_OUT])
def test_a_failure_that_is_not_of_memory_is_tried_twice_and_ends_the_line(search, status: Status):
    lab = Lab(lambda task: status)

    summary = search(lab)

    assert len(lab.measured) == 2
    assert summary.lines[0].bracket.broken is not None
    assert summary.lines[0].bracket.largest is None


def test_what_is_not_supported_is_tried_once(search):
    lab = Lab(lambda task: Status.UNSUPPORTED)

    search(lab)

    assert len(lab.measured) == 1


def test_bad_numbers_fit(search):
    summary = search(Lab(lambda task: Status.BAD_NUMERICS))

    assert summary.lines[0].bracket.largest == len(summary.lines[0].line) - 1


def test_device_memory_before_and_after_is_kept(search, tmp_path: Path):
    summary = search(Lab(fits_up_to(170), free=(100 * GIB, 97 * GIB)))

    assert (summary.free_before_bytes, summary.free_after_bytes) == (100 * GIB, 97 * GIB)
    assert summary.missing_bytes == 3 * GIB
    (run,) = runs(tmp_path)
    assert run.summary is not None
    assert run.summary["missing_bytes"] == 3 * GIB


def test_a_small_difference_of_device_memory_is_none(search):
    assert search(Lab(fits_up_to(170), free=(100 * GIB, 100 * GIB - 2**20))).missing_bytes == 0


def test_a_cpu_has_no_device_memory_to_compare(search):
    summary = search(Lab(fits_up_to(170), environment=CPU), asked(memory_limit="1GiB"))

    assert (summary.free_before_bytes, summary.free_after_bytes) == (None, None)


def test_a_cpu_without_a_limit_is_refused_before_anything_is_probed(search):
    lab = Lab(fits_up_to(170), environment=CPU)

    with pytest.raises(SpecError, match="give a limit, as --memory-limit 4GiB"):
        search(lab)

    assert lab.measured == []
    assert lab.open == 0


def test_a_limit_beyond_the_device_is_refused_with_what_it_has(search):
    with pytest.raises(SpecError, match=r"memory limit '200GiB' is not a memory .* 140 GiB"):
        search(Lab(fits_up_to(170)), asked(memory_limit="200GiB"))


def test_a_watcher_is_told_of_every_step(search):
    watcher = Watcher()

    search(Lab(fits_up_to(105), free=(107 * GIB,)), predict=by_length, observer=watcher)

    assert watcher.said == [
        *("planned 1", "line from 9", "began", "build", "ok", "began", "build", "out of memory", "9 10"),
    ]
    assert watcher.budget == 107 * GIB


def test_a_run_notes_what_was_asked_so_that_the_lines_can_be_found_again(search, tmp_path: Path):
    search(Lab(fits_up_to(170)), asked(memory_limit="50GiB"))

    (run,) = runs(tmp_path)

    assert run.sweep["kind"] == "fit"
    assert Frontier.model_validate(run.sweep) == asked(memory_limit="50GiB")


def test_workers_that_cannot_start_end_the_search_with_what_was_stored(search, tmp_path: Path):
    lab = Lab(fits_up_to(170))
    launch = lab.launch

    def failing() -> FakeWorker:
        if lab.launched == 3:
            raise RunError("no more processes")
        return launch()

    with pytest.raises(RunError):
        search(lab, launch=failing)

    assert len(stored(tmp_path)) == 2
