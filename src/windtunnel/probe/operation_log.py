"""Which operation runs where: every operation of PyTorch with its results, module, line, and what autograd keeps."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from windtunnel.records.memory_ledger import OperationKind

_NOT_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
"""Files whose lines say nothing: torch's, this room's, and code that was never in a file."""

_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "_scaled_mm", "addbmm", "mv", "dot"})
_COPIES = frozenset({"_to_copy", "clone", "roll", "cat", "stack", "copy", "repeat", "index_select", "flip", "tril"})


RECOMPUTED = "recomputed"
"""The phase of a place that ran again in backward, inside its module: checkpointing."""


@dataclass(frozen=True, slots=True)
class Result:
    """A tensor that an operation returned: where its storage begins, its shape and its dtype."""

    address: int
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the program an operation belongs; an operation of backward belongs where its forward ran."""

    module: str
    phase: str
    site: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: it ran between two marks; `phase` is when, `place.phase` is that of its forward."""

    begin: int
    end: int
    name: str
    kind: OperationKind
    phase: str
    place: Place
    inputs: tuple[int, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """Autograd keeps the storage at an address after so many marks, for the node with this number."""

    mark: int
    address: int
    node: int


@dataclass(frozen=True, slots=True)
class Output:
    """A module returned the storage at an address after so many marks."""

    mark: int
    address: int
    module: str


@dataclass
class OperationLog:
    """What was seen, in order; `nodes` names the operation of each node of autograd."""

    operations: list[Operation] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    nodes: dict[int, str] = field(default_factory=dict)


class OperationWatch(TorchDispatchMode):
    """A mode under which each operation on one device is noted, between two marks of the allocation log.

    Modules have names once `names` is set. Backward has no modules: the node of autograd that runs has the sequence
    number which it got in forward, and with it the place.
    """

    def __init__(self, device: torch.device, mark: Callable[[], int]) -> None:
        """Say which device is watched, and what makes a mark."""
        super().__init__()
        self.log = OperationLog()
        self.phase = ""
        self.names: Mapping[nn.Module, str] = {}
        self._device = device
        self._mark = mark
        self._modules: list[str] = []
        self._places: dict[int, Place] = {}
        self._next_node = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch operations, modules and what autograd keeps."""
        hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, _same), self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and note it."""
        del types
        name = _name_of(func)
        place = self._place(name)
        begin = self._mark()
        results = func(*args, **(kwargs or {}))
        end = self._mark()
        inputs = tuple(_address(tensor) for tensor in self._tensors((args, kwargs)))
        made = tuple(self._results(results))
        if made or inputs:
            self.log.operations.append(
                Operation(
                    begin=begin,
                    end=end,
                    name=name,
                    kind=_kind_of(func, name),
                    phase=self.phase,
                    place=place,
                    inputs=inputs,
                    results=made,
                )
            )
        return results

    def _place(self, name: str) -> Place:
        """Return where an operation belongs, and remember it for the backward of its node."""
        node = torch._C._current_autograd_node()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        if node is not None and not self._modules:
            return self._places.get(node._sequence_nr()) or Place("", self.phase, _site())
        phase = self.phase if node is None else RECOMPUTED
        place = Place(self._modules[-1] if self._modules else "", phase, _site())
        number = _next_number()
        if node is None and number != self._next_node:  # autograd made a node for this operation before it ran
            self._places[number - 1] = place
            self.log.nodes[number - 1] = name
            self._next_node = number
        return place

    def _results(self, results: Any) -> Iterator[Result]:
        for tensor in self._tensors(results):
            yield Result(_address(tensor), tuple(tensor.shape), tensor.dtype)

    def _tensors(self, values: Any) -> Iterator[Tensor]:
        for value in (values,) if isinstance(values, Tensor) else tree_leaves(values):
            if isinstance(value, Tensor) and value.device == self._device and value.layout == torch.strided:
                yield value

    def _keep(self, tensor: Tensor) -> Tensor:
        if tensor.device == self._device and tensor.layout == torch.strided:
            number = _next_number()
            self.log.saved.append(Saved(self._mark(), _address(tensor), number - 1))
        return tensor

    def _enter(self, module: nn.Module, inputs: object) -> None:
        del inputs
        self._modules.append(self.names.get(module) or (self._modules[-1] if self._modules else ""))

    def _leave(self, module: nn.Module, inputs: object, output: Any) -> None:
        del inputs
        self._modules.pop()
        name = self.names.get(module)
        if name is not None:
            for tensor in self._tensors(output):
                self.log.outputs.append(Output(self._mark(), _address(tensor), name))


def _next_number() -> int:
    """Return the sequence number that the next node of autograd will get in this thread."""
    return torch._C._autograd._get_sequence_nr()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _address(tensor: Tensor) -> int:
    """Return where the storage begins: views of one storage share it."""
    return tensor.untyped_storage().data_ptr()


def _name_of(func: Any) -> str:
    """Return `mm` for aten::mm.default, and a name with its library for operations of others."""
    library, _, name = func.name().partition("::")
    name = name.partition(".")[0]
    return name if library == "aten" else f"{library}::{name}"


def _kind_of(func: Any, name: str) -> OperationKind:
    if "attention" in name:
        return OperationKind.ATTENTION
    if name in _PRODUCTS:
        return OperationKind.PRODUCT
    if name in _COPIES or torch.Tag.pointwise in func.tags:
        return OperationKind.POINTWISE
    return OperationKind.OTHER


def _site() -> str:
    """Return the innermost line of code that is neither torch's nor of this room."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_NOT_OURS):
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""
