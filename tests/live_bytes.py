"""Oracles of memory on a CPU: what is alive while a step runs, as CUDA would have it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor

from factory import make_task
from windtunnel.attention.backend import Attend, load_backend
from windtunnel.bench.live_bytes import LiveBytes
from windtunnel.bench.precision import dtype_of
from windtunnel.models.transformer import Transformer, build_model
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import parse_checkpoint
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import PRECISIONS

CPU = torch.device("cpu")


def make_cell(
    *, batch_size: int = 3, context_length: int = 10, workload: str = "forward_backward", **fields: Any
) -> Cell:
    """Return a small cell; what is not of the cell is of its model."""
    shape = {"d_model": 48, "d_ff": 80, "num_layers": 3, "num_heads": 6, "vocab_size": 37}
    of_model = {name: fields.pop(name) for name in tuple(fields) if name in ModelSpec.model_fields}
    model = ModelSpec.model_validate({"name": "t", **shape, **of_model})
    return make_task(size=model, batch_size=batch_size, context_length=context_length, workload=workload, **fields).cell


class _FusedNorm(torch.autograd.Function):
    """A norm that keeps what the kernel of CUDA keeps; its numbers are wrong, its bytes are not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        statistic = x.new_ones(x.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(x, statistic, weight)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, _, weight = ctx.saved_tensors
        return torch.zeros_like(x), torch.zeros_like(weight)


@torch.library.custom_op("windtunnel_tests::flash_forward", mutates_args=())
def _flash_forward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(q), q.new_ones(q.shape[:-1], dtype=torch.float32)


class _FusedAttention(torch.autograd.Function):
    """Attention that keeps what a flash kernel keeps; its numbers are wrong, its bytes are not."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        o, log_sum_exp = _flash_forward(q, k, v)
        ctx.save_for_backward(q, k, v, o, log_sum_exp)
        return o

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, _, _ = ctx.saved_tensors
        return torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)


def attend_fused(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
    """Stand in for a flash kernel."""
    assert is_causal
    return _FusedAttention.apply(q, k, v)


@contextmanager
def operators_of_cuda() -> Iterator[None]:
    """Have the norm in one kernel, and softmax and loss in the formats that autocast gives them on CUDA."""
    norm, softmax, cross_entropy = F.rms_norm, torch.softmax, F.cross_entropy
    without_autocast = partial(torch.autocast, "cpu", enabled=False)

    def softmax_of_cuda(x: Tensor, dim: int) -> Tensor:
        dtype = torch.float32 if torch.is_autocast_enabled("cpu") else None
        with without_autocast():
            return softmax(x, dim, dtype=dtype)

    def loss_of_cuda(logits: Tensor, targets: Tensor) -> Tensor:
        is_autocast = torch.is_autocast_enabled("cpu")
        with without_autocast():
            found = torch.log_softmax(logits, 1)
            return F.nll_loss(found.float() if is_autocast else found, targets)

    F.rms_norm = lambda x, shape, weight, eps: _FusedNorm.apply(x, weight)
    torch.softmax, F.cross_entropy = softmax_of_cuda, loss_of_cuda
    try:
        yield
    finally:
        F.rms_norm, torch.softmax, F.cross_entropy = norm, softmax, cross_entropy


def build(cell: Cell, attend: Attend | None = None) -> tuple[Transformer, Tensor, Tensor, torch.autocast]:
    """Return the model of a cell with its checkpointing, tokens, targets and the region of autocast."""
    assert isinstance(cell.model, ModelSpec)
    precision = PRECISIONS[cell.precision]
    model = build_model(
        cell.model,
        attend or load_backend(cell.attention).attend,
        context_length=cell.context_length,
        device=CPU,
        dtype=dtype_of(precision.weights),
        seed=0,
        checkpoint=parse_checkpoint(cell.checkpoint),
    )
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(cell.model.vocab_size, (cell.batch_size, cell.context_length), generator=generator)
    autocast = torch.autocast("cpu", dtype=dtype_of(precision.product_dtype), enabled=precision.autocast is not None)
    return model, tokens, tokens.flatten().clone(), autocast


def run_step(cell: Cell, attend: Attend | None = None) -> tuple[Mapping[str, int], int]:
    """Return the most bytes alive in each phase of a step, and those alive before backward."""
    model, tokens, targets, autocast = build(cell, attend)
    peaks: dict[str, int] = {}
    with operators_of_cuda(), LiveBytes() as live:
        for tensor in (*model.parameters(), *model.buffers(), tokens, targets):
            live.see(tensor)
        if cell.workload == "forward":
            with torch.no_grad(), autocast:
                logits = model(tokens)
            return {"forward": live.end_phase()}, live.now
        with autocast:
            logits = model(tokens)
        peaks["forward"] = live.end_phase()
        given, logits = logits, None
        with autocast:
            loss = F.cross_entropy(given.flatten(0, 1), targets)
        del given
        peaks["loss"], before = live.end_phase(), live.now
        loss.backward()
        peaks["backward"] = live.end_phase()
    return peaks, before
