"""How far the results of attention are from float64, on some heads of the cell's own inputs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from windtunnel.attention.reference import reference, relative_error
from windtunnel.errors import UnsupportedError
from windtunnel.records.record import TensorError
from windtunnel.spec.attention import AttentionSpec, parse_mask
from windtunnel.spec.cell import Cell

FLOPS_BUDGET = {"cpu": 2e10, "cuda": 2e13}
"""What float64 may cost: about a second of one CPU core, and of a GPU with float64 tensor cores."""

_PRODUCTS = 6
"""S, O, dP, dQ, dK and dV, each 2 * d_head FLOPs for a pair of a query and a key."""

_OF_KEYS = {"K", "V", "dK", "dV"}


def find_errors(cell: Cell, tensors: Mapping[str, Tensor]) -> tuple[TensorError, ...]:
    """Compare the results in `tensors` with float64, on the first and the last key head and the queries they serve.

    Where two of them cost too much there is the first alone. Inputs are taken as exact in the format they have. A
    result that is zero in float64 (dQ of a query that sees one key) has no relative error and is left out.

    Raises:
        UnsupportedError: One key head alone costs too much.
    """
    shape = cell.model
    assert isinstance(shape, AttentionSpec)
    group = shape.num_heads // shape.kv_heads
    picked = list(dict.fromkeys([(0, 0), (cell.batch_size - 1, shape.kv_heads - 1)]))
    budget, flops = FLOPS_BUDGET[torch.device(cell.device).type], _flops(cell, shape, group)
    if flops > budget:
        raise UnsupportedError(f"one key head in float64 takes {flops:.1e} FLOPs, more than {budget:.0e}")
    picked = picked[: int(budget // flops)]
    found = {
        name: _heads(tensor.detach(), picked, each=1 if name in _OF_KEYS else group) for name, tensor in tensors.items()
    }
    mask = parse_mask(shape.mask)
    dO = found.get("dO", torch.zeros_like(found["Q"]))
    exact = reference(found["Q"], found["K"], found["V"], dO, is_causal=mask.is_causal, window=mask.window)
    expected = {"O": exact.o, "dQ": exact.dq, "dK": exact.dk, "dV": exact.dv}
    return tuple(
        TensorError(
            tensor=name, relative_error=relative_error(found[name], expected[name]), num_heads=group * len(picked)
        )
        for name in expected
        if name in found and expected[name].any()
    )


def _flops(cell: Cell, shape: AttentionSpec, num_heads: int) -> int:
    pairs = cell.context_length**2 // (2 if parse_mask(shape.mask).is_causal else 1)
    return max(1, 2 * _PRODUCTS * num_heads * pairs * shape.d_head)


def _heads(tensor: Tensor, picked: Sequence[tuple[int, int]], *, each: int) -> Tensor:
    """Return `each` heads for every picked pair of a sequence and a key head, in a batch entry of its own."""
    return torch.stack([tensor[sequence, head * each : (head + 1) * each] for sequence, head in picked])
