"""Which operation runs where: every operation of PyTorch with its results, module, line, and what autograd keeps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from windtunnel.probe.places import Place, Places, next_node
from windtunnel.records.memory_ledger import OperationKind

_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "_scaled_mm", "addbmm", "mv", "dot"})
_COPIES = frozenset({"_to_copy", "clone", "roll", "cat", "stack", "copy", "repeat", "index_select", "flip", "tril"})


@dataclass(frozen=True, slots=True)
class Result:
    """A tensor that an operation returned: where its storage begins, its shape and its dtype."""

    address: int
    shape: tuple[int, ...]
    dtype: torch.dtype


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
    """A mode under which each operation on one device is noted, between two marks of the allocation log."""

    def __init__(self, device: torch.device, mark: Callable[[], int]) -> None:
        """Say which device is watched, and what makes a mark."""
        super().__init__()
        self.log = OperationLog()
        self.places = Places(self.log.nodes)
        self._device = device
        self._mark = mark

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch operations, modules and what autograd keeps."""
        hooks = (
            register_module_forward_pre_hook(self.places.enter),
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
        name = name_of(func)
        place = self.places.of(name)
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
                    kind=kind_of(func, name),
                    phase=self.places.phase,
                    place=place,
                    inputs=inputs,
                    results=made,
                )
            )
        return results

    def _results(self, results: Any) -> Iterator[Result]:
        for tensor in self._tensors(results):
            yield Result(_address(tensor), tuple(tensor.shape), tensor.dtype)

    def _tensors(self, values: Any) -> Iterator[Tensor]:
        for value in (values,) if isinstance(values, Tensor) else tree_leaves(values):
            if isinstance(value, Tensor) and value.device == self._device and value.layout == torch.strided:
                yield value

    def _keep(self, tensor: Tensor) -> Tensor:
        if tensor.device == self._device and tensor.layout == torch.strided:
            self.log.saved.append(Saved(self._mark(), _address(tensor), next_node() - 1))
        return tensor

    def _leave(self, module: nn.Module, inputs: object, output: Any) -> None:
        self.places.leave(module, inputs, output)
        name = self.places.names.get(module)
        if name is not None:
            for tensor in self._tensors(output):
                self.log.outputs.append(Output(self._mark(), _address(tensor), name))


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _address(tensor: Tensor) -> int:
    """Return where the storage begins: views of one storage share it."""
    return tensor.untyped_storage().data_ptr()


def name_of(func: Any) -> str:
    """Return `mm` for aten::mm.default, and a name with its library for operations of others."""
    library, _, name = func.name().partition("::")
    name = name.partition(".")[0]
    return name if library == "aten" else f"{library}::{name}"


def kind_of(func: Any, name: str) -> OperationKind:
    """Return what an operation does to its inputs, by its name and by what torch says of it."""
    if "attention" in name:
        return OperationKind.ATTENTION
    if name in _PRODUCTS:
        return OperationKind.PRODUCT
    if "norm" in name:
        return OperationKind.NORMALISATION
    if name in _COPIES or torch.Tag.pointwise in func.tags:
        return OperationKind.POINTWISE
    return OperationKind.OTHER
