"""In which format sums inside an operation are kept, where the flags in force tell it: no result shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from windtunnel.records.memory_ledger import OperationKind
from windtunnel.records.precision_look import NOT_OBSERVABLE

_HALF = frozenset({"float16", "bfloat16"})


def flags_in_force(device: torch.device) -> Mapping[str, str]:
    """Return the switches of PyTorch that decide how products are made, as they stand now."""
    flags = {"float32_matmul_precision": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        matmul = torch.backends.cuda.matmul
        flags["cuda.matmul.allow_tf32"] = str(matmul.allow_tf32)
        flags["cudnn.allow_tf32"] = str(torch.backends.cudnn.allow_tf32)
        flags["cuda.matmul.allow_fp16_reduced_precision_reduction"] = str(matmul.allow_fp16_reduced_precision_reduction)
        flags["cuda.matmul.allow_fp16_accumulation"] = str(matmul.allow_fp16_accumulation)
        flags["cuda.matmul.allow_bf16_reduced_precision_reduction"] = str(matmul.allow_bf16_reduced_precision_reduction)
    return flags


def mode_of(kind: OperationKind, inputs: Sequence[str], device: torch.device) -> str:
    """Say whether a product of float32 tensors may run as TF32; empty for anything else. TF32 is no dtype."""
    if kind is not OperationKind.PRODUCT or "float32" not in inputs or device.type != "cuda":
        return ""
    return "TF32 allowed" if torch.backends.cuda.matmul.allow_tf32 else "TF32 off"


def accumulation_of(func: Any, kind: OperationKind, inputs: Sequence[str], device: torch.device) -> str:
    """Return the format of the sums inside an operation; `none` where it has none.

    Matrix products on CUDA are asked of cuBLAS with sums in float32 for all formats but float64, and float16 where its
    flag asks for sums in it. Of half formats the partial sums of a product that is split may be in the half format,
    where PyTorch's flag allows it.
    Source: PyTorch, "Numerical accuracy", and `aten/src/ATen/cuda/CUDABlas.cpp`.
    """
    if torch.Tag.pointwise in func.tags or kind is OperationKind.POINTWISE:
        return "none"
    if kind is not OperationKind.PRODUCT or device.type != "cuda":
        return NOT_OBSERVABLE
    if "float64" in inputs:
        return "float64"
    halves = _HALF.intersection(inputs)
    matmul = torch.backends.cuda.matmul
    if "float16" in halves and matmul.allow_fp16_accumulation:
        return "float16"
    allowed = {
        "float16": bool(matmul.allow_fp16_reduced_precision_reduction),
        "bfloat16": bool(matmul.allow_bf16_reduced_precision_reduction),
    }
    reduced = sorted(half for half in halves if allowed[half])
    return f"float32; split sums may be {reduced[0]}" if reduced else "float32"
