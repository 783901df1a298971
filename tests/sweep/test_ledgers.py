"""How ledgers are asked for and stored: with a fake worker, and one real one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory import CPU, GPU, TINY
from ledgers import make_ledger
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store
from windtunnel.spec.cell import Cell
from windtunnel.spec.sweep import Sweep, make_sweep
from windtunnel.sweep.launch import WorkerLostError, WorkerProcess
from windtunnel.sweep.ledgers import cells_of, look_at_cells

SHAPE = {"d_model": 32, "layers": 1, "heads": 2, "vocab": 11, "context": 8, "batch": 1, "device": "cpu"}


def sweep_of(**fields: object) -> Sweep:
    sweep = make_sweep({**SHAPE, **fields})
    assert isinstance(sweep, Sweep)
    return sweep


class FakeWorker:
    """Answers with a ledger of the cell, or is lost in the cell of one seed."""

    def __init__(self, environment: Environment = CPU, lost: str = "") -> None:
        self.asked: list[Cell] = []
        self.closed = False
        self._environment = environment
        self._lost = lost

    def describe(self, device: str) -> Environment:
        if device == "cuda:7":
            raise SpecError("device 'cuda:7' is not there")
        return self._environment

    def look_at_memory(
        self, cell: Cell, *, snapshot: Path | None, timeout: float, on_stage: Callable[[str], None]
    ) -> MemoryLedger:
        on_stage("build")
        self.asked.append(cell)
        if cell.workload == self._lost:
            raise WorkerLostError(Status.CRASHED, Failure(stage="build", message="the worker was killed by SIGKILL"))
        return make_ledger(cell=cell)

    def close(self) -> None:
        self.closed = True


def look(
    sweep: Sweep, folder: Path, *workers: FakeWorker, told: list[str] | None = None
) -> tuple[StoredLook[MemoryLedger], ...]:
    waiting = list(workers)

    def note(cell: Cell, stage: str) -> None:
        if told is not None:
            told.append(f"{cell.workload} {stage}")

    with open_store(folder) as store:
        return look_at_cells(sweep, store=store, timeout=5, on_stage=note, launch=lambda: waiting.pop(0))


def test_each_cell_is_looked_at_in_a_process_of_its_own_and_stored(tmp_path: Path):
    workers, told = (FakeWorker(), FakeWorker()), []

    made = look(sweep_of(mode=["forward", "train_step"]), tmp_path, *workers, told=told)

    assert [one.look.cell.workload for one in made] == ["forward", "train_step"]
    assert [len(worker.asked) for worker in workers] == [1, 1]
    assert all(worker.closed for worker in workers)
    assert told == ["forward build", "train_step build"]
    with open_store(tmp_path) as store:
        assert store.looks(MemoryLedger) == made


def test_how_a_cell_is_measured_makes_no_other_ledger():
    sweep = sweep_of(mode="forward", warmup=[0, 5], processes=3)

    assert len(cells_of(sweep)) == 1


def test_the_cell_is_that_of_the_device_there(tmp_path: Path):
    (made,) = look(sweep_of(mode="forward"), tmp_path, FakeWorker(GPU))

    assert made.look.cell.device == "cuda:0"
    assert made.environment == GPU


def test_a_worker_that_is_lost_makes_a_ledger_of_its_failure_and_the_others_go_on(tmp_path: Path):
    workers = [FakeWorker(lost="forward") for _ in range(2)]

    lost, other = look(sweep_of(mode=["forward", "train_step"]), tmp_path, *workers)

    assert (lost.look.status, lost.look.failure.message) == (Status.CRASHED, "the worker was killed by SIGKILL")
    assert (lost.look.cell.workload, len(lost.look.allocations)) == ("forward", 0)
    assert other.look.status is Status.OK


def test_a_device_that_is_not_there_is_refused_and_the_worker_ended(tmp_path: Path):
    worker = FakeWorker()

    with pytest.raises(SpecError, match="is not there"):
        look(sweep_of(mode="forward", device="cuda:7"), tmp_path, worker)

    assert worker.closed
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_refused_before_a_step_runs(tmp_path: Path):
    worker = FakeWorker()
    (tmp_path / "store").symlink_to("no/such/folder")

    with pytest.raises(StoreError, match="cannot make the store folder"):
        look(sweep_of(mode="forward"), tmp_path / "store", worker)

    assert (worker.asked, worker.closed) == ([], True)


def test_a_real_worker_makes_a_ledger_and_tells_its_stages():
    worker, told = WorkerProcess(), []
    cell = Cell(model=TINY, workload="forward_backward", batch_size=1, context_length=8, device="cpu")

    try:
        ledger = worker.look_at_memory(cell, snapshot=None, timeout=100, on_stage=told.append)
    finally:
        worker.close()

    assert (ledger.status, ledger.cell) == (Status.OK, cell)
    assert told == list(ledger.stages) == ["build", "warmup", "look", "attribute"]
