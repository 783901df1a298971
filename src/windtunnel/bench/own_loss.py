"""The door for a loss of the user's own: checked to return one number each time it is called."""

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor

from windtunnel.attention.loading import load_attribute
from windtunnel.bench.model_step import FindLoss
from windtunnel.errors import RunError, SpecError


def load_loss(path: str | None) -> FindLoss:
    """Return the loss that a request names, checked as far as it can be before a step; torch's where it names none.

    Raises:
        SpecError: There is no such function.
    """
    if path is None:
        return F.cross_entropy
    found = load_attribute(f"loss {path!r}", path)
    if not callable(found):
        raise SpecError(f"loss {path!r} is {type(found).__name__}, not a function of logits and targets: name one")
    function = cast("Callable[[Tensor, Tensor], object]", found)

    def find_loss(logits: Tensor, targets: Tensor) -> Tensor:
        loss = function(logits, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            what = f"{tuple(loss.shape)} {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
            raise RunError(f"loss {path!r} returned {what}; allowed: a tensor with one floating-point number")
        return loss

    return find_loss
