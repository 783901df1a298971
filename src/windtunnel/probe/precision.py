"""One step with every operation's formats seen, and the first operation that overflows named."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from windtunnel.probe.accumulation import accumulation_of, mode_of
from windtunnel.probe.operation_log import kind_of, name_of
from windtunnel.probe.places import Place, Places
from windtunnel.records.memory_ledger import OperationKind
from windtunnel.records.precision_look import ComponentFormat, ComponentKind, OperationFormat, Overflow

_MOST_OVERFLOWS = 5
_MOST_DTYPES = 4

_VIEWS = frozenset({"_unsafe_view", "_reshape_alias"})
"""Operations that only view, and do not say so."""

_UNDEFINED = ("empty", "new_empty")
"""Beginnings of names of operations whose results are whatever the memory held."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """All that tells one row of operations from another."""

    operation: str
    kind: OperationKind
    module: str
    module_kind: str
    phase: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    accumulation: str
    mode: str


class FormatWatch(TorchDispatchMode):
    """A mode under which the dtypes of each operation on one device are noted; operations that only view are left out.

    Every result is checked for numbers that are not finite, which on a GPU waits for each operation.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        """Say what is watched."""
        super().__init__()
        self.places = Places()
        self.places.names = {module: name for name, module in model.named_modules()}
        self.num_overflows = 0
        self._device = device
        self._classes = {name: type(module).__name__ for name, module in model.named_modules()}
        self._counts: Counter[_Kind] = Counter()
        self._outputs: dict[str, Counter[str]] = {}
        self._overflows: list[Overflow] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch operations and modules."""
        hooks = (
            register_module_forward_pre_hook(self.places.enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def operations(self) -> tuple[OperationFormat, ...]:
        """What was seen, in the order in which each first ran."""
        return tuple(
            OperationFormat(
                operation=one.operation,
                kind=one.kind,
                module=one.module,
                module_kind=one.module_kind,
                phase=one.phase,
                inputs=one.inputs,
                outputs=one.outputs,
                accumulation=one.accumulation,
                mode=one.mode,
                count=count,
            )
            for one, count in self._counts.items()
        )

    @property
    def outputs(self) -> tuple[ComponentFormat, ...]:
        """What modules returned, in the order in which each first did."""
        classes = {folded(name): kind for name, kind in self._classes.items()}
        return tuple(
            ComponentFormat(
                kind=ComponentKind.OUTPUT, name=name, dtypes=dict(dtypes), module_kind=classes.get(name, "")
            )
            for name, dtypes in self._outputs.items()
        )

    @property
    def overflows(self) -> tuple[Overflow, ...]:
        """The first operations that made other than finite numbers of finite ones."""
        return tuple(self._overflows)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and note it."""
        del types
        name = name_of(func)
        place = self.places.of(name)
        if name in _VIEWS or _only_views(func):
            return func(*args, **(kwargs or {}))
        given = tree_leaves((args, kwargs))
        inputs = tuple(self._tensors(given))
        largest = _largest(given)
        results = func(*args, **(kwargs or {}))
        outputs = tuple(self._tensors(tree_leaves(results)))
        if not inputs and not outputs:
            return results
        self._count(func, name, place.module, inputs, outputs)
        if largest is not None and inputs and not name.startswith(_UNDEFINED):
            self._check(name, place, outputs, largest)
        return results

    def _count(self, func: Any, name: str, module: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        kind = kind_of(func, name)
        dtypes = tuple(_dtype(tensor) for tensor in inputs)
        self._counts[
            _Kind(
                operation=name,
                kind=kind,
                module=folded(module),
                module_kind=self._classes.get(module, "") if module or self.places.phase == "forward" else "",
                phase=self.places.phase,
                inputs=_without_runs(dtypes),
                outputs=_without_runs(tuple(_dtype(tensor) for tensor in outputs)),
                accumulation=accumulation_of(func, kind, dtypes, self._device),
                mode=mode_of(kind, dtypes, self._device),
            )
        ] += 1

    def _check(self, name: str, place: Place, outputs: Sequence[Tensor], largest: float) -> None:
        for tensor in outputs:
            if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
                continue
            self.num_overflows += 1
            if len(self._overflows) < _MOST_OVERFLOWS:
                self._overflows.append(
                    Overflow(
                        operation=name,
                        module=place.module,
                        phase=self.places.phase,
                        site=place.site,
                        dtype=_dtype(tensor),
                        elements=int((~tensor.isfinite()).sum()),
                        size=tensor.numel(),
                        largest=largest,
                    )
                )
            return

    def _tensors(self, values: Sequence[Any]) -> Iterator[Tensor]:
        for value in values:
            if isinstance(value, Tensor) and value.device == self._device and value.layout == torch.strided:
                yield value

    def _leave(self, module: nn.Module, inputs: object, output: Any) -> None:
        self.places.leave(module, inputs, output)
        name = self.places.names.get(module)
        if name:
            dtypes = self._outputs.setdefault(folded(name), Counter())
            dtypes.update(_dtype(tensor) for tensor in self._tensors(tree_leaves(output)))


def component(kind: ComponentKind, tensors: Sequence[Tensor]) -> tuple[ComponentFormat, ...]:
    """Return the formats of some tensors as one component, or nothing where there are none."""
    if not tensors:
        return ()
    dtypes: Mapping[str, int] = dict(Counter(_dtype(tensor) for tensor in tensors))
    return (ComponentFormat(kind=kind, name=kind.value, dtypes=dtypes),)


def folded(path: str) -> str:
    """Return a module's path with `*` for its places in lists."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", path)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _without_runs(dtypes: tuple[str, ...]) -> tuple[str, ...]:
    """Return each dtype once where there are many tensors, as the fused optimizer has: then only kinds matter."""
    return dtypes if len(dtypes) <= _MOST_DTYPES else tuple(dict.fromkeys(dtypes))


def _only_views(func: Any) -> bool:
    """Whether an operation returns nothing but other views of what it is given."""
    returns = func._schema.returns
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def _largest(given: Sequence[Any]) -> float | None:
    """Return the largest magnitude of what an operation is given; None where some of it is not finite."""
    found = 0.0
    for value in given:
        if isinstance(value, float):
            if not isfinite(value):
                return None  # a mask of minus infinity is meant
            found = max(found, abs(value))
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            size = float(torch.linalg.vector_norm(value.detach(), float("inf")))  # unlike abs, makes no copy
            if not isfinite(size):
                return None
            found = max(found, size)
    return found
