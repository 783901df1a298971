"""torch's scaled_dot_product_attention: as torch chooses, and pinned to each of its backends.

All of them align causal masks at the top left. A window is a mask of queries * keys booleans, made in each call; only
the backends that take such a mask have it.
"""

import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from windtunnel.attention.backend import Attend, Backend
from windtunnel.attention.eager import hidden_keys
from windtunnel.errors import UnsupportedError
from windtunnel.spec.abilities import ABILITIES

_NO_KERNEL = ("No available kernel", "No viable backend")
"""How torch begins to say that the pinned backend cannot take this call."""


def attend(
    q: Float[Tensor, "batch heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    *,
    is_causal: bool,
    window: int | None = None,
) -> Float[Tensor, "batch heads queries d_head"]:
    """Attend with whichever backend torch chooses for this call."""
    is_grouped = k.shape[1] != q.shape[1]
    if window is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, enable_gqa=is_grouped)
    visible = ~hidden_keys(q.shape[2], k.shape[2], window=window, device=q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=is_grouped)


def _pinned(backend: SDPBackend) -> Attend:
    def attend_pinned(
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
        window: int | None = None,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Attend with one backend of torch, or raise UnsupportedError: torch must not choose another."""
        with sdpa_kernel(backend):
            try:
                return attend(q, k, v, is_causal=is_causal, window=window)
            except RuntimeError as error:
                if str(error).startswith(_NO_KERNEL):
                    raise UnsupportedError(
                        f"torch's {backend.name} attention cannot take this call: {error}"
                    ) from error
                raise

    return attend_pinned


SDPA = Backend(attend=attend, abilities=ABILITIES["sdpa"])
SDPA_FLASH = Backend(attend=_pinned(SDPBackend.FLASH_ATTENTION), abilities=ABILITIES["sdpa-flash"])
SDPA_EFFICIENT = Backend(attend=_pinned(SDPBackend.EFFICIENT_ATTENTION), abilities=ABILITIES["sdpa-efficient"])
SDPA_CUDNN = Backend(attend=_pinned(SDPBackend.CUDNN_ATTENTION), abilities=ABILITIES["sdpa-cudnn"])
SDPA_MATH = Backend(attend=_pinned(SDPBackend.MATH), abilities=ABILITIES["sdpa-math"])
