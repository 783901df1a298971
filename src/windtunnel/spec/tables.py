"""What can be asked for by name: a line each. The rooms below `do` give each name its meaning in torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadKind:
    """What one step does, and what lies inside the timed region of each of its phases.

    `timed` is in the order of the phases; its last entry is the whole step. Outside every region: making
    the batch, clearing gradients, reading the loss.
    """

    summary: str
    timed: Mapping[str, str]

    @property
    def total(self) -> str:
        """The name of the phase that is the whole step."""
        return tuple(self.timed)[-1]


_TRAINING_FORWARD = "logits with the graph for gradients"
_LOSS = "mean cross-entropy of the logits"
_BACKWARD = "gradients of the loss for every parameter, written into cleared gradients"

STEP_WORKLOADS = {
    "forward": WorkloadKind(
        summary="inference: logits without gradients",
        timed={"forward": "logits of the batch under no_grad; no loss"},
    ),
    "forward_backward": WorkloadKind(
        summary="forward with gradients, loss, backward",
        timed={
            "forward": _TRAINING_FORWARD,
            "loss": _LOSS,
            "backward": _BACKWARD,
            "forward_backward": "forward, loss and backward; no optimizer, gradients cleared before",
        },
    ),
    "train_step": WorkloadKind(
        summary="forward with gradients, loss, backward, fused AdamW",
        timed={
            "forward": _TRAINING_FORWARD,
            "loss": _LOSS,
            "backward": _BACKWARD,
            "optimizer": "one fused AdamW update of every parameter, with loss unscaling where precision is fp16",
            "step": "forward, loss, backward and optimizer; gradients cleared before",
        },
    ),
}
"""What a step of a whole model may be."""

ATTENTION_WORKLOADS = {
    "attention_forward": WorkloadKind(
        summary="attention alone, forward without gradients",
        timed={"forward": "O of given Q, K and V, under no_grad"},
    ),
    "attention_forward_backward": WorkloadKind(
        summary="attention alone, forward and backward",
        timed={
            "forward": "O of given Q, K and V, keeping what backward needs",
            "backward": "dQ, dK and dV of a given dO; no loss",
            "forward_backward": "forward and backward; gradients are new tensors, not added to older ones",
        },
    ),
}
"""What a step of attention alone may be."""

WORKLOADS = {**STEP_WORKLOADS, **ATTENTION_WORKLOADS}


Capability: TypeAlias = tuple[int, int]
"""Compute capability of a CUDA device: 8.0 is (8, 0)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """In which formats a step stores its weights and multiplies its matrices.

    `weights` and `autocast` name torch dtypes; `autocast` is None where there is no autocast region.
    `peak` names the column of the device table that bounds its matrix products. `least_capability` is that of CUDA
    devices which have it in hardware; None: all.
    """

    weights: str
    autocast: str | None
    tf32: bool
    peak: str
    least_capability: Capability | None = None
    description: str

    @property
    def product_dtype(self) -> str:
        """The format of what goes into matrix products, and of Q, K and V."""
        return self.autocast or self.weights

    @property
    def product_bytes(self) -> int:
        """Bytes of one element of that format."""
        return DTYPE_BYTES[self.product_dtype]


DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


PRECISIONS = {
    "fp32": Precision(
        weights="float32", autocast=None, tf32=False, peak="fp32", description="float32 throughout, TF32 off"
    ),
    "tf32": Precision(
        weights="float32",
        autocast=None,
        tf32=True,
        peak="tf32",
        least_capability=(8, 0),
        description="float32 storage, matrix products on TF32 tensor cores",
    ),
    "bf16": Precision(
        weights="float32",
        autocast="bfloat16",
        tf32=False,
        peak="bf16",
        least_capability=(8, 0),
        description="bfloat16 autocast on float32 weights",
    ),
    "fp16": Precision(
        weights="float32",
        autocast="float16",
        tf32=False,
        peak="fp16",
        description="float16 autocast on float32 weights, loss scaling in train_step",
    ),
    "bf16-pure": Precision(
        weights="bfloat16",
        autocast=None,
        tf32=False,
        peak="bf16",
        least_capability=(8, 0),
        description="bfloat16 weights, gradients and optimizer state",
    ),
}

LATER_PRECISIONS = {
    "fp8": "its scaling of every tensor is a recipe of its own, which no model here has yet; use bf16, which has the "
    "same weights and optimizer states",
}
"""Precisions that are known and not supported until a later version: why, and what to use."""

ATTENTION_BACKENDS = {
    "eager": "windtunnel.attention.eager:BACKEND",
    "compiled": "windtunnel.attention.compiled:make_backend",
    "sdpa": "windtunnel.attention.sdpa:SDPA",
    "sdpa-flash": "windtunnel.attention.sdpa:SDPA_FLASH",
    "sdpa-efficient": "windtunnel.attention.sdpa:SDPA_EFFICIENT",
    "sdpa-cudnn": "windtunnel.attention.sdpa:SDPA_CUDNN",
    "sdpa-math": "windtunnel.attention.sdpa:SDPA_MATH",
    "flex": "windtunnel.attention.flex:make_backend",
    "flash-eager": "windtunnel.attention.flash_eager:BACKEND",
    "flash-triton": "windtunnel.attention.flash_triton:BACKEND",
    "flash-attn": "windtunnel.attention.flash_packages:FLASH_ATTN",
    "flash-attn-3": "windtunnel.attention.flash_packages:FLASH_ATTN_3",
    "flash-attn-4": "windtunnel.attention.flash_packages:FLASH_ATTN_4",
}
"""Backend name to `module:attr`, imported by the worker only: a `Backend`, or a function that makes one. What each can
do stands in `ABILITIES`."""

COMPILE_MODES = ("off", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""`off`, or a mode of `torch.compile`."""
