"""The step of a whole model: its parts built on the device, and the phases of each of its workloads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MethodType
from zlib import crc32

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor, nn

from windtunnel.attention.backend import load_backend
from windtunnel.attention.own_code import with_own_code
from windtunnel.bench.precision import begin_step, check_precision, dtype_of
from windtunnel.bench.workload import Phase, Workload
from windtunnel.errors import UnsupportedError
from windtunnel.models.transformer import build_model
from windtunnel.records.memory_ledger import Category
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import parse_checkpoint
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import PRECISIONS, WORKLOADS

LEARNING_RATE = 1e-4
"""Small enough that no number of steps on one random batch diverges."""


def build_model_step(cell: Cell) -> Workload:
    """Build the model, the batch and the optimizer of `cell` on its device.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
    """
    device = torch.device(cell.device)
    assert isinstance(cell.model, ModelSpec)
    check_precision(cell, device)
    precision = PRECISIONS[cell.precision]
    backend = load_backend(cell.attention)
    product_dtype = dtype_of(precision.autocast or precision.weights)
    backend.check(
        cell.attention,
        device=device,
        dtype=product_dtype,
        d_head=cell.model.d_head,
        is_causal=True,
        is_grouped=cell.model.kv_heads != cell.model.num_heads,
        needs_backward=cell.workload != "forward",
    )
    if backend.is_compiled and cell.compile != "off":
        raise UnsupportedError(
            f"attention {cell.attention!r} compiles itself, and cannot be part of a model under compile "
            f"{cell.compile!r}: use compile 'off', or another attention"
        )
    model = build_model(
        cell.model,
        backend.attend,
        context_length=cell.context_length,
        device=device,
        dtype=dtype_of(precision.weights),
        seed=cell.seed,
        checkpoint=parse_checkpoint(cell.checkpoint),
    )
    generator = torch.Generator(device).manual_seed(cell.seed)
    tokens = torch.randint(
        cell.model.vocab_size, (cell.batch_size, cell.context_length + 1), generator=generator, device=device
    )
    autocast = torch.autocast(device.type, dtype=product_dtype, enabled=precision.autocast is not None)
    run_model: Callable[[Tensor], Tensor] = model
    if cell.compile != "off":
        # fullgraph: a graph break is an error instead of a silently slower mixture.
        run_model = torch.compile(_with_own_code(model, cell), mode=cell.compile, fullgraph=True)
    is_compiled = backend.is_compiled or cell.compile != "off"
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    begin = partial(begin_step, uses_tf32=precision.tf32, is_compiled=cell.compile != "off")
    if cell.workload == "forward":
        inference = _Inference(run_model, autocast, inputs, begin_step=begin)
        return replace(
            inference.workload(),
            is_compiled=is_compiled,
            model=model,
            held=lambda: {**_held(model), **inference.held()},
        )
    uses_scaler = cell.workload == "train_step" and precision.autocast == "float16"
    training = _Training(
        run_model,
        autocast,
        inputs,
        targets,
        begin_step=begin,
        optimizer=torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True),
        scaler=torch.amp.GradScaler(device.type, enabled=uses_scaler),
    )
    return replace(
        training.workload(cell.workload),
        is_compiled=is_compiled,
        model=model,
        held=lambda: {**_held(model), **training.held()},
    )


def _held(model: nn.Module) -> dict[Category, Sequence[Tensor]]:
    """Return what the model owns."""
    parameters = tuple(model.parameters())
    return {
        Category.PARAMETERS: parameters,
        Category.GRADIENTS: [parameter.grad for parameter in parameters if parameter.grad is not None],
        Category.BUFFERS: tuple(model.buffers()),
    }


def _with_own_code(model: torch.nn.Module, cell: Cell) -> torch.nn.Module:
    """Give the model a copy of its forward for Dynamo, by a name that differs where shapes do."""
    name = f"forward_{crc32(cell.model_dump_json().encode()):08x}"
    model.forward = MethodType(with_own_code(type(model).forward, name=name), model)
    return model


class _Inference:
    """The forward workload: the state of one step is its logits."""

    def __init__(
        self,
        run_model: Callable[[Tensor], Tensor],
        autocast: torch.autocast,
        inputs: Tensor,
        *,
        begin_step: Callable[[], None],
    ) -> None:
        self._run_model = run_model
        self._autocast = autocast
        self._inputs = inputs
        self._begin_step = begin_step
        self._logits: Tensor | None = None

    def workload(self) -> Workload:
        return Workload(
            phases=(Phase(name="forward", run=self._forward),),
            total=WORKLOADS["forward"].total,
            reset=self._reset,
            fault=self._fault,
        )

    def held(self) -> Mapping[Category, Sequence[Tensor]]:
        """Return what the step owns beside the model."""
        logits = () if self._logits is None else (self._logits,)
        return {Category.INPUTS: (self._inputs,), Category.LOGITS: logits}

    def _reset(self) -> None:
        self._logits = None  # so that a step never holds two sets of logits
        self._begin_step()

    def _forward(self) -> None:
        with torch.no_grad(), self._autocast:
            self._logits = self._run_model(self._inputs)

    def _fault(self) -> str | None:
        assert self._logits is not None
        return None if bool(self._logits.isfinite().all()) else "the logits are not all finite"


class _Training:
    """The workloads with gradients: the state of one step is its logits, until the loss is known, and its loss."""

    def __init__(
        self,
        run_model: Callable[[Tensor], Tensor],
        autocast: torch.autocast,
        inputs: Tensor,
        targets: Tensor,
        *,
        begin_step: Callable[[], None],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self._run_model = run_model
        self._autocast = autocast
        self._inputs = inputs
        self._targets = targets.flatten()
        self._begin_step = begin_step
        self._optimizer = optimizer
        self._scaler = scaler
        self._logits: Tensor | None = None
        self._loss: Tensor | None = None

    def workload(self, name: str) -> Workload:
        phases = [
            Phase(name="forward", run=self._forward),
            Phase(name="loss", run=self._find_loss),
            Phase(name="backward", run=self._backward),
        ]
        if name == "train_step":
            phases.append(Phase(name="optimizer", run=self._update))
        return Workload(phases=tuple(phases), total=WORKLOADS[name].total, reset=self._reset, fault=self._fault)

    def held(self) -> Mapping[Category, Sequence[Tensor]]:
        """Return what the step owns beside the model."""
        states = self._optimizer.state.values()
        return {
            Category.OPTIMIZER: [value for state in states for value in state.values() if isinstance(value, Tensor)],
            Category.INPUTS: (self._inputs, self._targets),
            Category.LOGITS: [tensor for tensor in (self._logits, self._loss) if tensor is not None],
        }

    def _reset(self) -> None:
        self._logits = self._loss = None
        self._optimizer.zero_grad(set_to_none=True)
        self._begin_step()

    def _forward(self) -> None:
        with self._autocast:
            self._logits = self._run_model(self._inputs)  # [batch, seq, vocab]

    def _find_loss(self) -> None:
        assert self._logits is not None
        # Given up here: held through backward, they would be in the peak of memory.
        logits, self._logits = self._logits, None
        with self._autocast:
            self._loss = F.cross_entropy(logits.flatten(0, 1), self._targets)

    def _backward(self) -> None:
        assert self._loss is not None
        self._scaler.scale(self._loss).backward()

    def _update(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _fault(self) -> str | None:
        assert self._loss is not None
        if not self._loss.isfinite():
            return f"the loss is {self._loss.item()}"
        if self._scaler.is_enabled():
            return None  # scaled gradients overflow now and then; the scaler skips such an update
        gradients = [p.grad for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        bad = sum(not bool(gradient.isfinite().all()) for gradient in gradients)
        return f"{bad} of {len(gradients)} gradients are not finite" if bad else None
