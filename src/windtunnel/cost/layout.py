"""Many devices: what a layout leaves to one of them, and what each must send."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from windtunnel.cost.parameters import block_parameter_count, parameter_count
from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

LAYOUTS = ("none", "ddp", "zero1", "fsdp")
LayoutKind = Literal["none", "ddp", "zero1", "fsdp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a step is spread over devices, each with a batch of its own.

    - `ddp`: each device holds all, and averages its gradients with the others.
    - `zero1`: as ddp, but each holds a share of the optimizer's state, updates that share of the weights, and sends it.
    - `fsdp`: each holds a share of weights, gradients and state; the weights of a block are gathered when it runs
      (`windtunnel.cost.sharding` says when, and what is held then).

    Shares are taken as equal, rounded up.
    """

    kind: LayoutKind = "none"
    world_size: int = 1

    @property
    def is_fsdp(self) -> bool:
        """Whether weights and gradients are shared out."""
        return self.kind == "fsdp"

    @property
    def has_buckets(self) -> bool:
        """Whether each device holds a copy of all gradients to send."""
        return self.kind in {"ddp", "zero1"}

    def of_weights(self, amount: int) -> int:
        """Return what one device keeps of so many weights or gradients."""
        return self._share(amount) if self.is_fsdp else amount

    def of_update(self, amount: int) -> int:
        """Return what one device updates of so many weights, or keeps of their state."""
        return self._share(amount) if self.kind in {"zero1", "fsdp"} else amount

    def of_tensors(self, count: int) -> int:
        """Return how many tensors one device updates: zero1 shares out whole ones, fsdp cuts each."""
        return self._share(count) if self.kind == "zero1" else count

    def _share(self, amount: int) -> int:
        return -(-amount // self.world_size)


ONE_DEVICE = Layout()


def make_layout(kind: str, world_size: int) -> Layout:
    """Return a layout.

    Raises:
        SpecError: There is no such layout, or it is impossible with so many devices.
    """
    if kind not in LAYOUTS:
        raise SpecError(unknown_name("parallel", kind, LAYOUTS))
    if world_size < 1:
        raise SpecError(f"world-size is {world_size}; allowed: a whole number from 1")
    if kind == "none" and world_size > 1:
        raise SpecError(
            f"world-size is {world_size}, and nothing says how the step is spread over so many devices: "
            f"give --parallel, one of {', '.join(LAYOUTS[1:])}"
        )
    if kind != "none" and world_size == 1:
        raise SpecError(f"parallel {kind!r} spreads a step over several devices: give --world-size from 2")
    return Layout(kind=kind, world_size=world_size)


def check_layout(cell: Cell, layout: Layout) -> None:
    """Say why a cell cannot be laid out so.

    Raises:
        SpecError: It has nothing to share out, or would not notice.
    """
    if layout.kind == "none":
        return
    if isinstance(cell.model, OwnModel):
        raise SpecError(
            f"parallel {layout.kind!r} needs the weights of the model, which are not known of one of your own"
        )
    if cell.is_attention:
        raise SpecError(f"parallel {layout.kind!r} is of whole models; attention alone has no weights: leave it out")
    if cell.workload == "forward" and layout.kind != "fsdp":
        raise SpecError(
            f"parallel {layout.kind!r} has no effect on forward, which sends nothing: leave it out, or use fsdp"
        )
    if layout.kind == "zero1" and cell.workload != "train_step":
        raise SpecError(f"parallel 'zero1' shares out the optimizer, and {cell.workload!r} has none: use train_step")


def wire_bytes(cell: Cell, layout: Layout) -> Mapping[str, int]:
    """Return what each device sends in each phase of a step, with rings; as much comes in.

    Gathering or scattering Ψ bytes among n devices sends Ψ·(n - 1)/n from each, and an all-reduce is one of both. With
    Ψ the bytes of all weights: DDP all-reduces gradients, 2·Ψ·(n - 1)/n; ZeRO-1 reduces and scatters gradients in
    backward and gathers weights after the update, the same in all; FSDP gathers all weights in forward, those of the
    blocks (β) again in backward, and scatters gradients: (2·Ψ + β)·(n - 1)/n. Weights and gradients are sent in the
    format of the weights.

    Source: Patarasuk & Yuan 2009 (doi 10.1016/j.jpdc.2008.09.002) for rings; Rajbhandari et al. 2020
    (arXiv:1910.02054), section 7, for the stages; `windtunnel.cost.sharding` for what FSDP does not gather again.

    Raises:
        SpecError: The cell cannot be laid out so.
    """
    check_layout(cell, layout)
    if layout.kind == "none":
        return {}
    assert isinstance(cell.model, ModelSpec)
    others, trains = layout.world_size - 1, cell.workload != "forward"
    shared = _bytes_of(cell, parameter_count(cell.model)) * others // layout.world_size
    of_blocks = cell.model.num_layers * block_parameter_count(cell.model)
    again = _bytes_of(cell, of_blocks) * others // layout.world_size
    match layout.kind:
        case "ddp":
            return {"backward": 2 * shared}
        case "zero1":
            return {"backward": shared, "optimizer": shared}
        case "fsdp":
            return {"forward": shared} | ({"backward": again + shared} if trains else {})


def _bytes_of(cell: Cell, parameters: int) -> int:
    return parameters * DTYPE_BYTES[PRECISIONS[cell.precision].weights]
