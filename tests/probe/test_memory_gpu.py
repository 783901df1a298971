"""The look at memory on a GPU: what only its allocator can show."""

import pytest
import torch

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.records.memory_ledger import Category, MemoryLedger
from windtunnel.records.record import Status
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.sweep.memory_look import look_at_memory

pytestmark = pytest.mark.gpu

SIZE = ModelSpec(name="four", d_model=512, d_ff=2048, num_layers=4, num_heads=8, vocab_size=10_000)


def looked_at(**fields: object) -> MemoryLedger:
    shape = {"model": SIZE, "workload": "train_step", "batch_size": 4, "context_length": 256, "device": "cuda:0"}
    return look_at_memory(Cell(**shape | fields), snapshot=None, on_stage=lambda _name: None)


@pytest.mark.parametrize("workload", ["forward", "forward_backward", "train_step"])
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash-eager", "flash-triton"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_ledger_closes(workload: str, attention: str, precision: str):
    ledger = looked_at(workload=workload, attention=attention, precision=precision)

    view = LedgerView(ledger)
    assert ledger.status is Status.OK, ledger.failure
    assert ledger.warnings == ()
    assert abs(view.closing.gap_share) < 0.005
    assert view.peak.total == pytest.approx(view.closing.measured, rel=0.005)


def test_the_device_has_a_reserve_with_pieces_capacity_and_external_use():
    levels = looked_at().device

    assert levels.peak_allocated_bytes <= levels.reserved_at_peak_bytes <= levels.peak_reserved_bytes
    assert levels.fragmented_at_peak_bytes is not None
    assert levels.capacity_bytes == torch.cuda.mem_get_info()[1]
    assert levels.external_bytes > 0


def test_backward_on_its_own_thread_belongs_to_the_modules_of_forward():
    view = LedgerView(looked_at(workload="forward_backward"))

    modules = {label.module for label in view.ledger.labels if label.phase == "backward" and label.operation == "mm"}
    assert {"blocks.3.feed_forward.down_proj", "blocks.0.attention.q_proj", "head"} <= modules
    assert view.moment("before backward").by_category[Category.SCORES] >= 4 * 4 * 8 * 256 * 256 * 4


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # torch.compile recommends them
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty:UserWarning")  # torch captures one to set up its pool
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_the_ledger_of_compiled_code_closes(mode: str):
    view = LedgerView(looked_at(compile=mode))

    assert view.ledger.status is Status.OK, view.ledger.failure
    assert abs(view.closing.gap_share) < 0.005


def test_a_cell_that_runs_out_of_memory_has_its_ledger_up_to_there():
    ledger = looked_at(batch_size=64, context_length=16_384)

    assert ledger.status is Status.OUT_OF_MEMORY
    assert ledger.failure.requested_bytes > ledger.failure.free_bytes
    assert LedgerView(ledger).moment("at the failure").total > 0
