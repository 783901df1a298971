"""From a trace to the columns of a profile: which steps, which phases, what ran in them, what the host did."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

from windtunnel.records.attending import Spot
from windtunnel.records.profile import NO_LAUNCH, HostCalls, Interval, Launches, Part, Place, Profile, Unit, Work
from windtunnel.records.trace import NO_NUMBER, DeviceEvent, HostEvent, HostKind, Trace
from windtunnel.records.trace_places import Call, Placed, is_work, our_ranges, place_events

_STEP_OF_TORCH = "ProfilerStep#"
_ENGINE = "autograd::engine::"

_LAUNCHES = ("LaunchKernel", "LaunchCooperativeKernel", "MemcpyAsync", "MemsetAsync", "cuMemcpy", "cuMemset")
_GRAPHS = ("GraphLaunch",)
_WAITS = ("Synchronize",)
_SLOW = ("Malloc", "Free", "HostAlloc", "ModuleLoad", "LibraryLoad")

OUTSIDE = "outside"
"""The phase of what ran in a step and in none of its phases."""


class Columns(NamedTuple):
    """What of a profile comes from its trace; fields as in `Profile`."""

    unit: Unit
    steps: tuple[Interval, ...]
    phases: tuple[Interval, ...]
    ranges: tuple[Interval, ...]
    names: tuple[str, ...]
    places: tuple[Place, ...]
    work: Work
    host: HostCalls
    launches: Launches | None
    has_parts: bool


class _Ran(NamedTuple):
    """One kernel or operator before it is put into columns."""

    name: str
    start: int
    end: int
    own: int
    launched: int
    stream: int
    spot: Spot | None


def columns_of(trace: Trace) -> Columns:
    """Return the columns of a profile; times count from the beginning of its first step.

    Steps are our own ranges, else those that torch's profiler names, else the whole trace is one. Phases are our own
    ranges; else what the engine of autograd runs is backward.
    """
    placed = place_events(trace.host)
    unit = Unit.KERNELS if trace.device else Unit.OPERATORS
    ran = _on_device(trace.device, placed.runtime) if trace.device else _on_host(placed)
    steps = _steps(trace, ran)
    zero = steps[0].begin if steps else 0
    phases = _phases(trace.host)
    inside = _Inside(steps)
    ran = sorted((one for one in ran if inside.has(one.start)), key=attrgetter("start"))
    names, places = _Table(), _Table()
    find = _PhaseOf(phases, placed)
    work = Work(
        names=tuple(names.place(one.name) for one in ran),
        places=tuple(places.place(_place(find(one), one.spot)) for one in ran),
        starts=tuple(one.start - zero for one in ran),
        spans=tuple(one.end - one.start for one in ran),
        owns=tuple(one.own for one in ran),
        launched=tuple(one.launched - zero if one.launched != NO_LAUNCH else NO_LAUNCH for one in ran),
        streams=tuple(one.stream for one in ran),
    )
    calls = [event for event in _explaining(placed, unit) if inside.has(event.start)]
    host = HostCalls(
        names=tuple(names.place(event.name) for event in calls),
        starts=tuple(event.start - zero for event in calls),
        spans=tuple(event.end - event.start for event in calls),
        is_wait=tuple(_is_any(event.name, _WAITS) for event in calls),
    )
    parts = list(our_ranges(trace.host, "part"))
    return Columns(
        unit=unit,
        steps=tuple(_shifted(step, zero) for step in steps),
        phases=tuple(_shifted(phase, zero) for phase in phases if inside.has(phase.begin)),
        ranges=tuple(
            Interval(name=name, begin=event.start - zero, end=event.end - zero)
            for event, name in parts
            if inside.has(event.start)
        ),
        names=tuple(names.entries),
        places=tuple(places.entries),
        work=work,
        host=host,
        launches=_launches(placed.runtime, trace.device, steps),
        has_parts=bool(parts),
    )


def with_columns(profile: Profile, columns: Columns) -> Profile:
    """Return a profile with what its trace says."""
    return replace(
        profile,
        unit=columns.unit,
        steps=columns.steps,
        phases=columns.phases,
        ranges=columns.ranges,
        names=columns.names,
        places=columns.places,
        work=columns.work,
        host=columns.host,
        launches=columns.launches,
        has_parts=columns.has_parts,
    )


def _on_device(device: Sequence[DeviceEvent], runtime: Iterable[Call]) -> list[_Ran]:
    """Return what ran on the device, each where the call belongs that launched it."""
    by_correlation = {call.event.correlation: call for call in runtime if call.event.correlation != NO_NUMBER}
    ran: list[_Ran] = []
    for event in device:
        call = by_correlation.get(event.correlation)
        ran.append(
            _Ran(
                event.name,
                event.start,
                event.end,
                event.end - event.start,
                call.event.start if call else NO_LAUNCH,
                event.stream,
                call.spot if call else None,
            )
        )
    return ran


def _on_host(placed: Placed) -> list[_Ran]:
    return [
        _Ran(e.name, e.start, e.end, own, NO_LAUNCH, e.thread, spot) for e, spot, own in placed.operators
    ]  # fmt: skip


def _steps(trace: Trace, ran: Sequence[_Ran]) -> list[Interval]:
    """Return the steps; each ends when its last work has, but before the next begins."""
    found = [(event.start, event.end, f"step {name}") for event, name in our_ranges(trace.host, "step")]
    if not found:
        found = sorted(
            (event.start, event.end, event.name)
            for event in trace.host
            if event.kind is HostKind.RANGE and event.name.startswith(_STEP_OF_TORCH)
        )
    if not found:
        if not ran:
            return []
        begin = min(min(one.start for one in ran), min((e.start for e in trace.host), default=ran[0].start))
        return [Interval(name="whole trace", begin=begin, end=max(one.end for one in ran))]
    begins = [begin for begin, _, _ in found]
    last = [0] * len(found)
    for one in ran:
        at = bisect_right(begins, one.launched if one.launched != NO_LAUNCH else one.start) - 1
        if at >= 0:
            last[at] = max(last[at], one.end)
    limits = [*begins[1:], max(max(end for _, end, _ in found), max(last))]
    return [
        Interval(name=name, begin=begin, end=min(max(end, until), limit))
        for (begin, end, name), until, limit in zip(found, last, limits, strict=True)
    ]


def _phases(host: Sequence[HostEvent]) -> list[Interval]:
    return [Interval(name=name, begin=event.start, end=event.end) for event, name in our_ranges(host, "phase")]


class _PhaseOf:
    """Finds the phase in which the host began a piece of work."""

    def __init__(self, phases: Sequence[Interval], placed: Placed) -> None:
        self._has_phases = bool(phases)
        if not phases:  # a trace of another program: what is outermost tells
            phases = [
                Interval(name="backward", begin=event.start, end=event.end)
                for event in sorted(placed.outermost, key=attrgetter("start"))
                if event.name.startswith(_ENGINE)
            ]
        self._phases = phases
        self._begins = [phase.begin for phase in phases]

    def __call__(self, one: _Ran) -> str:
        moment = one.launched if one.launched != NO_LAUNCH else one.start
        at = bisect_right(self._begins, moment) - 1
        if at >= 0 and moment < self._phases[at].end:
            return self._phases[at].name
        return OUTSIDE if self._has_phases else "not backward"


def _place(phase: str, spot: Spot | None) -> Place:
    if spot is None:
        return Place(phase=phase, part=Part.OTHER)
    return Place(phase=phase, part=spot.part, block=spot.block)


class _Inside:
    """Says whether an instant lies in a step."""

    def __init__(self, steps: Sequence[Interval]) -> None:
        self._steps = steps
        self._begins = [step.begin for step in steps]

    def at(self, moment: int) -> int:
        """Return the place of the step, or -1."""
        at = bisect_right(self._begins, moment) - 1
        return at if at >= 0 and moment < self._steps[at].end else -1

    def has(self, moment: int) -> bool:
        """Say whether there is one."""
        return self.at(moment) >= 0


class _Table:
    """Gives each of its entries a number, from 0 in the order in which they are first asked for."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._places: dict[Any, int] = {}

    def place(self, entry: Any) -> int:
        found = self._places.get(entry)
        if found is None:
            found = self._places[entry] = len(self.entries)
            self.entries.append(entry)
        return found


def _explaining(placed: Placed, unit: Unit) -> list[HostEvent]:
    """Return what the host did, as far as it explains a gap; operators that are work themselves explain none."""
    outermost = [e for e in placed.outermost if unit is Unit.KERNELS or not is_work(e.name)]
    calls = [call.event for call in placed.runtime if _is_any(call.event.name, (*_WAITS, *_SLOW))]
    return sorted([*outermost, *calls], key=attrgetter("start"))


def _launches(runtime: Sequence[Call], device: Sequence[DeviceEvent], steps: Sequence[Interval]) -> Launches | None:
    """Count the launches of all steps, and those of which the trace has work."""
    if not runtime:
        return None
    inside = _Inside(steps)
    ran = Counter(event.correlation for event in device)
    calls = matched = graphs = 0
    of_step: dict[int, list[int]] = {}  # kernels of each graph launch, in order
    for event in sorted((call.event for call in runtime), key=attrgetter("start")):
        step = inside.at(event.start)
        if step < 0 or not _is_any(event.name, (*_LAUNCHES, *_GRAPHS)):
            continue
        calls += 1
        matched += event.correlation in ran
        if _is_any(event.name, _GRAPHS):
            graphs += 1
            of_step.setdefault(step, []).append(ran[event.correlation])
    return Launches(calls=calls, matched=matched, graphs=graphs, uneven_graphs=_uneven(list(of_step.values())))


def _uneven(steps: Sequence[Sequence[int]]) -> int:
    """Count the launches of graphs that have fewer kernels than the same launch of another step."""
    longest = max((len(step) for step in steps), default=0)
    most = [max(step[place] for step in steps if place < len(step)) for place in range(longest)]
    return sum(count < most[place] for step in steps for place, count in enumerate(step))


def _is_any(name: str, words: Sequence[str]) -> bool:
    return any(word in name for word in words)


def _shifted(one: Interval, zero: int) -> Interval:
    return Interval(name=one.name, begin=one.begin - zero, end=one.end - zero)
