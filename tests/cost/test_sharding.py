"""Predicted memory under FSDP against `fully_shard` of torch itself, byte by byte."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from live_bytes import attend_fused, make_cell
from sharded import group_of, run_sharded_step
from windtunnel.cost.layout import Layout
from windtunnel.cost.memory import predict_memory
from windtunnel.models import recomputation
from windtunnel.spec.cell import Cell

WORLD_SIZE = 4
SHAPE = {"d_model": 48, "d_ff": 80, "vocab_size": 36}
"""Rows of all weights are multiples of the devices."""

SMALL_BATCH = {"batch_size": 1, "context_length": 2}
"""Weights are nearly all that is held."""
LARGE_VOCABULARY = {"vocab_size": 4000}
"""The root is nearly all that is held."""


@pytest.fixture(autouse=True)
def one_of_several() -> Iterator[None]:
    with group_of(WORLD_SIZE):
        yield


def sharded(cell: Cell) -> Mapping[str, int]:
    """Return the predicted peaks of one device, and what is held before backward."""
    found = predict_memory(cell, layout=Layout(kind="fsdp", world_size=WORLD_SIZE))
    before = {} if found.before_backward_bytes is None else {"before": found.before_backward_bytes}
    return {**found.phases, **before}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
@pytest.mark.parametrize("num_layers", [1, 2, 5])
@pytest.mark.parametrize("sizes", [{}, SMALL_BATCH, LARGE_VOCABULARY])
def test_a_step_under_fully_shard_holds_what_is_predicted(precision: str, num_layers: int, sizes: dict[str, Any]):
    cell = make_cell(**{**SHAPE, **sizes}, precision=precision, num_layers=num_layers)

    assert sharded(cell) == run_sharded_step(cell)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_so_does_inference(num_layers: int):
    cell = make_cell(**SHAPE, workload="forward", num_layers=num_layers)

    assert sharded(cell) == run_sharded_step(cell)


@pytest.mark.parametrize("checkpoint", ["every:1", "every:2", "every:3", "every:4", "ffn", "selective"])
@pytest.mark.parametrize("sizes", [{}, SMALL_BATCH])
def test_so_does_checkpointing(checkpoint: str, sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    kept = recomputation.KEPT_OPERATORS | {"windtunnel_tests.flash_forward.default"}
    monkeypatch.setattr(recomputation, "KEPT_OPERATORS", kept)
    fields = {**SHAPE, **sizes, "checkpoint": checkpoint}

    for num_layers in (4, 7):
        cell = make_cell(**fields, num_layers=num_layers)
        fused = make_cell(**fields, num_layers=num_layers, attention="sdpa-efficient")

        assert sharded(cell) == run_sharded_step(cell)
        assert sharded(fused) == run_sharded_step(fused, attend_fused)


@pytest.mark.parametrize("fields", [{"is_tied": True}, {"activation": "gelu"}, {"num_kv_heads": 2}])
def test_so_do_other_models(fields: dict[str, Any]):
    cell = make_cell(**SHAPE, **fields)

    assert sharded(cell) == run_sharded_step(cell)
