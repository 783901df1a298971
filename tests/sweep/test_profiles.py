"""How profiles are asked for and stored: with a fake worker, a fake nsys, and one real worker."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from factory import CPU, GPU
from profiles import make_profile
from windtunnel.analysis.profile import ProfileView
from windtunnel.errors import SpecError, StoreError, UnsupportedError
from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.profile import Profile, Unit
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store
from windtunnel.report.sections.profile.tables import instruments_table
from windtunnel.spec.cell import Cell
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep.launch import WorkerLostError, WorkerProcess
from windtunnel.sweep.ledgers import cells_of
from windtunnel.sweep.nsys import find_nsys, profile_with_nsys
from windtunnel.sweep.profiles import profile_cells

SHAPE = {"d_model": 32, "layers": 1, "heads": 2, "vocab": 11, "context": 8, "batch": 1}


def cells_for(**fields: object) -> Sequence[Cell]:
    sweep = make_sweep({**SHAPE, **fields})
    assert isinstance(sweep, Sweep)
    return cells_of(sweep)


class FakeWorker:
    """Answers with a profile of the cell, or is lost in cells of one workload."""

    def __init__(self, environment: Environment = CPU, lost: str = "") -> None:
        self.closed = False
        self.traces: list[Path | None] = []
        self._environment = environment
        self._lost = lost

    def describe(self, device: str) -> Environment:
        if device == "cuda:7":
            raise SpecError("device 'cuda:7' is not there")
        return self._environment

    def look_at_profile(
        self, cell: Cell, *, steps: int, trace: Path | None, timeout: float, on_stage: Callable[[str], None]
    ) -> Profile:
        on_stage("build")
        self.traces.append(trace)
        if cell.workload == self._lost:
            raise WorkerLostError(Status.CRASHED, Failure(stage="build", message="the worker was killed by SIGKILL"))
        return make_profile(cell)

    def close(self) -> None:
        self.closed = True


def profile(
    cells: Sequence[Cell], folder: Path, launch: Callable[[], Any], device: str = "cpu", steps: int = 1
) -> tuple[StoredLook[Profile], ...]:
    with open_store(folder) as store:
        return profile_cells(
            cells, device=device, store=store, steps=steps, timeout=100, on_stage=lambda *_: None, launch=launch
        )


def test_each_cell_has_a_process_of_its_own_and_its_profile_is_stored(tmp_path: Path):
    workers: list[FakeWorker] = []

    def launch() -> FakeWorker:
        workers.append(FakeWorker())
        return workers[-1]

    made = profile(cells_for(mode=["forward", "train_step"]), tmp_path, launch)

    assert [one.closed for one in workers] == [True, True]
    with open_store(tmp_path) as store:
        assert store.looks(Profile) == made


def test_a_worker_that_is_lost_is_a_profile_of_its_failure_and_the_rest_goes_on(tmp_path: Path):
    made = profile(cells_for(mode=["forward", "train_step"]), tmp_path, lambda: FakeWorker(lost="forward"))

    assert [one.look.status for one in made] == [Status.CRASHED, Status.OK]
    assert made[0].look.failure is not None
    assert "SIGKILL" in made[0].look.failure.message


def test_a_device_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="not there"):
        profile(cells_for(), tmp_path, FakeWorker, device="cuda:7")

    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_refused_before_a_step_runs(tmp_path: Path):
    worker = FakeWorker()
    (tmp_path / "store").symlink_to("no/such/folder")

    with pytest.raises(StoreError, match="cannot make the store folder"):
        profile(cells_for(), tmp_path / "store", lambda: worker)

    assert (worker.traces, worker.closed) == ([], True)


def test_the_latest_profile_of_a_cell_counts_and_other_tools_can_query_kernels(tmp_path: Path):
    profile(cells_for(mode="train_step"), tmp_path, FakeWorker)
    profile(cells_for(mode="train_step"), tmp_path, FakeWorker)

    with open_store(tmp_path) as store:
        assert len(store.looks(Profile)) == 1
        rows = store._connection.execute(
            "SELECT part, sum(nanoseconds) FROM look_kernels WHERE look_id = 2 GROUP BY part ORDER BY part"
        ).fetchall()
    assert rows == [
        ("feed-forward", 40_000),
        ("optimizer", 20_000),
        ("scores", 20_000),
        ("softmax", 60_000),
        ("weighted sum", 20_000),
    ]


def test_a_real_worker_profiles_a_step_with_its_trace(tmp_path: Path):
    (cell,) = cells_for(mode="forward")
    worker = WorkerProcess()
    try:
        own = cell.model_copy(update={"device": "cpu"})
        stages: list[str] = []
        made = worker.look_at_profile(
            own, steps=2, trace=tmp_path / "step.json.gz", timeout=100, on_stage=stages.append
        )
    finally:
        worker.close()

    assert made.status is Status.OK, made.failure
    assert made.unit is Unit.OPERATORS
    assert len(made.steps) == 2
    assert made.trace == "step.json.gz"
    assert (tmp_path / "step.json.gz").stat().st_size > 0
    assert stages == ["build", "warmup", "instruments", "profile", "attribute"]
    assert made.instruments
    assert made.stopwatch


def test_a_cell_that_cannot_be_built_is_a_profile_of_its_failure(tmp_path: Path):
    made = profile(cells_for(precision="tf32", mode="forward"), tmp_path, WorkerProcess)

    assert made[0].look.status is Status.UNSUPPORTED


def test_nsys_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(UnsupportedError, match=r"not on the PATH; install NVIDIA Nsight Systems.*--import report"):
        find_nsys()


class FakeNsys:
    """Does what nsys and the program do, in it or without it, or fails; keeps what it was asked."""

    def __init__(self, answer: dict[str, Any], export: Path | None = None, code: int = 0) -> None:
        self.calls: list[Sequence[str]] = []
        self._answer = answer
        self._export = export
        self._code = code

    def __call__(self, call: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.calls.append(call)
        if self._answer and call[1] != "export":
            steps = json.loads(Path(call[-2]).read_text())
            seconds = {"seconds": [0.11, 0.22, 0.13] if steps["is_captured"] else [0.1, 0.1, 0.2]}
            Path(call[-1]).write_text(json.dumps(self._answer | seconds))
        if call[1] == "export" and self._export:
            target = next(flag.partition("=")[2] for flag in call if flag.startswith("--output="))
            Path(target).write_bytes(self._export.read_bytes())
        return subprocess.CompletedProcess(call, self._code if "nsys" in call[0] else 0, "what nsys printed", "")


def with_nsys(run: FakeNsys, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setattr("windtunnel.sweep.nsys.describe_device", lambda _: GPU)
    with open_store(folder) as store:
        (made,) = profile_with_nsys(
            cells_for(mode="forward"),
            device="cuda",
            store=store,
            steps=2,
            timeout=9,
            on_stage=lambda *_: None,
            program="nsys",
            run=run,
        )
        assert store.looks(Profile) == (made,)
    return made.look


def test_nsys_captures_measured_steps_only_and_its_export_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from nsys_exports import forward_pass_export

    export = forward_pass_export(tmp_path)
    export.version("META_DATA_EXPORT", "2025.4.1")
    run = FakeNsys({"status": "ok"}, export.done())

    made = with_nsys(run, tmp_path, monkeypatch)

    captures = [call for call in run.calls if call[1] == "profile"]
    assert {"--capture-range=cudaProfilerApi", "--capture-range-end=stop", "--trace=cuda,nvtx"} <= set(captures[0])
    assert made.source == "nsys 2025.4.1"
    assert made.cell is not None
    assert len(made.work) == 2


def test_what_nsys_costs_is_measured_in_pairs_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from nsys_exports import forward_pass

    run = FakeNsys({"status": "ok"}, forward_pass(tmp_path))

    made = with_nsys(run, tmp_path, monkeypatch)

    *processes, export = run.calls
    assert export[1] == "export"
    is_watched = [call[1] == "profile" for call in processes]
    assert [sorted(is_watched[place : place + 2]) for place in (0, 2, 4)] == [[False, True]] * 3
    (cost,) = ProfileView(made).costs
    assert (cost.name, cost.pairs, cost.ratio) == ("nsys", 3, pytest.approx(1.3))
    assert made.stopwatch == (0.1, 0.1, 0.2) * 3
    table = instruments_table(ProfileView(made))
    assert table is not None
    assert "in pairs of processes" in table.note


@pytest.mark.parametrize(
    ("run", "status", "message"),
    [
        (FakeNsys({"status": "ok"}, code=3), Status.FAILED, "nsys profile ended with exit code 3"),
        (
            FakeNsys({"status": "out of memory", "message": "9 GiB asked for"}, code=1),
            Status.OUT_OF_MEMORY,
            "9 GiB asked for",
        ),
        (FakeNsys({"status": "ok"}), Status.FAILED, "there is no such file"),
    ],
)
def test_what_fails_under_nsys_is_a_profile_of_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: FakeNsys, status: Status, message: str
):
    made = with_nsys(run, tmp_path, monkeypatch)

    assert made.status is status
    assert made.failure is not None
    assert message in made.failure.message


def test_a_process_under_nsys_that_gives_no_answer_is_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Slow(FakeNsys):
        def __call__(self, call: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
            if call[1] == "profile":
                raise subprocess.TimeoutExpired(list(call), 9)
            return super().__call__(call, **options)

    made = with_nsys(Slow({"status": "ok"}), tmp_path, monkeypatch)

    assert made.status is Status.TIMED_OUT
    assert made.failure is not None
    assert "nsys profile gave no answer within 9 s" in made.failure.message


def test_nsys_records_no_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.sweep.nsys.describe_device", lambda _: CPU)

    with open_store(tmp_path) as store, pytest.raises(SpecError, match="this is device 'cpu'"):
        profile_with_nsys(
            cells_for(), device="cpu", store=store, steps=1, timeout=9, on_stage=lambda *_: None, program="nsys"
        )  # fmt: skip

    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_refused_before_nsys_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = FakeNsys({"status": "ok"})
    (tmp_path / "store").symlink_to("no/such/folder")

    with pytest.raises(StoreError, match="cannot make the store folder"):
        with_nsys(run, tmp_path / "store", monkeypatch)

    assert run.calls == []
