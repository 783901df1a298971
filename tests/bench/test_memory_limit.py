"""Limits on memory, on a CPU for real: this process is limited for as long as a test needs."""

import resource
import sys

import pytest
import torch

from factory import make_task
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.failing import explain_error, is_out_of_memory
from windtunnel.bench.memory_limit import left_of_limit, limited_memory
from windtunnel.errors import UnsupportedError
from windtunnel.records.record import Record, Status
from windtunnel.spec.cell import MeasurePlan, Task

CPU = torch.device("cpu")
MIB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limit is Linux's")


def probe(context_length: int, limit_bytes: int | None, **fields: object) -> Record:
    plan = MeasurePlan(warmup=1, steps=1, purpose="fit", memory_limit_bytes=limit_bytes)
    task = Task(cell=make_task(context_length=context_length, **fields).cell, plan=plan)
    record, _ = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None, with_probes=False)
    return record


def test_more_than_the_limit_is_out_of_memory_and_less_is_not():
    with limited_memory(CPU, 64 * MIB):
        torch.empty(48 * MIB, dtype=torch.uint8)
        with pytest.raises(RuntimeError) as raised:
            torch.empty(80 * MIB, dtype=torch.uint8)

    assert is_out_of_memory(raised.value)


def test_the_limit_is_gone_afterwards_also_after_an_error():
    before = resource.getrlimit(resource.RLIMIT_DATA)

    with pytest.raises(ZeroDivisionError), limited_memory(CPU, 64 * MIB):
        raise ZeroDivisionError

    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_is_left_of_a_limit_is_known_while_it_holds():
    with limited_memory(CPU, 64 * MIB):
        left = left_of_limit()

    assert left is not None
    assert 0 < left <= 64 * MIB
    assert left_of_limit() is None


def test_without_a_limit_nothing_is_limited():
    with limited_memory(CPU, None):
        assert left_of_limit() is None


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(UnsupportedError, match="needs Linux; this is darwin"), limited_memory(CPU, MIB):
        pass


def test_a_cell_beyond_its_limit_is_a_row_with_phase_request_and_what_was_free():
    record = probe(4096, 64 * MIB, batch_size=2)

    assert record.status is Status.OUT_OF_MEMORY
    assert record.failure is not None
    assert record.failure.phase == "forward"
    assert record.failure.requested_bytes is not None
    assert record.failure.free_bytes is not None
    assert record.failure.free_bytes <= 64 * MIB < record.failure.requested_bytes


def test_a_cell_within_its_limit_is_measured():
    record = probe(16, 512 * MIB, workload="train_step")

    assert (record.status, record.failure) == (Status.OK, None)
    assert [len(series.nanoseconds) for series in record.samples if series.phase == "step"] == [1]


def test_a_limit_that_cannot_be_set_makes_the_cell_unsupported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    record = probe(16, 512 * MIB)

    assert record.status is Status.UNSUPPORTED
    assert record.failure is not None
    assert "needs Linux" in record.failure.message


def test_the_numbers_of_a_probe_are_not_looked_at_as_that_takes_memory_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda self: pytest.fail("looked"))

    assert probe(16, None).status is Status.OK


def test_phases_of_a_probe_of_attention_are_not_run_in_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.bench.cell._Attempt._begin_warmup", lambda *_: pytest.fail("batched"))
    from factory import make_attention_task

    task = make_attention_task(device="cpu", seq=16, batch=1)
    plan = MeasurePlan(warmup=1, steps=1, purpose="fit")

    record, _ = measure_cell(
        Task(cell=task.cell, plan=plan),
        process=1,
        is_first_in_process=True,
        on_stage=lambda stage: None,
        with_probes=False,
    )

    assert (record.status, record.calls_per_sample) == (Status.OK, 1)


LIMITED = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.81 GiB of which 100.00 GiB is "
    "free. Process 1 has 22.50 GiB memory in use. 24.00 GiB allowed; Of the allocated memory 22.00 GiB is allocated by "
    "PyTorch, with 1.00 GiB allocated in private pools (e.g., CUDA Graphs), and 512.00 MiB is reserved by PyTorch but "
    "unallocated."
)


def test_under_a_limit_on_cuda_what_was_free_is_what_the_limit_left():
    _, failure = explain_error(torch.OutOfMemoryError(LIMITED), stage="measure", phase="forward", device="cuda:0")

    assert failure.requested_bytes == 2 * 2**30
    assert failure.free_bytes == 2**30 + 2**29


def test_without_a_limit_on_cuda_it_is_what_the_device_had():
    text = LIMITED.replace("24.00 GiB allowed; ", "")

    _, failure = explain_error(torch.OutOfMemoryError(text), stage="measure", phase="forward", device="cuda:0")

    assert failure.free_bytes == 100 * 2**30


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "Triton Error [CUDA]: out of memory",
        "std::bad_alloc",
    ],
)
def test_libraries_that_run_out_of_memory_beside_the_allocator_are_out_of_memory(text: str):
    assert is_out_of_memory(RuntimeError(text))
