"""The step of attention alone: Q, K and V in, O out, and back from a given dO."""

from collections.abc import Callable, Mapping
from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from windtunnel.attention.backend import Backend, load_backend, place_of
from windtunnel.attention.checks import check_output
from windtunnel.attention.own_code import with_own_code
from windtunnel.bench.precision import begin_step, dtype_of
from windtunnel.bench.workload import Phase, Workload
from windtunnel.errors import RunError, UnsupportedError
from windtunnel.spec.attention import AttentionSpec, parse_mask
from windtunnel.spec.cell import Cell
from windtunnel.spec.limits import check_attention, check_precision
from windtunnel.spec.tables import PRECISIONS, WORKLOADS

_Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

_GRADIENTS = ("dQ", "dK", "dV")

_WITH_CUDA_GRAPHS = {"reduce-overhead", "max-autotune"}
"""Modes of torch.compile in which a second run of a phase would overwrite what the first one returned."""


def build_attention(cell: Cell) -> Workload:
    """Draw Q, K, V and dO of `cell` on its device, each [batch, heads, seq, d_head] and contiguous.

    They are normal random numbers that follow from the seed, in the format of matrix products: there are no weights
    to keep in another one, so nothing is cast, and attention has no bf16-pure.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
        SpecError: The attention backend cannot be loaded.
    """
    shape = cell.model
    assert isinstance(shape, AttentionSpec)
    device = torch.device(cell.device)
    precision = PRECISIONS[cell.precision]
    dtype = dtype_of(precision.product_dtype)
    trains = cell.workload == "attention_forward_backward"
    place = place_of(device)
    check_precision(cell.precision, place)
    if precision.autocast is None and dtype != torch.float32:
        raise UnsupportedError(
            f"precision {cell.precision!r} is about weights, which attention alone does not have: use bf16"
        )
    backend = load_backend(cell.attention)
    check_attention(cell, backend.abilities, place)
    attend = _attend(cell, backend, shape)
    generator = torch.Generator(device).manual_seed(cell.seed)
    draw = partial(torch.randn, generator=generator, device=device, dtype=dtype)
    of_queries = (cell.batch_size, shape.num_heads, cell.context_length, shape.d_head)
    of_keys = (cell.batch_size, shape.kv_heads, cell.context_length, shape.d_head)
    q, k, v = (draw(size, requires_grad=trains) for size in (of_queries, of_keys, of_keys))
    step = _Step(
        cell.attention,
        attend,
        (q, k, v),
        dO=draw(of_queries) if trains else None,
        begin_step=partial(begin_step, uses_tf32=precision.tf32, is_compiled=cell.compile != "off"),
    )
    phases = [Phase(name="forward", run=step.forward)]
    if trains:
        phases.append(Phase(name="backward", run=step.backward))
    return Workload(
        phases=tuple(phases),
        total=WORKLOADS[cell.workload].total,
        reset=step.reset,
        fault=step.fault,
        is_compiled=backend.abilities.is_compiled or cell.compile != "off",
        repeat=None if cell.compile in _WITH_CUDA_GRAPHS else step.repeat,
        tensors=step.tensors,
    )


def _attend(cell: Cell, backend: Backend, shape: AttentionSpec) -> _Attend:
    """Return the backend with the mask of `cell`, compiled if that is asked for."""
    mask = parse_mask(shape.mask)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return backend.run(q, k, v, is_causal=mask.is_causal, window=mask.window)

    if cell.compile == "off":
        return attend
    name = f"attend_{crc32(cell.model_dump_json().encode()):08x}"
    # fullgraph: a graph break is an error instead of a silently slower mixture.
    return torch.compile(with_own_code(attend, name=name), mode=cell.compile, fullgraph=True)


class _Step:
    """The state of one step: its O, one for each run of forward where backward follows, and the last gradients."""

    def __init__(
        self,
        name: str,
        attend: _Attend,
        inputs: tuple[Tensor, Tensor, Tensor],
        *,
        dO: Tensor | None,
        begin_step: Callable[[], None],
    ) -> None:
        self._name = name
        self._inputs = inputs
        self._dO = dO
        self._attend: _Attend = partial(self._attend_first, attend)
        self._differentiate = self._differentiate_first
        self._begin_step = begin_step
        self._runs = 1
        self._outputs: list[Tensor] = []
        self._gradients: tuple[Tensor, ...] = ()

    def repeat(self, runs: int) -> None:
        """Run each phase so often in a row from the next step on."""
        self._runs = runs

    def reset(self) -> None:
        """Give up the results of the last step: no step holds two sets of them."""
        self._outputs, self._gradients = [], ()
        self._begin_step()

    def forward(self) -> None:
        """Attend; where backward follows, each run keeps a graph of its own, as backward uses one up."""
        if self._dO is not None:
            self._outputs = [self._attend(*self._inputs) for _ in range(self._runs)]
            return
        with torch.no_grad():
            for _ in range(self._runs):
                self._outputs = [self._attend(*self._inputs)]

    def backward(self) -> None:
        """Find dQ, dK and dV of each graph."""
        for o in self._outputs:
            self._gradients = self._differentiate(o)

    def _attend_first(self, attend: _Attend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend and look at what comes back; later calls go to `attend` itself, so that no sample holds the look."""
        versions = [tensor._version for tensor in self._inputs]
        o = attend(q, k, v)
        check_output(self._name, o, q, needs_backward=self._dO is not None)
        changed = [n for n, x, old in zip("QKV", self._inputs, versions, strict=True) if x._version != old]
        if changed:
            raise RunError(
                f"attention {self._name!r} changed its inputs in place ({', '.join(changed)}): later calls would "
                "attend with other numbers; let it write to a copy"
            )
        self._attend = attend
        return o

    def _differentiate_first(self, o: Tensor) -> tuple[Tensor, ...]:
        """Find the gradients and look whether there are all of them; later calls do not look."""
        gradients = torch.autograd.grad(o, self._inputs, self._dO, allow_unused=True)
        missing = [name for name, found in zip(_GRADIENTS, gradients, strict=True) if found is None]
        if missing:
            raise RunError(
                f"attention {self._name!r} has no gradient {', '.join(missing)}: its O does not depend on that input; "
                "is one detached, or its gradient None in the backward?"
            )
        self._differentiate = self._differentiate_again
        return gradients

    def _differentiate_again(self, o: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(o, self._inputs, self._dO)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the inputs, and the results of the last run."""
        q, k, v = self._inputs
        found = {"Q": q, "K": k, "V": v}
        if self._dO is not None:
            found["dO"] = self._dO
        return found | self._results()

    def fault(self) -> str | None:
        """Name the results of the last run that are not finite."""
        bad = [name for name, tensor in self._results().items() if not _is_finite(tensor)]
        return f"{', '.join(bad)} {'are' if len(bad) > 1 else 'is'} not all finite" if bad else None

    def _results(self) -> dict[str, Tensor]:
        results = {"O": self._outputs[-1].detach()} if self._outputs else {}
        return results | dict(zip(_GRADIENTS, self._gradients, strict=False))


def _is_finite(tensor: Tensor) -> bool:
    """Look at the extremes, which are nan if any number is: isfinite would need as much memory again."""
    return bool(torch.stack((tensor.amin(), tensor.amax())).isfinite().all())
