"""Backends that compile: code of their own for each cell, no other kernel in silence, and cells that count graphs."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch._inductor.utils import run_and_get_code

from factory import TINY, make_task
from windtunnel.attention import flex
from windtunnel.attention.backend import load_backend
from windtunnel.bench.cell import measure_cell
from windtunnel.bench.together import compare_cells
from windtunnel.records.pair import PairRecord
from windtunnel.records.record import ColdCause, Record, Status
from windtunnel.statistics.pairing import PairPlan

pytestmark = [
    pytest.mark.compile,
    # Dynamo asks each input for its gradient, and torch warns where that is the result of something (torch 2.13).
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

# Dynamo's objects too, not only torch's: or each cell's collections take a second.
gc.collect()
gc.freeze()

ONE_LAYER = TINY.model_copy(update={"num_layers": 1})


def measure(**fields: Any) -> Record:
    chosen = {"size": ONE_LAYER, "context_length": 5, "warmup": 1, "steps": 2, "attention": "compiled"} | fields
    record, _ = measure_cell(make_task(**chosen), process=1, is_first_in_process=True, on_stage=lambda stage: None)
    return record


def inputs(seq: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, 1, 2, seq, 16, generator=torch.Generator().manual_seed(seq))
    return q, k, v


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Dynamo trace as ever, and run its graphs without generating code: that takes seconds each."""
    compile_model = torch.compile

    def without_code(function: Callable[..., Tensor], *, dynamic: bool, fullgraph: bool, options: object = None):
        return compile_model(function, backend="eager", dynamic=dynamic, fullgraph=fullgraph)

    monkeypatch.setattr(torch, "compile", without_code)
    torch.compiler.reset()
    counters.clear()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_compiled_attention_never_becomes_sdpa(is_causal: bool):
    torch.compiler.reset()

    _, codes = run_and_get_code(load_backend("compiled").attend, *inputs(32), is_causal=is_causal)

    assert len(codes) == 1
    assert "scaled_dot_product" not in codes[0]


@pytest.mark.usefixtures("traced_only")
def test_each_backend_that_is_loaded_compiles_for_itself():
    """Even the same shape: a comparison of a cell with itself must compile both sides."""
    first, second = load_backend("compiled"), load_backend("compiled")

    made = []
    for backend in (first, second, first, second):
        backend.attend(*inputs(8), is_causal=True)
        made.append(graphs())

    assert made == [1, 2, 2, 2]


@pytest.mark.usefixtures("traced_only")
def test_two_shapes_that_take_turns_are_compiled_once_each():
    small, large = load_backend("compiled"), load_backend("compiled")

    for _ in range(3):
        small.attend(*inputs(8), is_causal=True)
        large.attend(*inputs(16), is_causal=True)

    assert graphs() == 2


def test_a_cell_with_attention_that_compiles_has_a_compile_stage_and_counts_its_time():
    record = measure(workload="forward_backward")

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, ())
    assert list(record.stages) == ["build", "compile", "warmup", "measure", "clean"]
    assert record.cold_causes[ColdCause.COMPILE] > 0


@pytest.mark.usefixtures("traced_only")
def test_more_shapes_in_a_row_than_dynamo_recompiles_stay_compiled():
    with torch._dynamo.config.patch(recompile_limit=2):
        records = [measure(context_length=length, warmup=0, steps=1) for length in range(3, 8)]

    assert [(record.status, record.warnings) for record in records] == [(Status.OK, ())] * 5


@pytest.mark.usefixtures("traced_only")
def test_two_such_cells_can_be_compared():
    tasks = [make_task(size=ONE_LAYER, attention="compiled", warmup=1, context_length=n) for n in (5, 5)]
    plan = PairPlan(target=0.5, max_pairs=16, max_seconds=60.0)

    record, _ = compare_cells(*tasks, plan=plan, seed=0, on_stage=lambda stage: None)

    assert isinstance(record, PairRecord)
    assert (record.status, record.failure) == (Status.OK, None)


@pytest.mark.parametrize("name", ["compiled", "flex"])
def test_attention_that_compiles_itself_is_refused_in_a_compiled_model(name: str):
    record = measure(attention=name, compile="default")

    assert record.status == Status.UNSUPPORTED
    assert record.failure.message == (
        f"attention '{name}' compiles itself, and cannot be part of a model under compile 'default': "
        "use compile 'off', or another attention"
    )


def test_flex_on_a_cpu_has_a_forward_and_refuses_the_rest():
    forward, training = (measure(attention="flex", workload=name) for name in ("forward", "forward_backward"))

    assert (forward.status, forward.failure) == (Status.OK, None)
    assert training.status == Status.UNSUPPORTED
    assert training.failure.message.startswith("attention 'flex' on cpu has no backward")


def test_flex_makes_a_block_mask_once_for_each_mask_and_length(monkeypatch: pytest.MonkeyPatch):
    made = []
    make = flex._block_mask

    def counted(queries: int, keys: int, window: int | None, device: torch.device) -> object:
        made.append((queries, keys))
        return make(queries, keys, window, device)

    monkeypatch.setattr(flex, "_block_mask", counted)
    monkeypatch.setattr(torch, "compile", lambda function, **options: lambda q, k, v, blocks: v)
    backend = load_backend("flex")

    for window in (None, 4, None, 4):
        backend.run(*inputs(8), is_causal=True, window=window)
    backend.run(*inputs(9), is_causal=True)
    backend.run(*inputs(9), is_causal=False)

    assert made == [(8, 8), (8, 8), (9, 9)]
