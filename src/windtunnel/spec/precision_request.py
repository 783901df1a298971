"""What a look at formats is asked for: a cell, whose loss it has, and how long its loss is followed."""

import hashlib
import json
from typing import Annotated

from pydantic import AfterValidator, Field

from windtunnel.spec.cell import Cell
from windtunnel.spec.model import Frozen
from windtunnel.spec.own_model import is_path

DEFAULT_LOSS_STEPS = 50


def _check_loss(text: str | None) -> str | None:
    if text is not None and not is_path(text):
        raise ValueError(
            f"unknown loss {text!r}; write it as module:function, as my_package.my_module:cross_entropy: it maps "
            "logits [tokens, vocab] and targets [tokens] to one number"
        )
    return text


class PrecisionRequest(Frozen):
    """One cell to be looked at.

    `loss` is a function of logits [tokens, vocab] and targets [tokens] as module:attr, imported by the worker alone;
    None: torch's cross-entropy. `loss_steps` counts the training steps whose loss is set beside that of fp32; 0: none.
    With `is_numerics_only` formats are not watched, which compiled code cannot be: only how far its numbers are off.
    """

    cell: Cell
    loss: Annotated[str | None, AfterValidator(_check_loss)] = None
    loss_steps: Annotated[int, Field(ge=0, le=10_000, strict=True)] = DEFAULT_LOSS_STEPS
    is_numerics_only: bool = Field(default=False, strict=True)

    def key(self) -> str:
        """Return the content hash: 16 hex digits over every field that differs from its default."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
