"""The step of a whole model: the phases of each of its workloads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor, nn

from windtunnel.bench.step_parts import StepParts, build_parts
from windtunnel.bench.workload import Phase, Workload
from windtunnel.records.memory_ledger import Category
from windtunnel.spec.cell import Cell
from windtunnel.spec.tables import PRECISIONS, WORKLOADS

LEARNING_RATE = 1e-4
"""Small enough that no number of steps on one random batch diverges."""


FindLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits [tokens, vocab] and targets [tokens] to one loss."""


def build_model_step(cell: Cell, *, find_loss: FindLoss | None = None, data_seed: int | None = None) -> Workload:
    """Build the model, the batch and the optimizer of `cell` on its device.

    Args:
        find_loss: What the loss is, for a look at the step; None, as in measured steps: torch's cross-entropy.
        data_seed: Seed of the tokens; None: the cell's own.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
        SpecError: The code that makes a model of the user's own cannot be loaded, or does not make one.
    """
    parts = build_parts(cell, data_seed=data_seed)
    model = parts.model
    if cell.workload == "forward":
        inference = _Inference(parts)
        return replace(
            inference.workload(),
            is_compiled=parts.is_compiled,
            parameters=parts.parameters,
            model=model,
            held=lambda: {**_held(model), **inference.held()},
        )
    uses_scaler = cell.workload == "train_step" and PRECISIONS[cell.precision].autocast == "float16"
    training = _Training(
        parts,
        find_loss=find_loss or F.cross_entropy,
        optimizer=torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True),
        scaler=torch.amp.GradScaler(torch.device(cell.device).type, enabled=uses_scaler),
    )
    return replace(
        training.workload(cell.workload),
        is_compiled=parts.is_compiled,
        parameters=parts.parameters,
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


class _Inference:
    """The forward workload: the state of one step is its logits."""

    def __init__(self, parts: StepParts) -> None:
        self._run_model = parts.run_model
        self._autocast = parts.autocast
        self._inputs = parts.inputs
        self._begin_step = parts.begin
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
        parts: StepParts,
        *,
        find_loss: FindLoss,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self._run_model = parts.run_model
        self._autocast = parts.autocast
        self._inputs = parts.inputs
        self._targets = parts.targets.flatten()
        self._begin_step = parts.begin
        self._find = find_loss
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
        states = [value for state in self._optimizer.state.values() for value in state.values()]
        if self._scaler.is_enabled():  # else it has neither
            states += [self._scaler._scale, self._scaler._growth_tracker]  # pyright: ignore[reportPrivateUsage]
        return {
            Category.OPTIMIZER: [value for value in states if isinstance(value, Tensor)],
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
            self._loss = self._find(logits.flatten(0, 1), self._targets)

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
