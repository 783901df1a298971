"""What a block keeps for backward, against the tensors that autograd really saves."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from live_bytes import attend_fused, build, make_cell, operators_of_cuda
from windtunnel.cost.program import program_of
from windtunnel.cost.sizes import sizes_of
from windtunnel.spec.cell import Cell


def saved_by_a_block(cell: Cell, attend: Any = None, *, is_cuda: bool = True) -> int:
    """Return the bytes of the storages that autograd saves in the second block, without weights, copies and tables."""
    model, tokens, _, autocast = build(cell, attend)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    shapes = {tuple(parameter.shape) for parameter in model.parameters() if parameter.ndim == 2}
    shapes |= {shape[::-1] for shape in shapes} | {(cell.context_length, model.blocks[0].attention.d_head)}
    found: dict[int, int] = {}
    kept: list[Tensor] = []
    is_inside = False

    def see(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if is_inside and storage.data_ptr() not in weights and tuple(tensor.shape) not in shapes:
            found[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # so that no address comes twice
        return tensor

    def entering(value: bool) -> Callable[..., None]:
        def note(*_: object) -> None:
            nonlocal is_inside
            is_inside = value

        return note

    model.blocks[1].register_forward_pre_hook(entering(True))
    model.blocks[1].register_forward_hook(entering(False))
    with (
        torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor),
        operators_of_cuda() if is_cuda else nullcontext(),
        autocast,
    ):
        model(tokens)
    return sum(found.values())


def predicted(cell: Cell) -> int:
    return sum(held.num_bytes for held in program_of(cell).saved_of_block.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu"])
@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_an_eager_block_keeps_what_is_predicted(precision: str, activation: str, num_kv_heads: int | None):
    for batch_size, context_length in ((3, 10), (1, 7), (2, 33)):
        cell = make_cell(
            precision=precision,
            activation=activation,
            num_kv_heads=num_kv_heads,
            batch_size=batch_size,
            context_length=context_length,
        )
        assert saved_by_a_block(cell) == predicted(cell)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
@pytest.mark.parametrize("num_kv_heads", [None, 2])
def test_a_block_with_a_flash_kernel_keeps_what_is_predicted(precision: str, num_kv_heads: int | None):
    cell = make_cell(precision=precision, num_kv_heads=num_kv_heads, attention="flash-triton")

    assert saved_by_a_block(cell, attend_fused) == predicted(cell)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
def test_a_block_with_the_tiled_backend_keeps_what_is_predicted(precision: str):
    cell = make_cell(precision=precision, attention="flash-eager")

    assert saved_by_a_block(cell) == predicted(cell)


def test_the_norms_of_a_cpu_keep_one_tensor_more_each():
    cell = make_cell()

    assert saved_by_a_block(cell, is_cuda=False) - predicted(cell) == 2 * sizes_of(cell).stream(48).num_bytes


def test_a_half_softmax_of_cuda_saves_the_same_as_one_of_bf16():
    """Which a CPU does not have: the kernel that reads half precision and writes float32."""
    half, brain = (program_of(make_cell(precision=precision)) for precision in ("fp16", "bf16"))

    assert half.saved_of_block == brain.saved_of_block
    assert half.phases["forward"].peak_bytes <= brain.phases["forward"].peak_bytes
