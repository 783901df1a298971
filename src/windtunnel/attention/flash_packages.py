"""The published FlashAttention packages, where they are installed: thin adapters to their own layout.

They take [batch, seq, heads, d_head], count a window by the keys before the query, and align causal masks at the last
key. Nothing of them is imported before the first call.
"""

import importlib

from jaxtyping import Float
from torch import Tensor

from windtunnel.attention.backend import Attend, Backend
from windtunnel.spec.abilities import ABILITIES


def _adapter(module: str) -> Attend:
    def attend(
        q: Float[Tensor, "batch heads queries d_head"],
        k: Float[Tensor, "batch kv_heads keys d_head"],
        v: Float[Tensor, "batch kv_heads keys d_head"],
        *,
        is_causal: bool,
        window: int | None = None,
    ) -> Float[Tensor, "batch heads queries d_head"]:
        """Attend with the package's `flash_attn_func`; transposing copies nothing."""
        options = {} if window is None else {"window_size": (window - 1, 0)}
        flash_attn_func = importlib.import_module(module).flash_attn_func
        found = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=is_causal, **options)
        o = found[0] if isinstance(found, tuple) else found  # some versions return the log-sum-exp as well
        return o.transpose(1, 2)

    return attend


FLASH_ATTN = Backend(attend=_adapter("flash_attn"), abilities=ABILITIES["flash-attn"])
FLASH_ATTN_3 = Backend(attend=_adapter("flash_attn_interface"), abilities=ABILITIES["flash-attn-3"])
FLASH_ATTN_4 = Backend(attend=_adapter("flash_attn.cute"), abilities=ABILITIES["flash-attn-4"])
