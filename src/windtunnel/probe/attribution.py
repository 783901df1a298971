"""From events and what was seen beside them to allocations with labels: a replay in the order in which all happened."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter

import torch

from windtunnel.probe.allocation_log import Event
from windtunnel.probe.operation_log import Operation, OperationLog, Output, Result, Saved
from windtunnel.probe.places import RECOMPUTED
from windtunnel.records.memory_ledger import ALIVE, Allocations, Category, Label, OperationKind, Span

_CAST = "_to_copy"


@dataclass(frozen=True, slots=True)
class Owned:
    """After so many marks somebody owned the storage at an address."""

    mark: int
    address: int
    category: Category


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """All that was seen of one look; positions in time are counts of marks.

    Attributes:
        operations: What ran, as far as it was watched.
        is_watched: Whether that is all that ran, and not only what built the cell.
        context_length: Queries and keys of attention.
        blocks: Paths of the modules that are blocks.
        built: When the cell was built; None where that failed.
        spans: Name, begin and end of each phase of the step that counts.
        is_finished: Whether the step ended and was let go, so that what is left belongs to somebody.
        sites: The line of code of each allocation event in order, where the device's allocator knows it.
    """

    events: Sequence[Event]
    operations: OperationLog
    is_watched: bool
    owned: Sequence[Owned]
    context_length: int
    blocks: frozenset[str]
    built: int | None
    spans: Sequence[tuple[str, int, int]]
    is_finished: bool
    sites: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Attributed:
    """The ledger's columns; `built` and `phases` count events."""

    allocations: Allocations
    labels: tuple[Label, ...]
    built: int | None
    phases: tuple[Span, ...]


@dataclass(slots=True)
class _Life:
    """One allocation while its story is told."""

    size: int
    born: int
    mark: int
    site: str
    died: int = ALIVE
    operation: Operation | None = None
    result: Result | None = None
    owner: Category | None = None
    is_scores: bool = False
    is_cast: bool = False
    is_block_output: bool = False
    saved_for: list[str] = field(default_factory=list)


def attribute(seen: Seen) -> Attributed:
    """Return every allocation that the ledger needs, with what it was for."""
    marks = [event.mark for event in seen.events]
    built = None if seen.built is None else bisect_right(marks, seen.built)
    phases = tuple(
        Span(name=name, begin=bisect_right(marks, begin), end=bisect_right(marks, end))
        for name, begin, end in seen.spans
    )
    begin = phases[0].begin if phases else 0
    lives = [life for life in _replayed(seen) if _is_needed(life, begin, built)]
    name_of = _namer(seen, phases)
    places: dict[Label, int] = {}
    labels = tuple([places.setdefault(name_of(life), len(places)) for life in lives])
    return Attributed(
        allocations=Allocations(
            sizes=tuple([life.size for life in lives]),
            labels=labels,
            born=tuple([life.born for life in lives]),
            died=tuple([life.died for life in lives]),
        ),
        labels=tuple(places),
        built=built,
        phases=phases,
    )


def _is_needed(life: _Life, begin: int, built: int | None) -> bool:
    """Say whether an allocation was there at the step, or after building."""
    reaches = life.died == ALIVE or life.died >= begin
    was_built = built is not None and life.born < built and (life.died == ALIVE or life.died >= built)
    return reaches or was_built


def _replayed(seen: Seen) -> list[_Life]:
    """Let everything happen again, in order, and return all allocations."""
    replay = _Replay(seen)
    log = seen.operations
    by_mark = attrgetter("mark")
    actions: Iterable[tuple[int, Callable[[], None]]] = merge(
        ((one.end, _bound(replay.ran, one)) for one in log.operations),
        ((one.mark, _bound(replay.kept, one)) for one in log.saved),
        ((one.mark, _bound(replay.handed_on, one)) for one in log.outputs),
        ((one.mark, _bound(replay.is_owned, one)) for one in sorted(seen.owned, key=by_mark)),
        key=lambda action: action[0],
    )
    for mark, act in actions:
        replay.go_on_to(mark)
        act()
    replay.go_on_to(None)
    return replay.lives


def _bound(act: Callable[..., None], what: object) -> Callable[[], None]:
    return lambda: act(what)


class _Replay:
    """Which allocation is at which address, as events go by."""

    def __init__(self, seen: Seen) -> None:
        self.lives: list[_Life] = []
        self._seen = seen
        self._live: dict[int, _Life] = {}
        self._next = 0
        self._nodes = seen.operations.nodes

    def go_on_to(self, mark: int | None) -> None:
        """Let all events before a mark happen; None: all that are left."""
        events = self._seen.events
        while self._next < len(events) and (mark is None or events[self._next].mark <= mark):
            self._happen(self._next, events[self._next])
            self._next += 1

    def _happen(self, number: int, event: Event) -> None:
        if event.size > 0:
            place = len(self.lives)
            site = self._seen.sites[place] if place < len(self._seen.sites) else ""
            life = _Life(size=event.size, born=number, mark=event.mark, site=site)
            self.lives.append(life)
            self._live[event.address] = life
        elif event.address in self._live:  # else it was there before the look
            self._live.pop(event.address).died = number

    def ran(self, operation: Operation) -> None:
        """Give an operation what was allocated while it ran, and of this its results."""
        for life in reversed(self.lives):
            if life.mark <= operation.begin:
                break
            life.operation = operation
        for result in operation.results:
            life = self._live.get(result.address)
            if life is not None and life.operation is operation and life.result is None:
                life.result = result
                life.is_scores = self._is_scores(operation, result)
                life.is_cast = operation.name == _CAST and self._owner(operation.inputs) is Category.PARAMETERS

    def kept(self, saved: Saved) -> None:
        """Note that autograd keeps an allocation, and for which operation."""
        life = self._live.get(saved.address)
        if life is not None:
            name = self._nodes.get(saved.node, "")
            if name not in life.saved_for:
                life.saved_for.append(name)

    def handed_on(self, output: Output) -> None:
        """Note what a block, or the whole model, returned."""
        life = self._live.get(output.address)
        if life is None:
            return
        if output.module in self._seen.blocks:
            life.is_block_output = True
        elif output.module == "" and life.owner is None:
            life.owner = Category.LOGITS

    def is_owned(self, owned: Owned) -> None:
        """Note whose an allocation is; the first owner stays."""
        life = self._live.get(owned.address)
        if life is not None and life.owner is None:
            life.owner = owned.category

    def _is_scores(self, operation: Operation, result: Result) -> bool:
        """Say whether a result is a matrix of queries x keys, by its shape and by what it was made of.

        Where a head is as wide as the context is long, the shape of Q K^T is that of P V and of K itself: a product is
        one of scores only where none of its factors is, anything else only where one of its inputs is.
        """
        length = self._seen.context_length
        module = operation.place.module.rpartition(".")[2].lower()
        if result.shape[-2:] != (length, length) or not ("attention" in module or "attn" in module):
            return False
        lives = [life for address in operation.inputs if (life := self._live.get(address)) and life.result != result]
        has_scores = any(life.is_scores for life in lives)
        match operation.kind:
            case OperationKind.ATTENTION:
                return False
            case OperationKind.PRODUCT:
                return not has_scores
            case _:
                return has_scores or not operation.inputs

    def _owner(self, addresses: Sequence[int]) -> Category | None:
        life = self._live.get(addresses[0]) if addresses else None
        return life.owner if life else None


def _namer(seen: Seen, phases: Sequence[Span]) -> Callable[[_Life], Label]:
    """Return what gives an allocation its label."""
    backward = next((span.begin for span in phases if span.name == "backward"), None)
    begins = [span.begin for span in phases]

    def is_kept_for_backward(life: _Life) -> bool:
        if backward is None:
            return bool(life.saved_for)
        return phases[0].begin <= life.born < backward and (life.died == ALIVE or life.died >= backward)

    def phase_of(life: _Life) -> str:
        span = bisect_right(begins, life.born) - 1
        return phases[span].name if span >= 0 else ""

    def category_of(life: _Life) -> Category:
        if life.owner is not None and life.owner is not Category.LOGITS:
            return life.owner
        was_watched = seen.is_watched or life.operation is not None
        if seen.is_finished and life.died == ALIVE:
            return Category.KEPT if life.result else Category.WORKSPACE
        if life.owner is not None:
            return life.owner
        if was_watched and life.result is None:
            return Category.WORKSPACE if life.operation else Category.NOT_ATTRIBUTED
        if life.is_scores:
            return Category.SCORES
        if life.is_cast:
            return Category.CASTS
        place = life.operation.place if life.operation else None
        if (place.phase if place else phase_of(life)) == "loss":
            return Category.LOGITS
        if is_kept_for_backward(life) or (place and place.phase == RECOMPUTED):
            return Category.ACTIVATIONS
        return Category.TEMPORARIES

    def name(life: _Life) -> Label:
        operation, result = life.operation, life.result
        place = operation.place if operation else None
        module = place.module if place else ""
        return Label(
            category=category_of(life),
            operation=operation.name if operation else "",
            kind=operation.kind if operation else OperationKind.OTHER,
            module=module,
            block=_block_of(module, seen.blocks),
            phase=operation.phase if operation else phase_of(life),
            site=(place.site if place else "") or life.site,
            tensor=_tensor_text(result) if result else "",
            saved_for=tuple(life.saved_for),
            is_block_output=life.is_block_output,
        )

    return name


def _block_of(module: str, blocks: frozenset[str]) -> str:
    parts = module.split(".")
    prefixes = (".".join(parts[: place + 1]) for place in range(len(parts)))
    return next((prefix for prefix in prefixes if prefix in blocks), "")


def _tensor_text(result: Result) -> str:
    shape = "x".join(map(str, result.shape)) or "scalar"
    return f"{shape} {_dtype_text(result.dtype)}"


def _dtype_text(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
