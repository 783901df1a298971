"""Comparisons with workers that measure nothing: turns of processes, failures, places, and what is stored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from factory import CPU, GPU, make_pair, make_record, make_task
from windtunnel.errors import RunError, SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.pair import Pairing, PairRecord
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import StoredComparison, read_store
from windtunnel.spec.cell import MeasurePlan, Task
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import PairPlan
from windtunnel.sweep.launch import Answer, OnStage, PairAnswer, Place, WorkerLostError
from windtunnel.sweep.pairs import compare_sweeps, compare_tasks

LOST = WorkerLostError(Status.TIMED_OUT, Failure(stage="warmup", message="no answer"))
A_PLACE, B_PLACE = Place(project="."), Place(project="..")


class Lab:
    """Launches fake workers and notes what they are asked; `replies` answer in place of the good answers, by number."""

    def __init__(self, *, b_takes: float = 1.5, environments: dict[Place, Environment] | None = None) -> None:
        self.b_takes = b_takes
        self.environments = environments or {}
        self.replies: dict[int, Callable[[Task], Answer] | BaseException] = {}
        self.launches: dict[int, BaseException] = {}
        self.workers: list[FakeWorker] = []
        self.blocks: list[tuple[Place, Task]] = []
        self.compared: list[tuple[Task, Task]] = []
        self.noise = Random(5)

    def launch(self, place: Place) -> "FakeWorker":
        if len(self.workers) in self.launches:
            raise self.launches.pop(len(self.workers))
        self.workers.append(FakeWorker(self, place))
        return self.workers[-1]

    @property
    def sides(self) -> str:
        """The sides whose turn it was: those of B attend with sdpa."""
        return "".join("b" if task.cell.attention == "sdpa" else "a" for _, task in self.blocks)


class FakeWorker:
    """A worker without a process; with it, `b_takes` times as long as A takes B."""

    def __init__(self, lab: Lab, place: Place) -> None:
        self.lab, self.place = lab, place
        self.is_fresh, self.is_closed = True, False

    def describe(self, device: str) -> Environment:
        return self.lab.environments.get(self.place, CPU)

    def measure(self, task: Task, *, timeout: float, on_stage: OnStage, with_probes: bool = True) -> Answer:
        assert not self.is_closed
        assert not with_probes
        on_stage("build")
        number = len(self.lab.blocks)
        self.lab.blocks.append((self.place, task))
        reply = self.lab.replies.get(number)
        if isinstance(reply, BaseException):
            raise reply
        if reply:
            return reply(task)
        takes = (self.lab.b_takes if task.cell.attention == "sdpa" else 1.0) * (1 + self.lab.noise.gauss(0, 0.001))
        return Answer(record=make_record(task, milliseconds=[50 * takes, takes, takes]), leaked_bytes=0)

    def compare(self, a: Task, b: Task, *, plan: PairPlan, seed: int, timeout: float, on_stage: OnStage) -> PairAnswer:
        assert not self.is_closed
        on_stage("build")
        number = len(self.lab.compared)
        self.lab.compared.append((a, b))
        reply = self.lab.replies.get(number)
        if isinstance(reply, BaseException):
            raise reply
        record = make_pair(a, b, ratio=self.lab.b_takes)
        return reply(record) if reply else PairAnswer(record=record, leaked_bytes=0)

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Watch:
    """An observer that notes all it is told."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.stages: list[str] = []
        self.stored: list[int] = []
        self.folder: Path | None = None

    def planned(self, pairs: object, environments: object, seconds: float | None) -> None:
        self.seconds = seconds

    def began(self, a: Task, b: Task) -> None:
        pass

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def ended(self, record: PairRecord) -> None:
        if self.folder:
            self.stored.append(len(stored(self.folder)))


def stored(folder: Path) -> tuple[StoredComparison, ...]:
    with read_store(folder) as store:
        return store.comparisons()


def side(attention: str, **fields: Any) -> Sweep:
    return make_sweep({"size": "small", "mode": "forward", "context": 8, "attention": attention, **fields})


Compare = Callable[..., tuple[StoredComparison, ...]]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare eager with sdpa in a lab; the store is in `tmp_path`."""

    def run(lab: Lab, *, max_pairs: int = 8, fields: dict[str, Any] | None = None, **options: Any) -> Any:
        plan = options.pop("plan", PairPlan(max_pairs=max_pairs, max_seconds=1e9))
        a, b = (side(attention, **(fields or {})) for attention in ("eager", "sdpa"))
        return compare_sweeps(a, b, **{"plan": plan, "store": tmp_path, "launch": lab.launch} | options)

    return run


@pytest.fixture
def by_process(compare: Compare) -> Compare:
    def run(lab: Lab, **options: Any) -> Any:
        return compare(lab, **{"pairing": Pairing.PROCESS} | options)

    return run


def test_processes_take_turns_as_abba_or_baab(by_process: Compare):
    lab = Lab()

    (one,) = by_process(lab)

    rest, fours = lab.sides, []
    while rest:
        four = "abbaa" if rest.startswith("abba") else "baab"
        assert rest.startswith(four)
        fours.append(four)
        rest = rest.removeprefix(four)
    assert len(fours) == 4
    assert [turn.side.value for turn in one.record.turns] == list(lab.sides)


def test_each_turn_has_a_fresh_process_that_is_closed_after_it(by_process: Compare):
    lab = Lab()

    by_process(lab)

    assert len(lab.workers) == 1 + len(lab.blocks)  # the first one said what the device is
    assert all(worker.is_closed for worker in lab.workers)


def test_a_turn_counts_with_the_median_of_its_steps(by_process: Compare):
    (one,) = by_process(Lab(b_takes=2.0))

    pairs, null_pairs = one.record.differences()
    assert pairs == [pytest.approx(0.693, abs=0.01)] * 8
    assert null_pairs == [pytest.approx(0.0, abs=0.01)] * 4
    assert set(one.record.a.steps) == {3}


def test_all_steps_of_all_turns_are_kept(by_process: Compare):
    (one,) = by_process(Lab())

    record = one.record
    for name in Side:
        turns = sum(turn.side is name for turn in record.turns)
        assert [len(series.nanoseconds) for series in record.side(name).samples] == [3 * turns]


def test_a_turn_samples_for_its_time_and_no_shorter_interval_ends_it(by_process: Compare):
    lab = Lab()

    by_process(lab, block_seconds=7.0, fields={"warmup": 3})

    plans = {task.plan for _, task in lab.blocks}
    assert [(plan.warmup, plan.max_seconds, plan.max_samples) for plan in plans] == [(3, 7.0, 100_000)]
    assert all(plan.target and plan.target < 1e-6 for plan in plans)


def test_each_side_runs_in_its_own_place_and_the_record_says_so(by_process: Compare):
    lab = Lab()

    (one,) = by_process(lab, places=(A_PLACE, B_PLACE))

    assert {(task.cell.attention, place) for place, task in lab.blocks} == {("eager", A_PLACE), ("sdpa", B_PLACE)}
    assert (one.record.a.project, one.record.b.project) == (".", "..")


def test_each_side_has_its_own_environment(by_process: Compare, tmp_path: Path):
    newer = replace(CPU, torch="2.13.0")
    lab = Lab(environments={A_PLACE: CPU, B_PLACE: newer})

    by_process(lab, places=(A_PLACE, B_PLACE))

    (one,) = stored(tmp_path)
    assert (one.environment_a, one.environment_b) == (CPU, newer)


def test_how_long_it_takes_is_said_before(by_process: Compare):
    watch = Watch()

    by_process(Lab(), observer=watch, block_seconds=100.0)

    assert watch.seconds == pytest.approx(18 * 100.0, rel=0.01)
    assert watch.stages[:2] == [f"process 1, {watch.stages[0][11]}: {name}" for name in ("start", "build")]


@pytest.mark.parametrize("fault", ["lost", "failed", "not started"])
def test_a_turn_that_fails_ends_its_comparison_as_a_row_and_the_next_one_goes_on(by_process: Compare, fault: str):
    lab = Lab()
    failure = Failure(stage="measure", message="as scripted")
    if fault == "lost":
        lab.replies[6] = LOST
    elif fault == "failed":
        lab.replies[6] = lambda task: Answer(
            record=make_record(task, status=Status.BAD_NUMERICS, failure=failure), leaked_bytes=0
        )
    else:
        lab.launches[1 + 6] = RunError("no such library")

    first, second = by_process(lab, fields={"context": [8, 16]})

    statuses = {"lost": Status.TIMED_OUT, "failed": Status.BAD_NUMERICS, "not started": Status.CRASHED}
    messages = {"lost": "no answer", "failed": "as scripted", "not started": "no such library"}
    assert (first.record.status, first.record.failure.message) == (statuses[fault], messages[fault])
    assert first.record.failed_side in set(Side)
    assert len(first.record.turns) == 6
    assert second.record.status is Status.OK
    assert all(worker.is_closed for worker in lab.workers)


def test_warnings_of_turns_are_kept_once_with_their_side(by_process: Compare):
    lab = Lab()
    noisy = lambda task: Answer(record=make_record(task, warnings=("not steady",)), leaked_bytes=0)  # noqa: E731
    lab.replies |= {0: noisy, 1: noisy, 2: noisy, 3: noisy}

    (one,) = by_process(lab)

    assert sorted(one.record.warnings) == ["A: not steady", "B: not steady"]


def test_one_process_compares_all_cells_of_the_grid(compare: Compare, tmp_path: Path):
    lab = Lab()

    both = compare(lab, fields={"context": [8, 16]})

    assert len(lab.workers) == 1
    assert [(a.cell.attention, b.cell.attention) for a, b in lab.compared] == [("eager", "sdpa")] * 2
    assert both == stored(tmp_path)
    assert len({one.record.run_started_at for one in both}) == 1


def test_each_comparison_is_stored_before_the_next_one_begins(compare: Compare, tmp_path: Path):
    watch = Watch()
    watch.folder = tmp_path

    compare(Lab(), fields={"context": [8, 16, 32]}, observer=watch)

    assert watch.stored == [1, 2, 3]
    assert watch.seconds is None


def leaking(record: PairRecord) -> PairAnswer:
    return PairAnswer(record=record, leaked_bytes=2**30)


def failing(record: PairRecord) -> PairAnswer:
    failure = Failure(stage="build", message="A and B do not fit together")
    return PairAnswer(record=replace(record, status=Status.OUT_OF_MEMORY, failure=failure), leaked_bytes=0)


@pytest.mark.parametrize("reply", [leaking, failing, LOST])
def test_a_process_that_is_not_as_it_was_is_replaced(compare: Compare, reply: Any):
    lab = Lab()
    lab.replies[0] = reply

    first, second = compare(lab, fields={"context": [8, 16]})

    assert len(lab.workers) == 2
    assert lab.workers[0].is_closed
    assert (first.record.status is Status.OK) == (reply is leaking)
    assert second.record.status is Status.OK


def test_a_lost_process_is_a_row_of_both(compare: Compare):
    lab = Lab()
    lab.replies[0] = LOST

    (one,) = compare(lab)

    assert (one.record.status, one.record.failure, one.record.failed_side) == (Status.TIMED_OUT, LOST.failure, None)


@pytest.mark.parametrize("pairing", Pairing)
def test_an_interrupt_leaves_what_was_stored_and_no_process(compare: Compare, tmp_path: Path, pairing: Pairing):
    lab = Lab()
    lab.replies[1 if pairing is Pairing.TOGETHER else 25] = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        compare(lab, pairing=pairing, fields={"context": [8, 16]})

    assert len(stored(tmp_path)) == 1
    assert all(worker.is_closed for worker in lab.workers)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"places": (A_PLACE, Place())}, "but both share one process: use --pair process"),
        ({"plan": PairPlan(max_pairs=9, max_seconds=1.0)}, "max_pairs is 9; it is an even number from 8"),
        ({"timeout": float("nan")}, "timeout nan is not a positive time"),
        ({"block_seconds": 0.0}, "block_seconds is 0.0; it is a number above 0"),
        ({"pairing": Pairing.PROCESS, "places": (Place(project="/nowhere"), Place())}, "'/nowhere' is not a folder"),
        ({"pairing": Pairing.PROCESS, "places": (Place(), Place(python="/no/py"))}, "'/no/py' is not a program"),
    ],
)
def test_a_wrong_request_starts_no_process(compare: Compare, options: dict[str, Any], part: str):
    lab = Lab()

    with pytest.raises(SpecError) as caught:
        compare(lab, **options)

    assert part in str(caught.value)
    assert lab.workers == []


def test_sides_on_two_devices_are_refused(by_process: Compare):
    lab = Lab(environments={A_PLACE: GPU, B_PLACE: CPU})

    with pytest.raises(SpecError, match="device 'auto' is cuda:0 for A and cpu for B"):
        by_process(lab, places=(A_PLACE, B_PLACE))


@pytest.mark.parametrize("pairing", Pairing)
def test_a_store_that_cannot_be_made_is_refused_before_anything_is_compared(
    compare: Compare, tmp_path: Path, pairing: Pairing
):
    lab = Lab()
    (tmp_path / "store").symlink_to("no/such/folder")

    with pytest.raises(StoreError, match="cannot make the store folder"):
        compare(lab, pairing=pairing, store=tmp_path / "store")

    assert (lab.compared, lab.blocks) == ([], [])


def test_files_that_name_two_devices_are_refused(tmp_path: Path):
    a, b = side("eager", device="cpu"), side("sdpa", device="cuda")

    with pytest.raises(SpecError, match="A asks for device 'cpu' and B for 'cuda:0': name one device"):
        compare_sweeps(a, b, plan=PairPlan(max_pairs=8, max_seconds=1.0), store=tmp_path, launch=Lab().launch)


def test_matched_tasks_are_compared_in_one_worker_as_one_run_without_their_counts(tmp_path: Path):
    lab = Lab()
    sweeps = (
        make_sweep({"kind": "attention", "seq": [8, 16], "backend": one, "steps": 7}) for one in ("eager", "sdpa")
    )
    pairs = tuple(zip(*(sweep.expand("cpu") for sweep in sweeps), strict=True))

    done = compare_tasks(pairs, plan=PairPlan(max_pairs=8, max_seconds=1.0), store=tmp_path, launch=lab.launch)

    assert len(lab.workers) == 1
    assert [(a.cell.context_length, b.cell.attention) for a, b in lab.compared] == [(8, "sdpa"), (16, "sdpa")]
    assert {task.plan for pair in lab.compared for task in pair} == {MeasurePlan(cache="cold")}
    assert len({one.record.run_started_at for one in done}) == 1
    assert len(stored(tmp_path)) == 2


def test_no_tasks_to_compare_need_no_worker(tmp_path: Path):
    lab = Lab()

    assert compare_tasks((), plan=PairPlan(max_pairs=8, max_seconds=1.0), store=tmp_path, launch=lab.launch) == ()
    assert not lab.workers


def test_matched_tasks_of_two_places_are_compared_by_processes_that_take_turns(tmp_path: Path):
    lab, task = Lab(), make_task()
    places = (Place(), Place(project=str(tmp_path)))

    (done,) = compare_tasks(
        [(task, task)],
        plan=PairPlan(max_pairs=8, max_seconds=1.0),
        places=places,
        block_seconds=0.5,
        store=tmp_path,
        launch=lab.launch,
    )

    assert done.record.pairing is Pairing.PROCESS
    assert done.record.block_seconds == 0.5
    assert (done.record.a.project, done.record.b.project) == (None, str(tmp_path))


def test_matched_tasks_of_a_place_that_is_not_there_start_no_process(tmp_path: Path):
    lab, plan = Lab(), PairPlan(max_pairs=8, max_seconds=1.0)

    with pytest.raises(SpecError, match="'/nowhere' is not a folder"):
        compare_tasks(
            [(make_task(), make_task())],
            plan=plan,
            places=(Place(), Place(project="/nowhere")),
            store=tmp_path,
            launch=lab.launch,
        )
