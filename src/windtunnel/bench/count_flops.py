"""The child that counts the FLOPs of a user's own model: a cell on standard input, its FLOPs on standard output."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from windtunnel.models.own import make_own_model
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel

_TORCHS_OWN = ("aten.", "prim.", "prims.")


def count(cell: Cell) -> tuple[dict[str, int], Sequence[str]]:
    """Return the FLOPs of the matrix products by phase, and the operators that are not torch's, of which none is known.

    The model is made of fake tensors on a CPU, so nothing is computed and no memory is needed; fake CUDA tensors abort
    the process in backward. Attention counts as in the closed forms: the whole square of queries and keys, and twice
    that in backward. What the model computes again in backward is counted again.
    """
    assert isinstance(cell.model, OwnModel)
    trains = cell.workload != "forward"
    with FakeTensorMode(), torch.device("cpu"):
        model = make_own_model(
            cell.model, context_length=cell.context_length, device=torch.device("cpu"), seed=cell.seed
        ).train(trains)
        tokens = torch.zeros(cell.batch_size, cell.context_length, dtype=torch.int64)
        seen = _Operators()
        forward, backward = (FlopCounterMode(display=False, custom_mapping=_ON_CPU) for _ in range(2))
        with torch.set_grad_enabled(trains), seen, forward:
            logits = model(tokens)
        flops = {"forward": forward.get_total_flops()}
        if trains:
            with seen, backward:
                F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
            flops["backward"] = backward.get_total_flops()
    return flops, sorted(name for name in seen.names if not name.startswith(_TORCHS_OWN))


class _Operators(TorchDispatchMode):
    """The names of all operators that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def _attention_flops(q: Any, k: Any, v: Any, *args: object, **kwargs: object) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward_flops(dO: Any, q: Any, k: Any, v: Any, *args: object, **kwargs: object) -> int:
    return 2 * sdpa_flop_count(q, k, v)


_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}
"""What torch's own counter takes for no work (torch 2.13)."""


def main() -> None:
    """Answer one request; what the user's code prints goes to standard error, and any error of it ends the process."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    flops, strangers = count(Cell.model_validate_json(sys.stdin.read()))
    with answers:
        json.dump({"flops": flops, "strangers": strangers}, answers)


if __name__ == "__main__":
    main()
