"""What each way to attend can do, for the worker that runs it and for predictions; the rest is refused by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal

from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.attention import MAX_D_HEAD
from windtunnel.spec.tables import DTYPE_BYTES, Capability

MaskKind = Literal["full", "causal", "window"]

WITHOUT_WINDOW: tuple[MaskKind, ...] = ("full", "causal")
ANY_MASK: tuple[MaskKind, ...] = (*WITHOUT_WINDOW, "window")

HALF = ("float16", "bfloat16")
SINGLE_AND_HALF = ("float32", *HALF)
ANY_FLOAT = ("float64", *SINGLE_AND_HALF)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A device as limits ask for it.

    Attributes:
        name: What messages call it.
        kind: The type that torch calls it by: cpu or cuda.
        capability: Compute capability of a CUDA device; None: not known, and nothing is refused for it.
        is_here: Whether what is not installed here is not installed there.
    """

    name: str
    kind: str
    capability: Capability | None = None
    is_here: bool = False

    def check_capability(self, what: str, least: Capability | None, advice: str = "") -> None:
        """Refuse a CUDA device that is older than that; `what` needs it, `advice` says what to do.

        Raises:
            UnsupportedError: It is.
        """
        if least is None or self.kind != "cuda" or self.capability is None or self.capability >= least:
            return
        raise UnsupportedError(
            f"{what} needs compute capability {_dotted(least)}; {self.name} has {_dotted(self.capability)}{advice}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What attention is asked for.

    Attributes:
        dtype: Of Q, K and V, by torch's name.
        d_head: Size of a head.
        is_causal: Whether query i sees keys 0…i only.
        window: How many of these keys it sees; None for all.
        is_square: Whether queries and keys are equally many.
        is_grouped: Whether several query heads share a key head.
        needs_backward: Whether gradients will be asked for.
    """

    dtype: str
    d_head: int
    is_causal: bool
    window: int | None = None
    is_square: bool = True
    is_grouped: bool = False
    needs_backward: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSizes:
    """Which `d_head` a backend takes; `most` is None where there is no limit.

    A head must fill a multiple of `multiple_bytes`: 16 of them are 8 numbers in half precision and 4 in float32.
    """

    least: int = 1
    most: int | None = None
    multiple_bytes: int = 1

    def allow(self, d_head: int, dtype: str) -> bool:
        """Whether a head of `d_head` numbers of `dtype` is taken."""
        is_small_enough = self.most is None or d_head <= self.most
        return self.least <= d_head and is_small_enough and d_head * DTYPE_BYTES[dtype] % self.multiple_bytes == 0

    def text(self, dtype: str) -> str:
        """Say what is allowed for heads of `dtype`."""
        multiple = self.multiple_bytes // DTYPE_BYTES[dtype]
        parts = [
            f"at least {self.least}" if self.least > 1 else "",
            f"at most {self.most}" if self.most is not None else "",
            f"a multiple of {multiple}" if multiple > 1 else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Abilities:
    """What a way to attend can do; the defaults are those of plain PyTorch code, which can do everything.

    `dtypes` names for each device type what is taken there, and `d_heads` the sizes of a head (any, where it names
    no device type). `forward_only` are device types without a backward. `needs_square_masks` says that causal masks
    are aligned otherwise than at the top left, so that queries and keys must be equally many. `is_compiled` says that
    torch.compile is inside. `least_capability` is of CUDA devices, and `package` is what has to be importable.
    """

    dtypes: Mapping[str, tuple[str, ...]]
    d_heads: Mapping[str, HeadSizes] = field(default_factory=lambda: MappingProxyType({}))
    masks: tuple[MaskKind, ...] = ANY_MASK
    needs_square_masks: bool = False
    has_grouped: bool = True
    forward_only: tuple[str, ...] = ()
    is_compiled: bool = False
    least_capability: Capability | None = None
    package: str | None = None

    def has_backward(self, kind: str) -> bool:
        """Whether gradients can be asked for on devices of that type."""
        return kind not in self.forward_only

    def check(self, name: str, call: Call, place: Place) -> None:
        """Say before any launch what cannot be done; `name` is what the attention was asked for by.

        Raises:
            UnsupportedError: It cannot do that; the message has the value, what is allowed and what to do.
            SpecError: There is no such mask.
        """
        self._check_place(name, call.dtype, place)
        where = f"attention {name!r} on {place.kind}"
        sizes = self.d_heads.get(place.kind, HeadSizes())
        if not sizes.allow(call.d_head, call.dtype):
            raise UnsupportedError(
                f"{where} does not take d_head {call.d_head} in {call.dtype}; it takes {sizes.text(call.dtype)}"
            )
        kind = mask_kind(is_causal=call.is_causal, window=call.window)
        if kind not in self.masks:
            raise UnsupportedError(f"{where} has no {kind} mask; it has {', '.join(self.masks)}")
        if call.is_causal and self.needs_square_masks and not call.is_square:
            raise UnsupportedError(
                f"{where} aligns its causal mask at the last key: use as many queries as keys, or the full mask"
            )
        if call.is_grouped and not self.has_grouped:
            raise UnsupportedError(f"{where} takes no grouped heads: use as many key heads as query heads")
        if call.needs_backward and not self.has_backward(place.kind):
            raise UnsupportedError(f"{where} has no backward: use a forward workload, or another backend")

    def _check_place(self, name: str, dtype: str, place: Place) -> None:
        if place.kind not in self.dtypes:
            raise UnsupportedError(
                f"attention {name!r} does not run on {place.kind}; it runs on {', '.join(self.dtypes)}"
            )
        allowed = self.dtypes[place.kind]
        if dtype not in allowed:
            raise UnsupportedError(
                f"attention {name!r} on {place.kind} does not take {dtype}; it takes {', '.join(allowed)}"
            )
        if self.package is not None and place.is_here and not _is_installed(self.package):
            raise UnsupportedError(
                f"attention {name!r} needs the package {self.package}, which is not installed: "
                "install it, or use another backend"
            )
        place.check_capability(f"attention {name!r}", self.least_capability, ": use another backend")


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


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a package inside another is not there
        return False


def _dotted(capability: Capability) -> str:
    major, minor = capability
    return f"{major}.{minor}"


_PLAIN = Abilities(dtypes={"cpu": ANY_FLOAT, "cuda": ANY_FLOAT})

# What torch's pinned kernels take on CUDA: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, torch 2.11 to 2.13.
# Flash there takes no mask, and neither it nor any other kernel asks for d_head % 8 that torch pads for it. Compiled
# FlexAttention needs heads of 16 numbers on CUDA for its products; with more than 256 its tiles overflow shared memory.
ABILITIES: Mapping[str, Abilities] = {
    "eager": _PLAIN,
    "compiled": Abilities(dtypes=_PLAIN.dtypes, is_compiled=True),
    "sdpa": _PLAIN,
    "sdpa-flash": Abilities(
        dtypes={"cpu": ANY_FLOAT, "cuda": HALF},
        d_heads={"cuda": HeadSizes(most=256)},
        masks=WITHOUT_WINDOW,
        least_capability=(8, 0),
    ),
    "sdpa-efficient": Abilities(
        dtypes={"cuda": SINGLE_AND_HALF}, d_heads={"cuda": HeadSizes(multiple_bytes=16)}, has_grouped=False
    ),
    "sdpa-cudnn": Abilities(
        dtypes={"cuda": HALF},
        d_heads={"cuda": HeadSizes(most=256, multiple_bytes=16)},
        masks=WITHOUT_WINDOW,
        least_capability=(8, 0),
    ),
    "sdpa-math": _PLAIN,
    "flex": Abilities(
        dtypes={"cpu": SINGLE_AND_HALF, "cuda": SINGLE_AND_HALF},
        d_heads={"cuda": HeadSizes(least=16, most=256)},
        forward_only=("cpu",),
        is_compiled=True,
        least_capability=(8, 0),
    ),
    "flash-eager": Abilities(dtypes=_PLAIN.dtypes, d_heads=dict.fromkeys(("cpu", "cuda"), HeadSizes(most=MAX_D_HEAD))),
    "flash-triton": Abilities(
        dtypes={"cuda": SINGLE_AND_HALF},
        d_heads={"cuda": HeadSizes(most=MAX_D_HEAD)},
        least_capability=(8, 0),
        package="triton",
    ),
    "flash-attn": Abilities(
        dtypes={"cuda": HALF},
        d_heads={"cuda": HeadSizes(most=256)},
        needs_square_masks=True,
        least_capability=(8, 0),
        package="flash_attn",
    ),
    "flash-attn-3": Abilities(
        dtypes={"cuda": HALF},
        d_heads={"cuda": HeadSizes(most=256)},
        needs_square_masks=True,
        least_capability=(9, 0),
        package="flash_attn_interface",
    ),
    "flash-attn-4": Abilities(
        dtypes={"cuda": HALF},
        d_heads={"cuda": HeadSizes(most=256, multiple_bytes=16)},
        needs_square_masks=True,
        least_capability=(9, 0),
        package="flash_attn.cute",
    ),
}
"""What the backends of the table can do, by their names."""
