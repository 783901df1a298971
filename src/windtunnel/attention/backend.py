"""What a backend is, and how its name becomes one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from windtunnel.attention.loading import load_attribute
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.abilities import ANY_FLOAT, ANY_MASK, WITHOUT_WINDOW, Abilities, Place
from windtunnel.spec.tables import ATTENTION_BACKENDS


@runtime_checkable  # tests check types as the code runs
class Attend(Protocol):
    """Attention of one layer: softmax(Q·Kᵀ / sqrt(d_head)) · V, for each query head.

    Masks are aligned at the top left, also where queries and keys are not equally many. A function without `window`
    will do: it is given one only where there is one.
    """

    def __call__(
        self,
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
        window: int | None = None,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Return O in the dtype of `q`; with `is_causal`, query i sees keys 0…i, or the last `window` of these."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A way to attend, and what it can do."""

    attend: Attend
    abilities: Abilities

    def run(
        self,
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
        window: int | None = None,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Attend; the window is handed on only where there is one.

        Raises:
            UnsupportedError: An input requires a gradient on a device where there is no backward.
        """
        if not self.abilities.has_backward(q.device.type) and any(tensor.requires_grad for tensor in (q, k, v)):
            raise UnsupportedError(
                f"this attention has no backward on {q.device.type}, and an input requires a gradient: detach it"
            )
        if window is None:
            return self.attend(q, k, v, is_causal=is_causal)
        return self.attend(q, k, v, is_causal=is_causal, window=window)


def place_of(device: torch.device) -> Place:
    """Return what limits ask of a device of this machine."""
    return Place(
        name=str(device),
        kind=device.type,
        capability=torch.cuda.get_device_capability(device) if device.type == "cuda" else None,
        is_here=True,
    )


def load_backend(name: str) -> Backend:
    """Return the backend of a name in the table, or wrap a user's own function `module:attr`.

    A backend that compiles is made anew in each call, so that no two cells share compiled code.

    Raises:
        SpecError: There is no such module or attribute, or it cannot be called.
    """
    found = load_attribute(f"attention {name!r}", ATTENTION_BACKENDS.get(name, name))
    if name in ATTENTION_BACKENDS and not isinstance(found, Backend):
        found = cast("Callable[[], Backend]", found)()
    if isinstance(found, Backend):
        return found
    if not callable(found):
        raise SpecError(f"attention {name!r} is {type(found).__name__}, not a function attend(q, k, v, *, is_causal)")
    attend = cast("Attend", found)  # whether it keeps the contract shows when it is called
    masks = ANY_MASK if _knows_window(found) else WITHOUT_WINDOW
    return Backend(attend=attend, abilities=Abilities(dtypes={"cpu": ANY_FLOAT, "cuda": ANY_FLOAT}, masks=masks))


def _knows_window(attend: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(attend).parameters
    except ValueError:  # code that is not Python's may have no signature: it will say so itself
        return True
    return "window" in parameters or any(item.kind is item.VAR_KEYWORD for item in parameters.values())
