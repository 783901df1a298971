"""When a device had nothing to do in a profiled step, and what the host was doing meanwhile."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windtunnel.records.profile import NO_LAUNCH, Interval, Place, Profile

Ints = NDArray[np.int64]

SHORT_NANOSECONDS = 500_000
"""A gap below this is one of many between launches; a longer one has a cause of its own."""

LAUNCH_BOUND_SHARE = 0.25
"""A step is called launch-bound when the device waits for launches in at least this share of it."""


class Gap(NamedTuple):
    """A time in which nothing ran; a step has thousands, so no dataclass.

    Attributes:
        step: Number of the step.
        begin: In nanoseconds since the beginning of the profile; `end` too.
        before: Row of what ran last before it; -1 at the beginning of a step.
        after: Row of what ran next; -1 at the end of a step.
        is_host_bound: Whether the device could not go on because the host had not launched anything.
    """

    step: int
    begin: int
    end: int
    before: int
    after: int
    is_host_bound: bool

    @property
    def span(self) -> int:
        """How long it was, in nanoseconds."""
        return self.end - self.begin


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """A gap with what the host was doing.

    Attributes:
        phase: Where the host was; empty between phases.
        part: The range of a part of the model in which the host was, or empty.
        host: What the host did for most of it; empty where it was in no operator and no call of the runtime.
        is_wait: Whether that was a wait for the device.
        before: Name of what ran last; empty at the beginning of a step.
        after: Name of what ran next, and where that belongs; empty and None at the end of a step.
    """

    gap: Gap
    phase: str
    part: str
    host: str
    is_wait: bool
    before: str
    after: str
    after_place: Place | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """One step: its wall time, and for how much of it something ran; nanoseconds.

    `idle` is the sum of the gaps, and not what is left of the wall time: both together have to make it.
    """

    wall: int
    busy: int
    idle: int

    @property
    def gap_share(self) -> float:
        """What busy and idle leave of the wall time, as a fraction of it."""
        return (self.wall - self.busy - self.idle) / self.wall if self.wall else 0.0


class Gaps:
    """The gaps of a profile, each computed when they are first asked for."""

    def __init__(self, profile: Profile) -> None:
        """Make arrays of the columns."""
        self._profile = profile
        work = profile.work
        self._starts: Ints = np.array(work.starts, dtype=np.int64)
        self._ends: Ints = self._starts + np.array(work.spans, dtype=np.int64)
        self._launched: Ints = np.array(work.launched, dtype=np.int64)
        self._host_starts = profile.host.starts
        self._ranges = sorted(profile.ranges, key=lambda one: one.begin)
        self._phase_begins = [phase.begin for phase in profile.phases]

    @cached_property
    def steps(self) -> tuple[StepTime, ...]:
        """The time of each step; what ran is counted once however much ran at once."""
        return tuple(
            StepTime(
                wall=step.end - step.begin,
                busy=self._busy(step),
                idle=sum(gap.span for gap in self.every if gap.step == number),
            )
            for number, step in enumerate(self._profile.steps)
        )

    def _busy(self, step: Interval) -> int:
        """Return for how long anything ran in a step, by merging what ran."""
        first, last = self._rows(step)
        busy, until = 0, step.begin
        for start, end in zip(self._starts[first:last].tolist(), self._ends[first:last].tolist(), strict=True):
            end = min(end, step.end)
            busy += max(0, end - max(start, until))
            until = max(until, end)
        return busy

    @cached_property
    def every(self) -> tuple[Gap, ...]:
        """All gaps, in order of time."""
        return tuple(gap for number, step in enumerate(self._profile.steps) for gap in self._of_step(number, step))

    def longest(self, count: int) -> tuple[Explained, ...]:
        """Return the longest gaps, the longest first."""
        return tuple(self.explain(gap) for gap in sorted(self.every, key=lambda gap: -gap.span)[:count])

    def explain(self, gap: Gap) -> Explained:
        """Say where the host was in a gap, and what it did."""
        names, work, places = self._profile.names, self._profile.work, self._profile.places
        host, is_wait = self._host(gap.begin, gap.end)
        phase, part = self._where((gap.begin + gap.end) // 2)
        return Explained(
            gap=gap,
            phase=phase,
            part=part,
            host=host,
            is_wait=is_wait,
            before="" if gap.before < 0 else names[work.names[gap.before]],
            after="" if gap.after < 0 else names[work.names[gap.after]],
            after_place=None if gap.after < 0 else places[work.places[gap.after]],
        )

    @property
    def host_bound_share(self) -> float:
        """The share of the steps in which the device waits for the host to launch anything."""
        return self._share([gap for gap in self.every if gap.is_host_bound])

    @property
    def launch_wait_share(self) -> float:
        """The share of the steps that is lost between launches: gaps of the host's that are short."""
        return self._share([gap for gap in self.every if gap.is_host_bound and gap.span < SHORT_NANOSECONDS])

    @property
    def is_launch_bound(self) -> bool:
        """Whether the host launches too slowly for the device, all the time and not once."""
        return self.launch_wait_share >= LAUNCH_BOUND_SHARE

    def _share(self, gaps: Sequence[Gap]) -> float:
        wall = sum(step.wall for step in self.steps)
        return sum(gap.span for gap in gaps) / wall if wall else 0.0

    def _rows(self, step: Interval) -> tuple[int, int]:
        return int(np.searchsorted(self._starts, step.begin)), int(np.searchsorted(self._starts, step.end))

    @cached_property
    def _latency(self) -> int:
        """The least time from the host's call to the start of its work: what launching takes in any case."""
        known = self._launched != NO_LAUNCH
        delays = (self._starts - self._launched)[known]
        return int(delays[delays >= 0].min()) if (delays >= 0).any() else 0

    def _of_step(self, number: int, step: Interval) -> list[Gap]:
        first, last = self._rows(step)
        if first == last:
            return [Gap(number, step.begin, step.end, -1, -1, is_host_bound=False)]
        starts, ends = self._starts[first:last], np.minimum(self._ends[first:last], step.end)
        reached = np.maximum.accumulate(ends)
        found: list[Gap] = []
        if starts[0] > step.begin:
            found.append(self._gap(number, step.begin, int(starts[0]), first - 1, first))
        for place in np.flatnonzero(starts[1:] > reached[:-1]).tolist():
            found.append(
                self._gap(number, int(reached[place]), int(starts[place + 1]), first + place, first + place + 1)
            )
        if reached[-1] < step.end:
            found.append(Gap(number, int(reached[-1]), step.end, last - 1, -1, is_host_bound=False))
        return found

    def _gap(self, step: int, begin: int, end: int, before: int, after: int) -> Gap:
        launched = int(self._launched[after])
        is_bound = launched != NO_LAUNCH and launched + self._latency > begin
        return Gap(step, begin, end, before, after, is_host_bound=is_bound)

    def _host(self, begin: int, end: int) -> tuple[str, bool]:
        """Return what the host did for most of a time, and whether it waited for the device."""
        host = self._profile.host
        place = bisect_left(self._host_starts, end) - 1
        last = place
        overlaps: dict[int, int] = {}
        waits: set[int] = set()
        # Calls are in the order of their starts: one from long before reaches into the gap only if it is long itself.
        while place >= 0 and (host.starts[place] >= begin or last - place <= _LOOK_BACK):
            overlap = min(end, host.starts[place] + host.spans[place]) - max(begin, host.starts[place])
            if overlap > 0:
                name = host.names[place]
                overlaps[name] = overlaps.get(name, 0) + overlap
                if host.is_wait[place]:
                    waits.add(name)
            place -= 1
        if not overlaps:
            return "", False
        most = {name: spent for name, spent in overlaps.items() if spent >= (end - begin) / 2}
        if not most:
            return "", False
        # A wait inside of an operator says more than the operator.
        name = max(most, key=lambda one: (one in waits, most[one]))
        return self._profile.names[name], name in waits

    def _where(self, moment: int) -> tuple[str, str]:
        """Return the phase and the innermost part in which the host was."""
        at = bisect_right(self._phase_begins, moment) - 1
        phases = self._profile.phases
        phase = phases[at].name if at >= 0 and moment < phases[at].end else ""
        inside = [one for one in self._ranges if one.begin <= moment < one.end]
        return phase, min(inside, key=lambda one: one.end - one.begin).name if inside else ""


_LOOK_BACK = 64
