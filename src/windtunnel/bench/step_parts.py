"""What the step of a whole model is made of, built on its device: the model, how it runs, and its batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MethodType
from zlib import crc32

import torch
from torch import Tensor, nn

from windtunnel.attention.backend import load_backend, place_of
from windtunnel.attention.own_code import with_own_code
from windtunnel.bench.precision import begin_step, dtype_of
from windtunnel.models.own import CheckedOnce, OwnTransformer, build_own_model
from windtunnel.models.transformer import Transformer, build_model
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import parse_checkpoint
from windtunnel.spec.limits import check_attention, check_precision
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import PRECISIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class StepParts:
    """What a step is made of: the model, how it is run, and its batch; `begin` comes before each step.

    `run_model` is the model, or what torch.compile made of it. `inputs` and `targets` are tokens, [batch, seq].
    `parameters` are counted where no closed form knows them, and None otherwise.
    """

    model: nn.Module
    run_model: Callable[[Tensor], Tensor]
    autocast: torch.autocast
    inputs: Tensor
    targets: Tensor
    begin: Callable[[], None]
    is_compiled: bool
    parameters: int | None


def build_parts(cell: Cell, *, data_seed: int | None = None) -> StepParts:
    """Build the model and the batch of `cell` on its device; `data_seed` is the cell's own seed where it is None.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
        SpecError: The code that makes a model of the user's own cannot be loaded, or does not make one.
    """
    device = torch.device(cell.device)
    assert not isinstance(cell.model, AttentionSpec)
    check_precision(cell.precision, place_of(device))
    precision = PRECISIONS[cell.precision]
    product_dtype = dtype_of(precision.product_dtype)
    if isinstance(cell.model, OwnModel):
        model, compiles_itself = _own_model(cell, cell.model, device), False
    else:
        model, compiles_itself = _reference_model(cell, cell.model, device)
    seed = cell.seed if data_seed is None else data_seed
    generator = torch.Generator(device).manual_seed(seed)
    tokens = torch.randint(
        cell.model.vocab_size, (cell.batch_size, cell.context_length + 1), generator=generator, device=device
    )
    run_model: Callable[[Tensor], Tensor] = model
    if cell.compile != "off":
        # fullgraph: a graph break is an error instead of a silently slower mixture.
        run_model = torch.compile(_with_own_code(model, cell), mode=cell.compile, fullgraph=True)
    parameters = None
    if isinstance(cell.model, OwnModel):
        run_model = CheckedOnce(cell.model, run_model, trains=cell.workload != "forward")
        parameters = sum(parameter.numel() for parameter in model.parameters())
    return StepParts(
        model=model,
        run_model=run_model,
        autocast=torch.autocast(device.type, dtype=product_dtype, enabled=precision.autocast is not None),
        inputs=tokens[:, :-1].contiguous(),
        targets=tokens[:, 1:].contiguous(),
        begin=partial(begin_step, uses_tf32=precision.tf32, is_compiled=cell.compile != "off"),
        is_compiled=compiles_itself or cell.compile != "off",
        parameters=parameters,
    )


def _own_model(cell: Cell, spec: OwnModel, device: torch.device) -> OwnTransformer:
    """Return the user's model, in the mode of its workload: layers such as dropout differ between the two."""
    dtype = dtype_of(PRECISIONS[cell.precision].weights)
    model = build_own_model(spec, context_length=cell.context_length, device=device, dtype=dtype, seed=cell.seed)
    return OwnTransformer(model.train(cell.workload != "forward"))


def _reference_model(cell: Cell, spec: ModelSpec, device: torch.device) -> tuple[Transformer, bool]:
    """Return the reference model with its attention, and whether that compiles itself."""
    backend = load_backend(cell.attention)
    check_attention(cell, backend.abilities, place_of(device))
    model = build_model(
        spec,
        backend.attend,
        context_length=cell.context_length,
        device=device,
        dtype=dtype_of(PRECISIONS[cell.precision].weights),
        seed=cell.seed,
        checkpoint=parse_checkpoint(cell.checkpoint),
    )
    return model, backend.abilities.is_compiled


def _with_own_code(model: torch.nn.Module, cell: Cell) -> torch.nn.Module:
    """Give the model a copy of its forward for Dynamo, by a name that differs where shapes do."""
    name = f"forward_{crc32(cell.model_dump_json().encode()):08x}"
    model.forward = MethodType(with_own_code(type(model).forward, name=name), model)
    return model
