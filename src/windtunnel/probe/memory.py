"""One step of a cell with every allocation seen: what it was for, phase by phase."""

import gc
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from windtunnel.probe.allocation_log import HostAllocationLog
from windtunnel.probe.attribution import Attributed, Owned, Seen, attribute
from windtunnel.probe.cuda_history import CudaAllocationLog
from windtunnel.probe.levels import device_levels, read_own_numbers
from windtunnel.probe.operation_log import OperationWatch
from windtunnel.probe.viewer import viewer_snapshot
from windtunnel.records.memory_ledger import Category, DeviceLevels
from windtunnel.records.snapshot import sites_of

Held = Callable[[], Mapping[Category, Sequence[Tensor]]]
"""Returns the tensors that a step owns at this moment, by what they are for."""

SIZES_ROUNDED = (
    "the profiler did not see all that the allocator remembers: sizes are those asked for, rounded up to 512 bytes, "
    "and the blocks given out may be larger"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a look found: the columns of the ledger, and the device's own numbers.

    `snapshot` is the name of the file that was written for the public viewer; None where there is none.
    """

    attributed: Attributed
    device: DeviceLevels
    num_events: int
    is_watched: bool
    warnings: tuple[str, ...]
    snapshot: str | None


class MemoryLook:
    """Watches a cell while it is built and run; use it as a context manager, and `finish` it inside.

    Operations are watched from the start, unless `stop_watching` says that compiled code follows: it would not be
    compiled under a watch. Allocations are seen in any case.
    """

    def __init__(self, device: torch.device, *, context_length: int) -> None:
        """Say which device is watched; `context_length` tells queries and keys from other axes."""
        self._device = device
        self._context_length = context_length
        self._cuda = CudaAllocationLog(device) if device.type == "cuda" else None
        self._log = self._cuda or HostAllocationLog()
        self._watch = OperationWatch(device, self._log.mark)
        self._watching = ExitStack()
        self._is_watched = True
        self._held: Held | None = None
        self._blocks: frozenset[str] = frozenset()
        self._owned: list[Owned] = []
        self._built: int | None = None
        self._spans: list[tuple[str, int, int]] = []
        self._is_finished = False
        self._before = 0

    def __enter__(self) -> "MemoryLook":
        """Begin to watch."""
        if self._cuda:
            self._before = torch.cuda.memory_allocated(self._device)
        self._log.start()
        self._watch.places.phase = "build"
        self._watching.enter_context(self._watch.watching())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching operations; what was seen stays until `finish` reads it."""
        self._watching.close()

    def stop_watching(self) -> None:
        """Let operations run unseen from here on."""
        self._watching.close()
        self._is_watched = False

    def mark_built(self, model: nn.Module, held: Held) -> None:
        """Note that the cell is built, what its modules are called, and how to ask what it owns."""
        self._held = held
        self._watch.places.names = {module: name for name, module in model.named_modules()}
        self._blocks = frozenset(blocks_of(model))
        self._note_owned()
        self._built = self._log.mark()

    def begin_step(self) -> None:
        """Forget the phases of the step before: the last step counts."""
        self._spans.clear()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note a phase of the step; it is noted when it fails, too."""
        self._watch.places.phase = name
        begin = self._log.mark()
        try:
            yield
        finally:
            self._note_owned()
            self._spans.append((name, begin, self._log.mark()))
            self._watch.places.phase = ""

    def end_step(self, let_go: Callable[[], None]) -> None:
        """Let the step go: what is left then belongs to somebody."""
        let_go()
        gc.collect()
        self._note_owned()
        self._log.mark()
        self._is_finished = True

    def finish(self, snapshot: Path | None = None) -> Found:
        """Stop and say what was found; write torch's snapshot where a file is named.

        A file that cannot be written is a warning.

        Raises:
            RunError: What was allocated when is not known.
        """
        self._watching.close()
        own = read_own_numbers(self._device)
        events = self._log.stop()
        trace = self._cuda.trace if self._cuda else ()
        attributed = attribute(
            Seen(
                events=events,
                operations=self._watch.log,
                is_watched=self._is_watched,
                owned=self._owned,
                context_length=self._context_length,
                blocks=self._blocks,
                built=self._built,
                spans=self._spans,
                is_finished=self._is_finished,
                sites=sites_of(trace),
            )
        )
        warnings = [SIZES_ROUNDED] if self._cuda and not self._cuda.is_matched else []
        if snapshot is not None:
            seen = self._cuda.snapshot if self._cuda else viewer_snapshot(events, attributed)
            try:
                snapshot.write_bytes(pickle.dumps(seen))
            except OSError as error:  # the ledger is worth more than the file
                warnings.append(f"the snapshot could not be written: {error.strerror}")
                snapshot = None
        return Found(
            attributed=attributed,
            device=device_levels(events, attributed.phases, trace, own, before=self._before),
            num_events=len(events),
            is_watched=self._is_watched,
            warnings=tuple(warnings),
            snapshot=snapshot.name if snapshot else None,
        )

    def _note_owned(self) -> None:
        if self._held is None:
            return
        mark = self._log.mark()
        for category, tensors in self._held().items():
            for tensor in tensors:
                if tensor.device == self._device:
                    self._owned.append(Owned(mark, tensor.untyped_storage().data_ptr(), category))


def blocks_of(model: nn.Module) -> Iterable[str]:
    """Yield the path of each block: what stands in a list of modules that is in no other list."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential) and not _is_inside_list(model, name):
            yield from (f"{name}.{child}" if name else child for child, _ in module.named_children())


def _is_inside_list(model: nn.Module, name: str) -> bool:
    parts = name.split(".") if name else []
    above = (model.get_submodule(".".join(parts[:place])) for place in range(len(parts)))
    return any(isinstance(module, nn.ModuleList | nn.Sequential) for module in above)
