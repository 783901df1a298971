"""How looks at number formats are asked for and stored: with a fake worker, and one real one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory import CPU, TINY
from precision_looks import make_look
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store
from windtunnel.spec.cell import Cell
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.sweep.launch import WorkerLostError, WorkerProcess
from windtunnel.sweep.precision_looks import look_at_formats


def request_of(precision: str) -> PrecisionRequest:
    cell = Cell(model=TINY, workload="train_step", batch_size=1, context_length=8, precision=precision, device="cuda:0")
    return PrecisionRequest(cell=cell, loss_steps=2)


class FakeWorker:
    """Answers with a look, or is lost in the cell of one precision."""

    def __init__(self, lost: str = "") -> None:
        self.asked: list[PrecisionRequest] = []
        self.closed = False
        self._lost = lost

    def describe(self, device: str) -> Environment:
        if device == "cuda:7":
            raise SpecError("device 'cuda:7' is not there")
        return CPU

    def look_at_precision(
        self, request: PrecisionRequest, *, timeout: float, on_stage: Callable[[str], None]
    ) -> PrecisionLook:
        on_stage("build")
        self.asked.append(request)
        if request.cell.precision == self._lost:
            raise WorkerLostError(Status.CRASHED, Failure(stage="build", message="the worker was killed by SIGKILL"))
        return make_look(request=request)

    def close(self) -> None:
        self.closed = True


def test_each_cell_is_looked_at_in_a_process_of_its_own_and_stored(tmp_path: Path):
    workers, told = [FakeWorker(), FakeWorker()], []
    waiting = list(workers)

    with open_store(tmp_path) as store:
        made = look_at_formats(
            [request_of("bf16"), request_of("fp16")],
            device="auto",
            store=store,
            timeout=5,
            on_stage=lambda cell, stage: told.append(f"{cell.precision} {stage}"),
            launch=lambda: waiting.pop(0),
        )
        assert store.looks(PrecisionLook) == made

    assert [one.look.request.cell.device for one in made] == ["cpu", "cpu"]
    assert [len(worker.asked) for worker in workers] == [1, 1]
    assert all(worker.closed for worker in workers)
    assert told == ["bf16 build", "fp16 build"]


def test_a_lost_worker_is_a_look_with_its_failure_and_the_next_cell_goes_on(tmp_path: Path):
    with open_store(tmp_path) as store:
        made = look_at_formats(
            [request_of("bf16"), request_of("fp16")],
            device="auto",
            store=store,
            timeout=5,
            on_stage=lambda cell, stage: None,
            launch=lambda: FakeWorker(lost="bf16"),
        )

    assert [one.look.status for one in made] == [Status.CRASHED, Status.OK]


def test_a_device_that_is_not_there_ends_it_and_the_worker(tmp_path: Path):
    worker = FakeWorker()

    with open_store(tmp_path) as store, pytest.raises(SpecError, match="cuda:7"):
        look_at_formats(
            [request_of("bf16")],
            device="cuda:7",
            store=store,
            timeout=5,
            on_stage=lambda cell, stage: None,
            launch=lambda: worker,
        )

    assert worker.closed
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_refused_before_a_step_runs(tmp_path: Path):
    worker = FakeWorker()
    (tmp_path / "store").symlink_to("no/such/folder")

    with open_store(tmp_path / "store") as store, pytest.raises(StoreError, match="cannot make the store folder"):
        look_at_formats(
            [request_of("bf16")],
            device="auto",
            store=store,
            timeout=5,
            on_stage=lambda cell, stage: None,
            launch=lambda: worker,
        )

    assert (worker.asked, worker.closed) == ([], True)


def test_a_real_worker_looks_at_formats():
    worker, told = WorkerProcess(), []
    request = request_of("fp16")
    on_cpu = request.model_copy(update={"cell": request.cell.model_copy(update={"device": "cpu"})})
    try:
        look = worker.look_at_precision(on_cpu, timeout=120, on_stage=told.append)
    finally:
        worker.close()

    assert look.status is Status.OK
    assert len(look.curves.losses) == 2
    assert told == ["build", "formats", "numerics", "loss in fp16", "loss in fp32", "loss of another seed"]
