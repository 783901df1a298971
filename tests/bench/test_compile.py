"""Cells under torch.compile: compiled as asked, or a failure, and never eager in silence."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from factory import TINY, make_task
from windtunnel.attention import eager
from windtunnel.bench.build import build_workload
from windtunnel.bench.cell import measure_cell
from windtunnel.records.record import ColdCause, Record, Status

pytestmark = pytest.mark.compile

# Dynamo's objects too, not only torch's: or each cell's collections take a second.
gc.collect()
gc.freeze()

ONE_LAYER = TINY.model_copy(update={"num_layers": 1})


def measure(on_stage: Callable[[str], None] = lambda stage: None, **fields: Any) -> Record:
    chosen = {"size": ONE_LAYER, "context_length": 5, "warmup": 1, "steps": 2, "compile": "default"} | fields
    record, _ = measure_cell(make_task(**chosen), process=1, is_first_in_process=True, on_stage=on_stage)
    return record


@pytest.fixture
def eager_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Dynamo trace as ever, and run its graphs without generating code: that takes seconds each."""
    compile_model = torch.compile

    def traced_only(model: torch.nn.Module, *, mode: str, fullgraph: bool) -> Callable[[Tensor], Tensor]:
        return compile_model(model, backend="eager", fullgraph=fullgraph)

    monkeypatch.setattr(torch, "compile", traced_only)


def step_logits(compile_mode: str, seen: list[Tensor], **fields: Any) -> Tensor:
    task = make_task(size=TINY, context_length=5, compile=compile_mode, **fields)
    workload = build_workload(task.cell)
    workload.reset()
    for phase in workload.phases:
        phase.run()
    return seen[-1]


@pytest.fixture(scope="module")
def compiled() -> Record:
    """One cell with the real compiler; its record is what several tests look at."""
    return measure(workload="train_step")


def test_a_compiled_cell_is_measured(compiled: Record):
    assert (compiled.status, compiled.failure) == (Status.OK, None)
    assert {len(series.nanoseconds) for series in compiled.samples} == {2}


def test_compiling_is_a_stage_of_its_own_before_the_warm_up(compiled: Record):
    assert list(compiled.stages) == ["build", "compile", "warmup", "measure", "clean"]
    assert compiled.stages["compile"] > compiled.stages["measure"]


def test_the_time_of_compiling_by_dynamos_own_count_is_within_its_stage(compiled: Record):
    """The rest of the stage is importing Dynamo and running the step."""
    assert 0 < compiled.cold_causes[ColdCause.COMPILE] < compiled.stages["compile"]


def test_nothing_is_compiled_again_in_the_samples(compiled: Record):
    assert compiled.warnings == ()


@pytest.mark.usefixtures("eager_compiler")
def test_the_model_is_one_graph():
    measure()

    assert counters["stats"]["unique_graphs"] == 1
    assert sum(counters["graph_break"].values()) == 0


def test_the_compiled_model_computes_what_the_eager_one_does(built):
    plain = step_logits("off", built.logits)

    compiled = step_logits("default", built.logits)

    assert built.logits[0] is not compiled
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("eager_compiler")
def test_more_shapes_in_a_row_than_dynamo_recompiles_stay_compiled():
    """Its limit is 8 for the same code, and 2 here to save time; each cell starts anew."""
    with torch._dynamo.config.patch(recompile_limit=2):
        records = [measure(context_length=length, warmup=0, steps=1) for length in range(3, 8)]

    assert [(record.status, record.warnings) for record in records] == [(Status.OK, ())] * 5


@pytest.mark.usefixtures("eager_compiler")
def test_a_graph_break_is_a_failure(own_attention):
    @torch.compiler.disable
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return eager.attend(q, k, v, is_causal=is_causal)

    record = measure(attention=own_attention(attend))

    assert (record.status, record.failure.stage, record.failure.phase) == (Status.FAILED, "compile", "forward")
    assert record.samples == ()


@pytest.mark.usefixtures("eager_compiler")
def test_attention_that_looks_at_its_numbers_is_a_failure(own_attention):
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return v if q.sum().item() > 0 else -v

    record = measure(attention=own_attention(attend))

    assert (record.status, record.failure.stage) == (Status.FAILED, "compile")


def test_a_compiler_that_is_switched_off_is_a_failure():
    with torch._dynamo.config.patch(disable=True):
        record = measure()

    assert (record.status, record.failure.stage) == (Status.FAILED, "compile")


def test_a_compiler_that_makes_no_graph_is_a_refusal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)

    record = measure()

    assert (record.status, record.failure.stage) == (Status.UNSUPPORTED, "compile")
    assert record.failure.message.startswith("torch.compile made no graph: the step ran eagerly")


@pytest.mark.usefixtures("eager_compiler")
def test_graphs_made_after_the_compile_stage_are_a_warning(own_attention):
    calls: list[int] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return v * len(calls)

    record = measure(lambda stage: calls.append(1), attention=own_attention(attend))

    assert record.status == Status.OK
    assert record.warnings[0].startswith("torch.compile made 2 more graphs")


def test_an_eager_cell_does_not_load_the_compiler():
    told: list[str] = []

    record = measure(told.append, compile="off")

    assert record.status == Status.OK
    assert "compile" not in told
