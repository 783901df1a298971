"""The look at memory: planted tensors land where they belong, and the ledger closes."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.residuals import residuals
from windtunnel.probe.allocation_log import HostAllocationLog
from windtunnel.probe.memory import MemoryLook
from windtunnel.records.memory_ledger import Category, MemoryLedger
from windtunnel.records.record import Status
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.sweep.memory_look import look_at_memory

CPU = torch.device("cpu")
MIB = 2**20

TINY = ModelSpec(name="tiny", d_model=32, d_ff=64, num_layers=2, num_heads=2, vocab_size=101)


def looked_at(**fields: object) -> MemoryLedger:
    """Return the ledger of a tiny cell."""
    shape = {"model": TINY, "workload": "train_step", "batch_size": 3, "context_length": 24, "device": "cpu"}
    return look_at_memory(Cell(**shape | fields), snapshot=None, on_stage=lambda _name: None)


@pytest.fixture(scope="module")
def eager() -> LedgerView:
    return LedgerView(looked_at())


@pytest.mark.parametrize("workload", ["forward", "forward_backward", "train_step"])
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash-eager"])
def test_the_ledger_closes(workload: str, attention: str):
    ledger = looked_at(workload=workload, attention=attention)

    closing = LedgerView(ledger).closing
    assert ledger.status is Status.OK
    assert LedgerView(ledger).peak.total == closing.measured
    assert closing.gap <= 64  # the numbers of Python that PyTorch wraps before an operation begins


@pytest.mark.parametrize("precision", ["bf16", "fp16", "bf16-pure"])
def test_the_ledger_closes_in_other_formats(precision: str):
    view = LedgerView(looked_at(precision=precision))

    assert view.peak.total == view.closing.measured
    assert view.closing.gap <= 64
    assert not any(label.category is Category.KEPT for label in view.ledger.labels)


def test_parameters_gradients_and_states_are_as_large_as_the_model(eager: LedgerView):
    parameters = 2 * 101 * 32 + 32 + 2 * (2 * 32 + 4 * 32 * 32 + 3 * 32 * 64)
    end = eager.moment("after the step").by_category

    assert end[Category.PARAMETERS] == end[Category.GRADIENTS] == 4 * parameters
    assert end[Category.OPTIMIZER] - 8 * parameters in range(4 * 100)  # and a count of steps for each tensor
    assert end[Category.INPUTS] == 2 * 3 * 24 * 8
    assert end[Category.BUFFERS] == 2 * 24 * 16 * 4


def test_what_is_kept_for_backward_is_what_autograd_saved(eager: LedgerView):
    """Scores before softmax are not needed; the probabilities are, one matrix a block, and the mask."""
    scores = eager.moment("before backward").by_category[Category.SCORES]

    assert scores - 2 * 3 * 2 * 24 * 24 * 4 in range(2 * 24 * 24 + 1)


def test_scores_are_told_from_other_tensors_where_heads_are_as_wide_as_the_context_is_long():
    model = TINY.model_copy(update={"num_heads": 2, "d_model": 48})
    view = LedgerView(looked_at(model=model, context_length=24, workload="forward_backward"))

    scores = {label.operation for label in view.ledger.labels if label.category is Category.SCORES}

    assert view.moment("before backward").by_category[Category.SCORES] - 2 * 3 * 2 * 24 * 24 * 4 in range(2 * 577)
    assert {"bmm", "_softmax"} <= scores
    assert not scores & {"clone", "mm", "transpose", "cat", "roll"}


def test_fused_attention_has_no_scores():
    view = LedgerView(looked_at(attention="sdpa"))

    assert not any(label.category is Category.SCORES for label in view.ledger.labels)


def test_logits_and_loss_are_named(eager: LedgerView):
    logits = 3 * 24 * 101 * 4

    assert eager.moment("forward peak").by_category.get(Category.LOGITS, 0) in {0, logits}
    assert eager.moment("loss peak").by_category[Category.LOGITS] - 2 * logits in range(64)


def test_each_block_keeps_the_same(eager: LedgerView):
    event = eager.moment("before backward").event

    held = eager.held_by(event, lambda label: (label.block, label.category is Category.ACTIVATIONS))

    assert held["blocks.0", True] == held["blocks.1", True] > 0


def test_backward_belongs_to_the_module_of_its_forward(eager: LedgerView):
    modules = {label.module for label in eager.ledger.labels if label.phase == "backward" and label.operation == "mm"}

    assert {"blocks.1.feed_forward.down_proj", "blocks.0.attention.q_proj", "head"} <= modules


def test_the_residuals_of_a_block_name_operation_tensor_and_reader(eager: LedgerView):
    found = residuals(eager)

    (silu,) = [tensor for tensor in found.tensors if tensor.label.operation == "silu"]
    assert (silu.label.tensor, silu.size) == ("3x24x64 float32", 3 * 24 * 64 * 4)
    assert silu.label.saved_for == ("mul",)
    assert silu.remedies == ("fusing", "checkpointing")
    handed_on = [tensor for tensor in found.tensors if tensor.label.is_block_output]
    assert [tensor.size for tensor in handed_on] == [3 * 24 * 32 * 4]
    assert found.removed_by("checkpointing") == found.total - 3 * 24 * 32 * 4


def test_casts_of_parameters_are_told_from_activations():
    casts = LedgerView(looked_at(precision="bf16")).moment("before backward").by_category[Category.CASTS]

    assert casts >= 2 * 2 * (4 * 32 * 32 + 3 * 32 * 64)


def test_the_site_is_the_line_of_forward(eager: LedgerView):
    sites = {label.site for label in eager.ledger.labels if label.operation == "silu"}

    assert sites
    assert all(site.startswith("windtunnel/models/feed_forward.py:") for site in sites)


GHOSTS = """
import torch
from windtunnel.attention import eager

KEPT = []


def attend(q, k, v, *, is_causal):
    if not KEPT:
        KEPT.append(torch.zeros(26_214_400))  # line 10
    return eager.attend(q, k, v, is_causal=is_causal)


def hungry(q, k, v, *, is_causal):
    torch.empty(2**50, dtype=torch.uint8)
"""


@pytest.fixture
def ghosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a module that keeps what it should not, and asks for what is not there, where it is found."""
    path = tmp_path / "ghosts_of_memory.py"
    path.write_text(GHOSTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return path


def test_a_tensor_that_somebody_keeps_is_named_with_its_line(ghosts: Path):
    view = LedgerView(looked_at(attention="ghosts_of_memory:attend"))

    (kept,) = view.kept
    assert (kept.site, kept.size) == ("ghosts_of_memory.py:10 in attend", 100 * MIB)
    assert view.peak.by_category[Category.KEPT] >= 100 * MIB


def test_a_cell_that_runs_out_of_memory_has_its_ledger_up_to_there(ghosts: Path):
    ledger = looked_at(attention="ghosts_of_memory:hungry")

    view = LedgerView(ledger)
    assert ledger.status is Status.OUT_OF_MEMORY
    assert (ledger.failure.stage, ledger.failure.phase, ledger.failure.requested_bytes) == ("warmup", "forward", 2**50)
    assert ledger.failure.free_bytes > 0
    assert [span.name for span in ledger.phases] == ["forward"]
    assert view.peak.by_category[Category.PARAMETERS] > 0
    assert view.moment("at the failure").total > view.moment("after building").total


def test_a_cell_that_cannot_be_built_has_a_ledger_of_its_failure():
    ledger = looked_at(attention="no_such_module:attend")

    assert (ledger.status, ledger.failure.stage, ledger.built) == (Status.UNSUPPORTED, "build", None)
    assert LedgerView(ledger).moments == ()


def test_attention_alone_is_refused():
    ledger = looked_at(model=AttentionSpec(num_heads=2, d_head=16), workload="attention_forward")

    assert ledger.status is Status.UNSUPPORTED
    assert "has no memory ledger; those of whole models have" in ledger.failure.message


class Planted(nn.Module):
    """Two blocks, each a product and a pointwise operation of known size, and an attention with scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(64, 64, bias=False)
        self.self_attn = Scores()

    def forward(self, x: Tensor) -> Tensor:
        return self.self_attn(self.proj(x)).exp()


class Scores(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x @ x.mT, -1) @ x


def planted_look(step: Callable[[MemoryLook, nn.Module, Tensor], None]) -> LedgerView:
    """Return the view of a step that a test runs by itself."""
    look = MemoryLook(CPU, context_length=100)
    with look:
        model, x = Planted(), torch.randn(2, 100, 64)

        def held() -> Mapping[Category, Sequence[Tensor]]:
            return {Category.PARAMETERS: tuple(model.parameters()), Category.INPUTS: (x,)}

        look.mark_built(model, held)
        look.begin_step()
        step(look, model, x)
        look.end_step(lambda: model.zero_grad())
        found = look.finish()
    made = found.attributed
    return LedgerView(
        MemoryLedger(
            cell=None,
            status=Status.OK,
            failure=None,
            started_at="",
            is_watched=True,
            num_events=found.num_events,
            built=made.built,
            phases=made.phases,
            allocations=made.allocations,
            labels=made.labels,
            device=found.device,
        )
    )


def test_planted_tensors_land_in_their_category_block_and_operation():
    def step(look: MemoryLook, model: nn.Module, x: Tensor) -> None:
        with look.phase("forward"):
            y = model(x)
        with look.phase("backward"):
            y.sum().backward()

    view = planted_look(step)

    event = view.moment("before backward").event
    held = view.held_by(event, lambda label: (label.category, label.block, label.operation))
    rows = 2 * 100 * 64 * 4
    for block in ("layers.0", "layers.1"):
        assert held[Category.SCORES, block, "_softmax"] == 2 * 100 * 100 * 4
        assert held[Category.ACTIVATIONS, block, "mm"] == rows
    assert held[Category.ACTIVATIONS, "layers.0", "exp"] == rows
    assert held[Category.PARAMETERS, "", "empty"] == 2 * 64 * 64 * 4
    assert view.closing.measured == view.peak.total


def test_a_model_of_somebody_else_has_blocks_and_scores_too():
    def step(look: MemoryLook, model: nn.Module, x: Tensor) -> None:
        with look.phase("forward"), torch.no_grad():
            model(x)

    view = planted_look(step)

    assert {label.block for label in view.ledger.labels} == {"", "layers.0", "layers.1"}
    assert {label.operation for label in view.ledger.labels if label.category is Category.SCORES} == {"bmm", "_softmax"}


def test_checkpointing_is_seen_as_activations_that_are_computed_again():
    def step(look: MemoryLook, model: nn.Module, x: Tensor) -> None:
        with look.phase("forward"):
            y = x.requires_grad_()
            for layer in model.layers:
                y = checkpoint(layer, y, use_reentrant=False)
        with look.phase("backward"):
            y.sum().backward()

    view = planted_look(step)

    held = view.held_by(view.moment("before backward").event, lambda label: (label.category, label.operation))
    rows = 2 * 100 * 64 * 4
    assert {key: size for key, size in held.items() if key[0] in {Category.ACTIVATIONS, Category.SCORES}} == {
        (Category.ACTIVATIONS, "exp"): 2 * rows
    }
    kept = [label for label in view.ledger.labels if label.category is Category.ACTIVATIONS]
    again = {label.operation for label in kept if label.phase == "backward"}
    assert {"mm", "exp"} <= again


def test_the_snapshot_is_what_the_public_viewer_reads(tmp_path: Path):
    path = tmp_path / "step.pickle"
    cell = Cell(model=TINY, workload="forward", batch_size=1, context_length=8, device="cpu")

    ledger = look_at_memory(cell, snapshot=path, on_stage=lambda _name: None)

    snapshot = pickle.loads(path.read_bytes())
    (trace,) = snapshot["device_traces"]
    sizes = sum({"alloc": 1, "free_requested": -1, "free_completed": 0}[one["action"]] * one["size"] for one in trace)
    assert sizes == sum(segment["allocated_size"] for segment in snapshot["segments"])
    assert any("transformer.py" in frame["filename"] for one in trace for frame in one["frames"])
    assert ledger.snapshot == "step.pickle"
    assert torch.cuda._memory_viz.trace(snapshot)


def test_a_snapshot_that_cannot_be_written_is_a_warning_and_the_ledger_is_kept(tmp_path: Path):
    cell = Cell(model=TINY, workload="forward", batch_size=1, context_length=8, device="cpu")

    ledger = look_at_memory(cell, snapshot=tmp_path, on_stage=lambda _name: None)

    assert ledger.phases
    assert ledger.snapshot is None
    assert ledger.warnings == ("the snapshot could not be written: Is a directory",)


def test_marks_stand_between_the_events_around_them():
    log = HostAllocationLog()
    log.start()
    first = torch.empty(1000)
    mark = log.mark()
    second = torch.empty(2000)
    del first
    events = log.stop()

    del second
    assert [(event.size, event.mark > mark) for event in events[:3]] == [(4000, False), (8000, True), (-4000, True)]


def test_nothing_is_left_behind_by_a_look():
    before = torch.nn.modules.module._global_forward_hooks.copy()

    looked_at(workload="forward")

    assert torch.nn.modules.module._global_forward_hooks == before


@pytest.mark.compile
@pytest.mark.parametrize("workload", ["forward", "train_step"])
def test_the_ledger_of_compiled_code_closes_by_owners_and_lifetimes(workload: str):
    view = LedgerView(looked_at(workload=workload, compile="default"))

    assert view.ledger.status is Status.OK, view.ledger.failure
    assert not view.ledger.is_watched
    assert view.peak.total == view.closing.measured
    assert view.closing.gap <= 64
    assert not {label.category for label in view.ledger.labels} & {Category.SCORES, Category.KEPT}
    if workload == "train_step":
        assert view.moment("before backward").by_category[Category.ACTIVATIONS] > 0
