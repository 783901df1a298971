"""What a compiled block keeps, against what torch's partitioner saves and against peaks of an H200."""

from typing import Any

import pytest
import torch

from factory import make_task
from h200_memory import COMPILED_MIB, PROBE
from live_bytes import build, make_cell
from windtunnel.cost.memory import predict_memory
from windtunnel.cost.program import program_of
from windtunnel.cost.tape import Component
from windtunnel.cost.time import predict_time
from windtunnel.errors import UnsupportedError
from windtunnel.spec.cell import Cell


def saved_by(cell: Cell) -> int:
    """Return the bytes that a compiled model keeps for backward, without weights."""
    torch.compiler.reset()
    model, tokens, _, autocast = build(cell)
    ours = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}
    kept: list[Any] = []

    def see(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            found[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)
        return tensor

    run = torch.compile(model, backend="aot_eager_decomp_partition", fullgraph=True)
    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor), autocast:
        run(tokens)
    return sum(found.values())


@pytest.mark.compile
@pytest.mark.parametrize(
    ("precision", "attention"), [("fp32", "eager"), ("fp32", "sdpa"), ("bf16", "sdpa"), ("bf16-pure", "eager")]
)
def test_one_block_more_keeps_what_is_predicted(precision: str, attention: str):
    """Not eager attention under autocast: a CPU takes its softmax in bfloat16, CUDA in float32."""
    cells = [
        make_cell(precision=precision, attention=attention, num_layers=num_layers, context_length=32, compile="default")
        for num_layers in (2, 3)
    ]
    copies = [held for held in program_of(cells[0]).phases["forward"].end.items() if held[0] is Component.WEIGHT_COPIES]
    copied = 2 * (4 * 48 * 48 + 3 * 48 * 80) if copies else 0

    one_more = saved_by(cells[1]) - saved_by(cells[0])

    assert one_more == copied + sum(held.num_bytes for held in program_of(cells[0]).saved_of_block.values())


@pytest.mark.parametrize(("precision", "attention"), COMPILED_MIB)
def test_compiled_steps_hold_on_an_h200_what_is_predicted(precision: str, attention: str):
    cell = make_task(
        size=PROBE,
        workload="train_step",
        context_length=256,
        precision=precision,
        attention=attention,
        compile="default",
        device="cuda:0",
    ).cell

    assert predict_memory(cell).peak_bytes / 2**20 == pytest.approx(COMPILED_MIB[precision, attention], rel=0.025)


@pytest.mark.parametrize("workload", ["forward", "forward_backward"])
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_compiling_saves_memory_traffic_and_launches_but_no_flops(workload: str, activation: str):
    fields = {"workload": workload, "activation": activation, "precision": "bf16", "context_length": 64}
    eager, compiled = (make_cell(**fields, compile=mode) for mode in ("off", "default"))

    before, after = (predict_time(cell, None).phases for cell in (eager, compiled))

    assert predict_memory(compiled).peak_bytes < predict_memory(eager).peak_bytes
    for name in before.keys() - {"loss"}:
        assert after[name].flops == before[name].flops
        assert after[name].bytes_moved < before[name].bytes_moved
        assert after[name].launches < before[name].launches


@pytest.mark.parametrize("fields", [{"attention": "flex"}, {"checkpoint": "ffn"}, {"attention": "flash-eager"}])
def test_what_the_compiler_decides_has_no_closed_form(fields: dict[str, str]):
    with pytest.raises(UnsupportedError, match="no closed form"):
        predict_memory(make_cell(compile="default", **fields))


def test_attention_compiled_by_itself_keeps_one_matrix_of_scores():
    eager, compiled = (
        program_of(make_cell(attention=attention, precision="bf16", context_length=64)).saved_of_block
        for attention in ("eager", "compiled")
    )
    matrix = 3 * 6 * 64 * 64

    assert sum(held.num_bytes for held in eager.values() if held.part is Component.SCORES) == 6 * matrix + 64 * 64
    assert sum(held.num_bytes for held in compiled.values() if held.part is Component.SCORES) == 4 * matrix + 64 * 64
