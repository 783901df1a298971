"""What a backend is, what it declares that it can do, and how its name becomes one."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from windtunnel.attention.loading import load_attribute
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.tables import ATTENTION_BACKENDS

MaskKind = Literal["full", "causal", "window"]

WITHOUT_WINDOW: tuple[MaskKind, ...] = ("full", "causal")
ANY_MASK: tuple[MaskKind, ...] = (*WITHOUT_WINDOW, "window")

ANY_FLOAT = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
HALF = (torch.float16, torch.bfloat16)


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


def mask_kind(*, is_causal: bool, window: int | None) -> MaskKind:
    """Return what kind of mask that is.

    Raises:
        SpecError: There is a window without `is_causal`, or an empty one.
    """
    if window is None:
        return "causal" if is_causal else "full"
    if not is_causal or window < 1:
        raise SpecError(
            f"window is {window} with is_causal={is_causal}; allowed: at least 1, with is_causal=True: "
            "query i sees keys i - window + 1 to i"
        )
    return "window"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSizes:
    """Which `d_head` a backend takes; `most` is None where there is no limit.

    A head must fill a multiple of `multiple_bytes`: 16 of them are 8 numbers in half precision and 4 in float32.
    """

    least: int = 1
    most: int | None = None
    multiple_bytes: int = 1

    def allow(self, d_head: int, dtype: torch.dtype) -> bool:
        """Whether a head of `d_head` numbers of `dtype` is taken."""
        is_small_enough = self.most is None or d_head <= self.most
        return self.least <= d_head and is_small_enough and d_head * dtype.itemsize % self.multiple_bytes == 0

    def text(self, dtype: torch.dtype) -> str:
        """Say what is allowed for heads of `dtype`."""
        multiple = self.multiple_bytes // dtype.itemsize
        parts = [
            f"at least {self.least}" if self.least > 1 else "",
            f"at most {self.most}" if self.most is not None else "",
            f"a multiple of {multiple}" if multiple > 1 else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A way to attend, and what it can do; the defaults are those of plain PyTorch code, which can do everything.

    `dtypes` names for each device type what is taken there, and `d_heads` the sizes of a head (any, where it names
    no device type). `forward_only` are device types without a backward. `needs_square_masks` says that causal masks
    are aligned otherwise than at the top left, so that queries and keys must be equally many. `is_compiled` says that
    torch.compile is inside. `least_capability` is of CUDA devices, and `package` is what has to be importable.
    """

    attend: Attend
    dtypes: Mapping[str, tuple[torch.dtype, ...]]
    d_heads: Mapping[str, HeadSizes] = field(default_factory=lambda: MappingProxyType({}))
    masks: tuple[MaskKind, ...] = ANY_MASK
    needs_square_masks: bool = False
    has_grouped: bool = True
    forward_only: tuple[str, ...] = ()
    is_compiled: bool = False
    least_capability: tuple[int, int] | None = None
    package: str | None = None

    def has_backward(self, device_type: str) -> bool:
        """Whether gradients can be asked for there."""
        return device_type not in self.forward_only

    def check(
        self,
        name: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        d_head: int,
        is_causal: bool,
        window: int | None = None,
        is_square: bool = True,
        is_grouped: bool = False,
        needs_backward: bool = False,
    ) -> None:
        """Say before any launch what this backend cannot do.

        Args:
            name: What it was asked for by.
            device: Where; a CUDA device is asked for its compute capability if one is needed.
            dtype: Of Q, K and V.
            d_head: Size of a head.
            is_causal: Whether query i sees keys 0…i only.
            window: How many of these keys it sees; None for all.
            is_square: Whether queries and keys are equally many.
            is_grouped: Whether several query heads share a key head.
            needs_backward: Whether gradients will be asked for.

        Raises:
            UnsupportedError: It cannot do that; the message has the value, what is allowed and what to do.
            SpecError: There is no such mask.
        """
        self._check_device(name, device, dtype)
        where = f"attention {name!r} on {device.type}"
        sizes = self.d_heads.get(device.type, HeadSizes())
        if not sizes.allow(d_head, dtype):
            raise UnsupportedError(
                f"{where} does not take d_head {d_head} in {_text(dtype)}; it takes {sizes.text(dtype)}"
            )
        kind = mask_kind(is_causal=is_causal, window=window)
        if kind not in self.masks:
            raise UnsupportedError(f"{where} has no {kind} mask; it has {', '.join(self.masks)}")
        if is_causal and self.needs_square_masks and not is_square:
            raise UnsupportedError(
                f"{where} aligns its causal mask at the last key: use as many queries as keys, or the full mask"
            )
        if is_grouped and not self.has_grouped:
            raise UnsupportedError(f"{where} takes no grouped heads: use as many key heads as query heads")
        if needs_backward and not self.has_backward(device.type):
            raise UnsupportedError(f"{where} has no backward: use a forward workload, or another backend")

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
        if not self.has_backward(q.device.type) and any(tensor.requires_grad for tensor in (q, k, v)):
            raise UnsupportedError(
                f"this attention has no backward on {q.device.type}, and an input requires a gradient: detach it"
            )
        if window is None:
            return self.attend(q, k, v, is_causal=is_causal)
        return self.attend(q, k, v, is_causal=is_causal, window=window)

    def _check_device(self, name: str, device: torch.device, dtype: torch.dtype) -> None:
        if device.type not in self.dtypes:
            raise UnsupportedError(
                f"attention {name!r} does not run on {device.type}; it runs on {', '.join(self.dtypes)}"
            )
        allowed = self.dtypes[device.type]
        if dtype not in allowed:
            names = ", ".join(map(_text, allowed))
            raise UnsupportedError(
                f"attention {name!r} on {device.type} does not take {_text(dtype)}; it takes {names}"
            )
        if self.package is not None and not _is_installed(self.package):
            raise UnsupportedError(
                f"attention {name!r} needs the package {self.package}, which is not installed: "
                "install it, or use another backend"
            )
        if device.type == "cuda" and self.least_capability is not None:
            capability = torch.cuda.get_device_capability(device)
            if capability < self.least_capability:
                raise UnsupportedError(
                    f"attention {name!r} needs compute capability {_dotted(self.least_capability)}; "
                    f"{device} has {_dotted(capability)}: use another backend"
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
    return Backend(attend=attend, dtypes={"cpu": ANY_FLOAT, "cuda": ANY_FLOAT}, masks=masks)


def _knows_window(attend: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(attend).parameters
    except ValueError:  # code that is not Python's may have no signature: it will say so itself
        return True
    return "window" in parameters or any(item.kind is item.VAR_KEYWORD for item in parameters.values())


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a package inside another is not there
        return False


def _text(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dotted(capability: tuple[int, int]) -> str:
    major, minor = capability
    return f"{major}.{minor}"
