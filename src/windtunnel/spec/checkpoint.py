"""Activation checkpointing by name: what a model gives up after forward and computes again in backward."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

NO_CHECKPOINT = "none"

CHECKPOINT_KINDS = ("none", "every:N", "selective", "ffn")
"""What may be asked for, as help pages write it."""

CHECKPOINT_PATTERN = "^(none|selective|ffn|every:0*[1-9][0-9]*)$"
"""The same as a regular expression, for JSON Schema."""

_EVERY = "every:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What is computed again in backward; `num_blocks` is the N of `every:N`, and None for the other kinds.

    - `none`: nothing; all that backward needs is kept.
    - `every`: the blocks in groups of N, of which only the input is kept; the last group may be smaller.
    - `selective`: all of each block but matrix products with weights and fused attention, whose results are kept.
    - `ffn`: the feed-forward part of each block with its norm.
    """

    kind: Literal["none", "every", "selective", "ffn"]
    num_blocks: int | None = None

    @property
    def name(self) -> str:
        """How it is written in keys: every:04 is every:4."""
        return self.kind if self.num_blocks is None else f"{_EVERY}{self.num_blocks}"

    def fault(self, *, num_layers: int, workload: str) -> str | None:
        """Say why a model of so many blocks cannot do this in a workload, or would not notice it; None if it can."""
        if self.kind == "none":
            return None
        if workload == "forward":
            return (
                f"checkpoint {self.name!r} has no effect on forward, which has no backward: "
                "ask for it with forward_backward or train_step only"
            )
        if self.num_blocks is not None and self.num_blocks > num_layers:
            return (
                f"checkpoint {self.name!r} makes groups of more blocks than the model's {num_layers}; "
                f"allowed: every:1 to every:{num_layers}"
            )
        return None


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what `none`, `every:N`, `selective` or `ffn` means.

    Raises:
        ValueError: It is none of them, or N is not a whole number from 1.
    """
    if text in ("none", "selective", "ffn"):
        return Checkpoint(kind=text)
    number = text.removeprefix(_EVERY)
    if text.startswith(_EVERY) and number.isascii() and number.isdecimal() and int(number):
        return Checkpoint(kind="every", num_blocks=int(number))
    raise ValueError(
        f"unknown checkpoint {text!r}; known: {', '.join(CHECKPOINT_KINDS)} with N from 1 (groups of N blocks)"
    )


def check_checkpoint(text: str) -> str:
    """Return the text as it is written in keys.

    Raises:
        ValueError: It is no checkpointing.
    """
    return parse_checkpoint(text).name


CheckpointName = Annotated[str, AfterValidator(check_checkpoint)]
