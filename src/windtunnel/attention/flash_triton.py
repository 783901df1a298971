"""FlashAttention-2 with windtunnel's own Triton kernels: never holds the scores, gives the same bits each time."""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from windtunnel.attention.autocast import as_autocast
from windtunnel.attention.backend import Backend
from windtunnel.attention.checks import check_inputs
from windtunnel.errors import UnsupportedError
from windtunnel.spec.abilities import ABILITIES

_ABILITIES = ABILITIES["flash-triton"]


class FlashAttention2Triton(torch.autograd.Function):
    """Attention that keeps only O and the log-sum-exp of each row for backward, beside its inputs.

    Under autocast the inputs are cast to its dtype. float32 is computed as torch multiplies float32 matrices: with the
    error of float32, or in TF32 where `torch.set_float32_matmul_precision` allows it.
    """

    @classmethod
    def apply(  # written out, because torch's own takes no keywords
        cls,
        q: Float[Tensor, "*batch queries d_head"],
        k: Float[Tensor, "*kv_batch keys d_head"],
        v: Float[Tensor, "*kv_batch keys d_head"],
        is_causal: bool = False,
        window: int | None = None,
    ) -> Float[Tensor, "*batch queries d_head"]:
        """Return O in the dtype and layout of `q`, of tensors with any strides.

        From four axes on the third last one counts heads, of which `k` and `v` may have fewer (grouped queries).

        Args:
            is_causal: Query i sees keys 0 … i, whatever the lengths are.
            window: With `is_causal`, query i sees only keys i - window + 1 … i.

        Raises:
            SpecError: The inputs do not fit each other, a head is wider than 256, or a query would see no key.
            UnsupportedError: Triton is missing, or the kernels take no such device, dtype or layout.
        """
        return super().apply(q, k, v, is_causal, window)

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False, window: int | None = None
    ) -> Tensor:
        """Run the forward kernel, on the tensors as autocast wants them."""
        ctx.dtypes = (q.dtype, k.dtype, v.dtype)
        q, k, v = as_autocast(q, k, v)
        check_inputs(q, k, v, is_causal=is_causal, window=window)
        _check_supported(q)
        run = _forward_op if _is_watched() else _forward  # an operator costs the host 10 us more
        O, L = run(_as_heads(q), _as_heads(k), _as_heads(v), is_causal, window)
        O, L = O.reshape(q.shape), L.reshape(q.shape[:-1])
        ctx.save_for_backward(q, k, v, O, L)
        ctx.is_causal, ctx.window = is_causal, window
        return O

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # torch documents this form
        ctx: Any, dO: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Run the two backward kernels; all three gradients are computed, whichever are asked for."""
        q, k, v, O, L = ctx.saved_tensors
        run = _backward_op if _is_watched() else _backward
        q4 = _as_heads(q)
        gradients = run(
            q4, _as_heads(k), _as_heads(v), _as_heads(O), L.reshape(q4.shape[:-1]), _as_heads(dO.to(O.dtype)),
            ctx.is_causal, ctx.window,
        )  # fmt: skip
        dq, dk, dv = (
            gradient.reshape(of.shape).to(dtype)
            for gradient, of, dtype in zip(gradients, (q, k, v), ctx.dtypes, strict=True)
        )
        return dq, dk, dv, None, None


def attend(
    q: Float[Tensor, "*batch queries d_head"],
    k: Float[Tensor, "*kv_batch keys d_head"],
    v: Float[Tensor, "*kv_batch keys d_head"],
    *,
    is_causal: bool,
    window: int | None = None,
) -> Float[Tensor, "*batch queries d_head"]:
    """Attend with `FlashAttention2Triton`.

    Cost: 4 * batch * heads * queries * keys * d_head FLOPs forward, 14 backward, about half of both when causal;
    4 bytes a row kept beside the inputs and O.
    """
    return FlashAttention2Triton.apply(q, k, v, is_causal, window)


BACKEND = Backend(attend=attend, abilities=_ABILITIES)


def _is_watched() -> bool:
    """Whether torch has to see one operator: to compile around it, or to keep its results in selective checkpointing.

    A launch of Triton is nothing to either of them.
    """
    return torch.compiler.is_compiling() or is_in_torch_dispatch_mode()


def _as_heads(tensor: Tensor) -> Tensor:
    """Return [batch, heads, sequence, d_head]; a view, but where more than four axes cannot be one."""
    if tensor.dim() == 4:
        return tensor
    if tensor.dim() < 4:
        return tensor.reshape(-1, 1, *tensor.shape[-2:])
    return tensor.reshape(-1, *tensor.shape[-3:])


def _check_supported(q: Tensor) -> None:
    allowed = _ABILITIES.dtypes["cuda"]  # in Triton's interpreter, too
    if str(q.dtype).removeprefix("torch.") not in allowed:
        raise UnsupportedError(f"attention 'flash-triton' does not take {q.dtype}; it takes {', '.join(allowed)}")


@cache
def _load_kernels() -> tuple[ModuleType, ModuleType, ModuleType, ModuleType]:
    """Return the kernels' modules; they import triton, which is not everywhere."""
    try:
        from windtunnel.kernels import blocks, flash_backward, flash_forward, tiles
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"attention 'flash-triton' needs {error.name}, which is not installed; it comes with torch for CUDA, "
            "or with: pip install 'triton>=3.6'"
        ) from error
    return blocks, flash_forward, flash_backward, tiles


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability; in Triton's interpreter, which runs anything, that of the smallest tiles."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)
    if _load_kernels()[0].IS_INTERPRETED:
        return (8, 0)
    raise UnsupportedError(f"attention 'flash-triton' does not run on {device.type}; it runs on cuda")


def _tiles_for(q: Tensor, *others: Tensor, is_causal: bool) -> Any:
    blocks, _, _, tiles = _load_kernels()
    return tiles.tiles_for(
        _capability(q.device),
        q.dtype,
        q.shape[-1],
        is_causal=is_causal,
        allows_tf32=torch.get_float32_matmul_precision() != "highest",
        can_describe=blocks.can_describe(q, *others),
    )


def _forward(q: Tensor, k: Tensor, v: Tensor, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
    blocks, flash_forward, _, _ = _load_kernels()
    tile = _tiles_for(q, k, v, is_causal=is_causal).forward
    blocks.check_strides(q=q, k=k, v=v)
    with torch.cuda.device_of(q):  # Triton launches on the current device
        return flash_forward.flash_forward(q, k, v, is_causal=is_causal, window=window, tile=tile)


def _backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    O: Tensor,
    L: Tensor,
    dO: Tensor,
    is_causal: bool,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    blocks, _, flash_backward, _ = _load_kernels()
    tiles = _tiles_for(q, k, v, dO, is_causal=is_causal)
    blocks.check_strides(dO=dO)
    with torch.cuda.device_of(q):
        return flash_backward.flash_backward(q, k, v, O, L, dO, is_causal=is_causal, window=window, tiles=tiles)


# torch.compile cannot look into a launch of Triton through an autograd function, and need not: an operator is opaque.
_forward_op = torch.library.custom_op(
    "windtunnel::flash_forward",
    _forward,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, bool is_causal, SymInt? window) -> (Tensor, Tensor)",
)
_backward_op = torch.library.custom_op(
    "windtunnel::flash_backward",
    _backward,
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, Tensor O, Tensor L, Tensor dO, bool is_causal, SymInt? window)"
    " -> (Tensor, Tensor, Tensor)",
)


@_forward_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), q.new_empty(q.shape[:-1], dtype=torch.float32)


@_backward_op.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    O: Tensor,
    L: Tensor,
    dO: Tensor,
    is_causal: bool,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
