"""torch's scaled_dot_product_attention: as torch chooses, and pinned to each of its backends."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from windtunnel.attention.backend import ANY_FLOAT, HALF, Attend, Backend
from windtunnel.errors import UnsupportedError

_NO_KERNEL = ("No available kernel", "No viable backend")
"""How torch begins to say that the pinned backend cannot take this call."""


def attend(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    *,
    is_causal: bool,
) -> Float[Tensor, "batch heads queries d_head"]:
    """Attend with whichever backend torch chooses for this call."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, enable_gqa=k.shape[1] != q.shape[1])


def _pinned(backend: SDPBackend) -> Attend:
    def attend_pinned(
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Attend with one backend of torch, or raise UnsupportedError: torch must not choose another."""
        with sdpa_kernel(backend):
            try:
                return attend(q, k, v, is_causal=is_causal)
            except RuntimeError as error:
                if str(error).startswith(_NO_KERNEL):
                    raise UnsupportedError(
                        f"torch's {backend.name} attention cannot take this call: {error}"
                    ) from error
                raise

    return attend_pinned


def _pinned_backend(backend: SDPBackend, dtypes: Mapping[str, tuple[torch.dtype, ...]]) -> Backend:
    return Backend(attend=_pinned(backend), dtypes=dtypes)


SDPA = Backend(attend=attend, dtypes={"cpu": ANY_FLOAT, "cuda": ANY_FLOAT})
SDPA_FLASH = _pinned_backend(SDPBackend.FLASH_ATTENTION, {"cpu": ANY_FLOAT, "cuda": HALF})
SDPA_EFFICIENT = _pinned_backend(SDPBackend.EFFICIENT_ATTENTION, {"cuda": (torch.float32, *HALF)})
SDPA_CUDNN = _pinned_backend(SDPBackend.CUDNN_ATTENTION, {"cuda": HALF})
SDPA_MATH = _pinned_backend(SDPBackend.MATH, {"cpu": ANY_FLOAT, "cuda": ANY_FLOAT})
