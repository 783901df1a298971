"""Where in the program each event of a trace belongs: by the ranges around it, and backward by its forward.

Autograd gives each node a number when forward makes it. An operation of forward carries the number that the next node
will get, so the last one that began with a number made that node; backward runs the node under the same number.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from windtunnel.records.attending import Attending, Spot
from windtunnel.records.profile import Part
from windtunnel.records.trace import NO_NUMBER, HostEvent, HostKind, read_range

_ENGINE = "autograd::engine::"
_NODES = ("autograd::", "torch::autograd::")
_COMPILED = "## Call CompiledFxGraph"
_ATTENDS = (Part.ATTENTION, Part.ATTENTION_OTHER)

_PARTS = {part.value: part for part in Part}


class Operator(NamedTuple):
    """An operator with where it belongs and the time of its own code, in nanoseconds."""

    event: HostEvent
    spot: Spot | None
    own: int


class Call(NamedTuple):
    """A call of the runtime, or an outermost event of a thread, with where it belongs."""

    event: HostEvent
    spot: Spot | None


class Made(NamedTuple):
    """An operator of forward: when it began, on which thread, and where it belongs."""

    start: int
    thread: int
    spot: Spot | None


class _Frame:
    """An event that has begun on a thread and not ended."""

    __slots__ = ("attending", "children", "event", "is_work", "spot")

    def __init__(self, event: HostEvent, spot: Spot | None, attending: Attending | None, *, is_work: bool) -> None:
        self.event = event
        self.spot = spot
        self.attending = attending
        self.is_work = is_work
        self.children = 0


class Placed:
    """Everything that the threads of a trace did, placed; made by `place_events`."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.operators: list[Operator] = []
        self.runtime: list[Call] = []
        self.outermost: list[HostEvent] = []
        self.forward: dict[int, list[Made]] = {}
        """What may have made a node, by its number, in the order of each thread."""


def is_work(name: str) -> bool:
    """Say whether an operator does work of its own; those of the engine of autograd only call others."""
    return ("::" in name and not name.startswith(_NODES)) or name.startswith(_COMPILED)


def place_events(events: Iterable[HostEvent]) -> Placed:
    """Place every operator and every call of the runtime.

    Threads that run forward come before those that run backward only, as the latter look their places up.
    """
    threads: dict[int, list[HostEvent]] = {}
    for event in events:
        threads.setdefault(event.thread, []).append(event)
    placed = Placed()
    for thread in sorted(threads, key=lambda thread: all(e.is_backward for e in threads[thread] if e.sequence >= 0)):
        mine = threads[thread]
        mine.sort(key=_by_nesting)
        _Thread(placed).walk(mine)
    return placed


def _by_nesting(event: HostEvent) -> tuple[int, int, bool]:
    """Order what begins at once from the outside to the inside; of equals, a range is around an operator."""
    return (event.start, -event.end, event.kind is not HostKind.RANGE)


class _Thread:
    """The walk through the events of one thread."""

    def __init__(self, placed: Placed) -> None:
        self._placed = placed
        self._stack: list[_Frame] = []
        self._last: Spot | None = None
        """Where the last node of backward belongs: a gradient that is then accumulated is its result."""

    def walk(self, events: Iterable[HostEvent]) -> None:
        """Place the events, which come in the order of `_by_nesting`."""
        for event in events:
            while self._stack and self._stack[-1].event.end <= event.start:
                self._pop()
            if event.kind is HostKind.RUNTIME:
                self._placed.runtime.append(Call(event, self._spot_above()))
            elif event.kind is HostKind.RANGE:
                self._enter_range(event)
            else:
                self._enter_operator(event)
        while self._stack:
            self._pop()

    def _enter_range(self, event: HostEvent) -> None:
        found = read_range(event.name)
        if found and found.around == "phase" and found.name in _PARTS:  # the loss, the optimizer
            self._stack.append(_Frame(event, Spot(_PARTS[found.name], ""), None, is_work=False))
            return
        if found is None or found.around != "part" or found.name not in _PARTS:
            self._stack.append(_Frame(event, self._spot_above(), self._attending_above(), is_work=False))
            return
        part = _PARTS[found.name]
        attending = Attending(part, found.block) if part in _ATTENDS else None
        self._stack.append(_Frame(event, Spot(part, found.block), attending, is_work=False))

    def _enter_operator(self, event: HostEvent) -> None:
        above = self._stack[-1] if self._stack else None
        attending = above.attending if above else None
        if event.name.startswith(_ENGINE):
            spot = self._last = self._node(event) or self._last
        elif attending and event.name:
            spot = attending.see(event.name)
        else:
            spot = above.spot if above else None
        if event.sequence != NO_NUMBER and not event.is_backward:
            self._placed.forward.setdefault(event.sequence, []).append(Made(event.start, event.thread, spot))
        if not any(frame.event.kind is HostKind.OPERATOR for frame in self._stack):
            self._placed.outermost.append(event)
        # What an operator calls belongs where it does: only the outermost operation tells what attention does.
        self._stack.append(_Frame(event, spot, None, is_work=is_work(event.name)))

    def _node(self, event: HostEvent) -> Spot | None:
        """Return where the forward of a node belongs; None where it was not seen.

        Numbers are counted by each thread for itself. A thread that runs backward only counts what checkpointing
        computes there again, so operators of other threads come first.
        """
        before = [one for one in self._placed.forward.get(event.sequence, ()) if one.start < event.start]
        others = [one for one in before if one.thread != event.thread]
        return (others or before)[-1].spot if before else None

    def _spot_above(self) -> Spot | None:
        return self._stack[-1].spot if self._stack else None

    def _attending_above(self) -> Attending | None:
        return self._stack[-1].attending if self._stack else None

    def _pop(self) -> None:
        frame = self._stack.pop()
        if frame.event.kind is HostKind.RANGE:
            if frame.attending and frame.attending is not self._attending_above():
                frame.attending.end()
            return
        span = frame.event.end - frame.event.start
        if not frame.is_work:
            return
        self._placed.operators.append(Operator(frame.event, frame.spot, max(0, span - frame.children)))
        for outer in reversed(self._stack):
            if outer.is_work:
                outer.children += span
                break


def our_ranges(events: Iterable[HostEvent], around: str) -> Iterator[tuple[HostEvent, str]]:
    """Yield our ranges around steps, phases or parts, in order of time, with what each says after `around`."""
    for event in sorted((e for e in events if e.kind is HostKind.RANGE), key=attrgetter("start")):
        found = read_range(event.name)
        if found and found.around == around:
            yield event, f"{found.name} @ {found.block}" if found.block else found.name
