"""An oracle of FSDP on a CPU: a step under `fully_shard`, one device of several, whose collectives move nothing."""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from live_bytes import build, operators_of_cuda
from windtunnel.attention.backend import Attend
from windtunnel.bench.live_bytes import LiveBytes
from windtunnel.spec.cell import Cell


class ResizedBytes(LiveBytes):
    """As `LiveBytes`, but looks at all storages after each operator: FSDP empties and fills those of its weights."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and count what is there after it."""
        made = super().__torch_dispatch__(func, types, args, kwargs)
        self.look()
        return made

    def see(self, tensor: Tensor) -> None:
        """Follow a tensor's storage; of one that is shared out, that of the share."""
        storage = (tensor._local_tensor if isinstance(tensor, DTensor) else tensor).untyped_storage()
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = weakref.ref(storage)
            weakref.finalize(storage, self._storages.pop, storage._cdata, None)

    def look(self) -> None:
        """Count what is there."""
        alive = (found() for found in list(self._storages.values()))
        self.now = sum(storage.nbytes() for storage in alive if storage is not None)
        self._peak = max(self._peak, self.now)


@contextmanager
def group_of(world_size: int) -> Iterator[None]:
    """Be the first of several devices, of which there are no others."""
    distributed.init_process_group("fake", rank=0, world_size=world_size, store=FakeStore())
    try:
        yield
    finally:
        distributed.destroy_process_group()


def run_sharded_step(cell: Cell, attend: Attend | None = None) -> Mapping[str, int]:
    """Return the most bytes alive in each phase of a step of one device, and those alive before backward."""
    model, tokens, targets, autocast = build(cell, attend)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    peaks: dict[str, int] = {}
    with operators_of_cuda(), ResizedBytes() as live:
        for tensor in (*model.parameters(), *model.buffers(), tokens, targets):
            live.see(tensor)
        live.look()
        if cell.workload == "forward":
            with torch.no_grad(), autocast:
                model(tokens)
            return {"forward": live.end_phase()}
        with autocast:
            logits = model(tokens)
        live.look()
        peaks["forward"] = live.end_phase()
        given, logits = logits, None
        with autocast:
            loss = F.cross_entropy(given.flatten(0, 1), targets)
        del given
        live.look()
        peaks["loss"], peaks["before"] = live.end_phase(), live.now
        loss.backward()
        peaks["backward"] = live.end_phase()
    return peaks
