"""One step whose numbers are kept: logits, loss and gradients, for comparison with those of another format."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from windtunnel.bench.model_step import FindLoss, build_model_step
from windtunnel.bench.step_parts import StepParts, build_parts
from windtunnel.models.own import OwnTransformer
from windtunnel.records.memory_ledger import Category
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.spec.own_model import OwnModel


@dataclass(frozen=True, kw_only=True, slots=True)
class StepNumbers:
    """What one step computed; gradients are of the loss times its scale, by the path of their parameter.

    There is neither a loss nor a gradient of inference.
    """

    logits: Tensor
    loss: Tensor | None
    gradients: Mapping[str, Tensor]


def named_model(model: nn.Module) -> nn.Module:
    """Return the module whose names a user knows: their own, without what we put around it."""
    return model.model if isinstance(model, OwnTransformer) else model


def run_one_step(parts: StepParts, find_loss: FindLoss, *, trains: bool, loss_scale: float = 1.0) -> StepNumbers:
    """Run forward, and loss and backward where the cell `trains`; no optimizer."""
    parts.begin()
    parts.model.zero_grad(set_to_none=True)
    with torch.set_grad_enabled(trains), parts.autocast:
        logits = parts.run_model(parts.inputs)  # [batch, seq, vocab]
        loss = find_loss(logits.flatten(0, 1), parts.targets.flatten()) if trains else None
    if loss is not None:
        # As GradScaler does: a loss in a half format could not hold its product with the scale.
        (loss.float() if loss.dtype != torch.float64 else loss).mul(loss_scale).backward()
    gradients = {name: p.grad for name, p in named_model(parts.model).named_parameters() if p.grad is not None}
    return StepNumbers(logits=logits.detach(), loss=None if loss is None else loss.detach(), gradients=gradients)


def build_reference(cell: Cell, weights: Mapping[str, Tensor], dtype: torch.dtype) -> StepParts:
    """Return the step of `cell` in `dtype` throughout, from the same weights and on the same tokens.

    The reference model attends eagerly in it and computes nothing again: both leave the mathematics as it is, and
    other backends have no float64.
    """
    plain: dict[str, object] = {"precision": "fp32", "compile": "off"}
    if not isinstance(cell.model, OwnModel):
        plain |= {"attention": "eager", "checkpoint": NO_CHECKPOINT}
    parts = build_parts(cell.model_copy(update=plain))
    named_model(parts.model).load_state_dict(weights)
    parts.model.to(dtype)
    return parts


def silence_dropout(model: nn.Module) -> bool:
    """Let dropout layers hand everything on, and say whether there was any: two steps must draw nothing different."""
    layers = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd) and module.p]  # pyright: ignore[reportPrivateUsage]
    active = [layer for layer in layers if layer.training]
    for layer in active:
        layer.eval()
    return bool(active)


def follow_loss(cell: Cell, steps: int, find_loss: FindLoss, *, data_seed: int) -> tuple[float | None, ...]:
    """Return the loss of each of the first training steps of `cell`; None where it is not finite."""
    workload = build_model_step(
        cell.model_copy(update={"workload": "train_step"}), find_loss=find_loss, data_seed=data_seed
    )
    assert workload.held is not None
    losses: list[float | None] = []
    for _ in range(steps):
        workload.reset()
        for phase in workload.phases:
            phase.run()
        loss = workload.held()[Category.LOGITS][-1]
        losses.append(loss.item() if bool(loss.isfinite()) else None)
    return tuple(losses)
