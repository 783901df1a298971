"""What autocast makes of the inputs of an autograd function, inside which it does nothing by itself."""

import torch
from torch import Tensor

_DEVICES = ("cpu", "cuda")
"""Types of devices that have autocast; torch's own question for it (torch 2.11) cannot be compiled."""


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in the dtype of autocast where that is on for the device of the first one.

    As torch's own operators do it: float64 and whole numbers stay what they are.
    """
    device_type = tensors[0].device.type
    if device_type not in _DEVICES or not torch.is_autocast_enabled(device_type):
        return tensors
    dtype = torch.get_autocast_dtype(device_type)
    return tuple(
        tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor
        for tensor in tensors
    )
