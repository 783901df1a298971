"""What the tests of this room share: attention of the user's own, and what was built for a cell."""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import pytest
import torch
from torch import Tensor

from windtunnel.attention import eager
from windtunnel.bench import step_parts

# As the worker does: without torch's million objects the loop's own collections take no time.
gc.collect()
gc.freeze()

OwnAttention = Callable[[Callable[..., Tensor]], str]


@pytest.fixture
def own_attention(monkeypatch: pytest.MonkeyPatch) -> OwnAttention:
    """Make a function importable, and return the name to ask for it: `own_kernels:attend`."""

    def install(attend: Callable[..., Tensor]) -> str:
        module = ModuleType("own_kernels")
        module.attend = attend
        monkeypatch.setitem(sys.modules, "own_kernels", module)
        return "own_kernels:attend"

    return install


class _SpoilBackward(torch.autograd.Function):
    """The identity, until its gradient is asked for."""

    @staticmethod
    def forward(ctx, q: Tensor, spoil: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.spoil = spoil
        return q.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.spoil(gradient), None


@pytest.fixture
def spoiled_backward() -> Callable[[Callable[[Tensor], Tensor]], Callable[..., Tensor]]:
    """Return a maker of attention that is right in forward; in backward it runs the given function."""

    def make(spoil: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
            return eager.attend(_SpoilBackward.apply(q, spoil), k, v, is_causal=is_causal)

        return attend

    return make


@dataclass
class Built:
    """What `build_workload` made, and the logits of every forward pass so far."""

    models: list[torch.nn.Module] = field(default_factory=list)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)

    def parameters(self) -> dict[str, Tensor]:
        return dict(self.models[-1].named_parameters())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """Watch what is built from here on."""
    seen = Built()
    build_model, adamw = step_parts.build_model, torch.optim.AdamW

    def watched_model(*args: object, **kwargs: object) -> torch.nn.Module:
        model = build_model(*args, **kwargs)
        model.register_forward_hook(lambda module, inputs, logits: seen.logits.append(logits))
        seen.models.append(model)
        return model

    def watched_optimizer(*args: object, **kwargs: object) -> torch.optim.Optimizer:
        seen.optimizers.append(adamw(*args, **kwargs))
        return seen.optimizers[-1]

    monkeypatch.setattr(step_parts, "build_model", watched_model)
    monkeypatch.setattr(torch.optim, "AdamW", watched_optimizer)
    return seen
