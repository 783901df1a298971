"""The child that counts what a user's own model does and holds: a cell on standard input, numbers on the output."""

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from windtunnel.bench.failing import printable
from windtunnel.bench.live_bytes import LiveBytes
from windtunnel.bench.precision import dtype_of
from windtunnel.cost.counted import Counted
from windtunnel.cost.parameters import OPTIMIZER_STATES
from windtunnel.cost.tape import Component
from windtunnel.errors import SpecError, WindtunnelError
from windtunnel.models.own import check_logits, make_own_model
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import PRECISIONS

_TORCHS_OWN = ("aten.", "prim.", "prims.")


def count(cell: Cell) -> Counted:
    """Return what one step does and holds; no FLOPs, and a warning, where it runs operators that are not torch's.

    The model is made of fake tensors on a CPU, so nothing is computed and no memory is needed; fake CUDA tensors abort
    the process in backward. Attention counts as in the closed forms: the whole square of queries and keys, and twice
    that in backward. What the model computes again in backward is counted again. The optimizer is not run: fused AdamW
    changes in place its two states for each parameter that has a gradient.

    Raises:
        WindtunnelError: The model cannot be made, or what it makes of tokens is no logits.
    """
    assert isinstance(cell.model, OwnModel)
    trains = cell.workload != "forward"
    precision = PRECISIONS[cell.precision]
    autocast = torch.autocast("cpu", dtype=dtype_of(precision.product_dtype), enabled=precision.autocast is not None)
    held: dict[str, int] = {}
    before: int | None = None
    with FakeTensorMode(), torch.device("cpu"), LiveBytes() as live:
        model = _make(cell.model, context_length=cell.context_length, seed=cell.seed).train(trains)
        _convert(model, dtype_of(precision.weights))
        tokens = torch.zeros(cell.batch_size, cell.context_length, dtype=torch.int64)
        targets = torch.zeros(cell.batch_size * cell.context_length, dtype=torch.int64)
        resident = _resident(model, tokens, targets)
        live.end_phase()  # what making the model took is no part of the step
        seen = _Operators()
        forward, backward = (FlopCounterMode(display=False, custom_mapping=_ON_CPU) for _ in range(2))
        with torch.set_grad_enabled(trains), seen, forward, autocast:
            logits = model(tokens)
        check_logits(cell.model, logits, tokens, trains=trains)
        flops = {"forward": forward.get_total_flops()}
        held["forward"] = live.end_phase()
        if trains:
            with seen, autocast:
                given, logits = logits, None
                loss = F.cross_entropy(given.flatten(0, 1), targets)
                del given
            held["loss"], before = live.end_phase(), live.now
            with seen, backward:
                loss.backward()
            flops["backward"] = backward.get_total_flops()
            held["backward"] = live.end_phase()
        if cell.workload == "train_step":
            held["optimizer"] = live.now
            states = OPTIMIZER_STATES["adamw"] * sum(
                weights.nbytes for weights in model.parameters() if weights.grad is not None
            )
            resident[Component.OPTIMIZER.value] = states
            held = {phase: most + states for phase, most in held.items()}
            before = None if before is None else before + states
        parameters = sum(parameter.numel() for parameter in model.parameters())
    strangers = sorted(name for name in seen.names if not name.startswith(_TORCHS_OWN))
    return Counted(
        parameters=parameters,
        flops={} if strangers else flops,
        held=held,
        before_backward_bytes=before,
        resident=resident,
        warning=f"nobody knows those of {', '.join(strangers)}" if strangers else None,
    )


def _make(spec: OwnModel, *, context_length: int, seed: int) -> nn.Module:
    """Return the model that the user's code makes.

    Raises:
        SpecError: It makes none, or raises an error of its own. One that torch's code raises comes as it is: fake
            tensors may be its reason.
    """
    try:
        return make_own_model(spec, context_length=context_length, device=torch.device("cpu"), seed=seed)
    except (Exception, SystemExit) as error:
        if isinstance(error, WindtunnelError) or _is_raised_by_torch(error):
            raise
        raise SpecError(
            f"model {spec.factory!r} cannot be made: it must return a torch.nn.Module, and its code raised "
            f"{_named(error)}"
        ) from error


def _is_raised_by_torch(error: BaseException) -> bool:
    """Whether the innermost code of Python is torch's, as around every call of torch while a default device is set."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return Path(innermost.filename).is_relative_to(Path(torch.__file__).parent)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {printable(str(error))}"


def _convert(model: nn.Module, dtype: torch.dtype) -> None:
    """Give floating-point weights and buffers a format: `Module.to` cannot swap fake ones that others refer to."""
    converted: dict[int, torch.Tensor] = {}  # tied weights stay one
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None or not tensor.is_floating_point() or tensor.dtype == dtype:
                    continue
                if id(tensor) not in converted:
                    new = tensor.detach().to(dtype)
                    is_weight = isinstance(tensor, nn.Parameter)
                    converted[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_weight else new
                tensors[name] = converted[id(tensor)]  # pyright: ignore[reportArgumentType]


def _resident(model: nn.Module, *inputs: torch.Tensor) -> dict[str, int]:
    """Return the bytes of what is there for the whole step, by component, without the optimizer's."""
    weights = sum(parameter.nbytes for parameter in model.parameters())
    others = sum(tensor.nbytes for tensor in (*model.buffers(), *inputs))
    return {Component.PARAMETERS.value: weights, Component.INPUTS.value: others}


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
    """Answer one request; what the user's code prints goes to standard error, and what it raises into the answer."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with answers:
        try:
            counted = count(Cell.model_validate_json(sys.stdin.read()))
        except WindtunnelError as error:
            counted = Counted(fault=printable(str(error)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the child's top: the parent says what it was
            counted = Counted(
                warning=f"it does not run on torch's fake tensors, where they are counted: {_named(error)}"
            )
        json.dump(asdict(counted), answers)


if __name__ == "__main__":
    main()
