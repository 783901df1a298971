"""What a backend is, and how its name becomes one."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.tables import ATTENTION_BACKENDS


@runtime_checkable  # tests check types as the code runs
class Attend(Protocol):
    """Attention of one layer: softmax(Q·Kᵀ / sqrt(d_head)) · V, for each query head."""

    def __call__(
        self,
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Return O in the dtype of `q`; with `is_causal`, query i sees keys 0…i."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A way to attend, and on which devices it takes which dtypes (all of them where it names none)."""

    attend: Attend
    dtypes: Mapping[str, tuple[torch.dtype, ...]]

    def check(self, name: str, *, device_type: str, dtype: torch.dtype) -> None:
        """Say before any launch what this backend cannot do.

        Raises:
            UnsupportedError: It does not run on `device_type`, or not there in `dtype`.
        """
        if device_type not in self.dtypes:
            raise UnsupportedError(
                f"attention {name!r} does not run on {device_type}; it runs on {', '.join(self.dtypes)}"
            )
        allowed = self.dtypes[device_type]
        if dtype not in allowed:
            names = ", ".join(str(item).removeprefix("torch.") for item in allowed)
            raise UnsupportedError(
                f"attention {name!r} on {device_type} does not take {str(dtype).removeprefix('torch.')}; "
                f"it takes {names}"
            )


ANY_FLOAT = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
HALF = (torch.float16, torch.bfloat16)


def load_backend(name: str) -> Backend:
    """Return the backend of a name in the table, or wrap a user's own function `module:attr`.

    Raises:
        SpecError: There is no such module or attribute, or it cannot be called.
    """
    path = ATTENTION_BACKENDS.get(name, name)
    module_name, _, attribute = path.partition(":")
    if module_name.startswith("."):
        raise SpecError(f"attention {name!r} cannot be loaded: its module is relative; write it as module:function")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"attention {name!r} cannot be loaded: {error}; write it as module:function") from error
    if isinstance(found, Backend):
        return found
    if not callable(found):
        raise SpecError(f"attention {name!r} is {type(found).__name__}, not a function attend(q, k, v, *, is_causal)")
    attend = cast("Attend", found)  # whether it keeps the contract shows when it is called
    return Backend(attend=attend, dtypes={"cpu": ANY_FLOAT, "cuda": ANY_FLOAT})
