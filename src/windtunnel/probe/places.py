"""Where in the program an operation belongs: its module, phase and line, in backward those of its forward."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from windtunnel.probe.sites import short_path

_NOT_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
"""Files whose lines say nothing: torch's, this room's, and code that was never in a file."""

RECOMPUTED = "recomputed"
"""The phase of a place that ran again in backward, inside its module: checkpointing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the program an operation belongs; an operation of backward belongs where its forward ran."""

    module: str
    phase: str
    site: str


class Places:
    """Knows in which module the program is. Modules have names once `names` is set, phases once `phase` is.

    Backward has no modules: the node of autograd that runs has the sequence number which it got in forward, and with
    it the place.
    """

    def __init__(self, nodes: dict[int, str] | None = None) -> None:
        """Begin outside of any module; the operation of each node of autograd is noted in `nodes`."""
        self.phase = ""
        self.names: Mapping[nn.Module, str] = {}
        self._nodes = {} if nodes is None else nodes
        self._modules: list[str] = []
        self._places: dict[int, Place] = {}
        self._next_node = 0

    def enter(self, module: nn.Module, inputs: object) -> None:
        """Note that a module begins: a hook before every forward."""
        del inputs
        self._modules.append(self.names.get(module) or (self._modules[-1] if self._modules else ""))

    def leave(self, module: nn.Module, inputs: object, output: object) -> None:
        """Note that a module ends: a hook after every forward."""
        del module, inputs, output
        self._modules.pop()

    def of(self, operation: str) -> Place:
        """Return where the operation that is about to run belongs, and remember it for the backward of its node."""
        node = torch._C._current_autograd_node()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        if node is not None and not self._modules:
            return self._places.get(node._sequence_nr()) or Place("", self.phase, _site())
        phase = self.phase if node is None else RECOMPUTED
        place = Place(self._modules[-1] if self._modules else "", phase, _site())
        number = next_node()
        if node is None and number != self._next_node:  # autograd made a node for this operation before it ran
            self._places[number - 1] = place
            self._nodes[number - 1] = operation
            self._next_node = number
        return place


def next_node() -> int:
    """Return the sequence number that the next node of autograd will get in this thread."""
    return torch._C._autograd._get_sequence_nr()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _site() -> str:
    """Return the innermost line of code that is neither torch's nor of this room."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_NOT_OURS):
            return f"{short_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""
