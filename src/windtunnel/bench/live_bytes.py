"""How many bytes of tensors are alive, followed from the operator that makes a storage to its end."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operators make while it is on, and those that it was shown.

    What an operator takes for itself and frees before it returns is not seen, but for the one that is as large as
    scores: on CUDA a softmax on its way back multiplies its gradient by itself into a tensor of its own
    (softmax_backward_cuda_out of aten/src/ATen/native/cuda/SoftMax.cu).
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.now = 0
        self._peak = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator, and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        if func is torch.ops.aten._softmax_backward_data.default:
            self._peak = max(self._peak, self.now + args[0].nbytes)
        return made

    def see(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata  # pyright: ignore[reportPrivateUsage]
        if key in self._live:
            return
        self.add(storage.nbytes())
        self._live[key] = storage.nbytes()
        weakref.finalize(storage, self._free, key)

    def add(self, num_bytes: int) -> None:
        """Count bytes that are there from now on."""
        self.now += num_bytes
        self._peak = max(self._peak, self.now)

    def end_phase(self) -> int:
        """Return the most since the last call."""
        peak, self._peak = self._peak, self.now
        return peak

    def _free(self, key: int) -> None:
        self.now -= self._live.pop(key)
