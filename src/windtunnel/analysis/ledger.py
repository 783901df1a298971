"""Where the time of a step goes: phases and what is left over, and what waiting for device and host costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from windtunnel.analysis.results import Row
from windtunnel.records.record import ClockName, ProbeName, Record
from windtunnel.statistics.paired import signed_rank

LARGE_RESIDUAL = 0.01
"""A residual above this share of the step is pointed out."""

ALPHA = 0.05
"""The intervals of a report are 95 % ones; probes are looked at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """One step in seconds: `phases` and `residual` add up to `whole`.

    All are means over the samples of all processes, because means add up and medians do not. The phases are on
    `phase_clock`.
    """

    whole: float
    phases: Mapping[str, float]
    phase_clock: ClockName

    @property
    def in_phases(self) -> float:
        """Seconds inside any phase."""
        return sum(self.phases.values())

    @property
    def residual(self) -> float:
        """Seconds of the step that are in no phase."""
        return self.whole - self.in_phases

    @property
    def residual_fraction(self) -> float:
        """The residual as a fraction of the whole step."""
        return self.residual / self.whole if self.whole else 0.0

    @property
    def is_residual_large(self) -> bool:
        """Whether more of the step is in no phase than can be overlooked."""
        return abs(self.residual_fraction) > LARGE_RESIDUAL


def ledger_of(row: Row, clock: ClockName = ClockName.HOST) -> Ledger | None:
    """Return the ledger of the whole step on `clock`; None where the step or a phase was not timed for it.

    On the host's clock the phases are those that tables show: on an accelerator the device's. Their residual is then
    the launch before the first kernel, the gaps between phases, and the wait at the end. A step of one phase has a
    ledger on an accelerator only, where step and phase are on two clocks.
    """
    total = row.record.total
    phases = row.phases[:-1] or row.phases
    phase_clock = _phase_clock(row, clock)
    whole = None if phases == (total,) and clock == phase_clock else _mean(row, total, clock)
    if whole is None:
        return None
    times = {phase: _mean(row, phase, phase_clock) for phase in phases}
    known = {phase: seconds for phase, seconds in times.items() if seconds is not None}
    if len(known) < len(times):
        return None
    return Ledger(whole=whole, phases=known, phase_clock=phase_clock)


def _phase_clock(row: Row, clock: ClockName) -> ClockName:
    if len(row.phases) == 1:  # tables show it on the host's clock, as the whole step that it is too
        return ClockName.DEVICE
    return row.clock(row.phases[0]) if clock == ClockName.HOST else clock


def _mean(row: Row, phase: str, clock: ClockName) -> float | None:
    if clock == row.clock(phase):  # what tables show has been computed for all rows at once
        spread = row.spread(phase)
        return spread.mean if spread else None
    each = [series.nanoseconds for one in row.processes if (series := one.record.series(phase, clock))]
    samples = tuple(chain.from_iterable(each))
    return sum(samples) / len(samples) * 1e-9 if samples else None


def enqueue_share(row: Row) -> float | None:
    """Return the median time to launch a step over that of the step; None where nothing is launched ahead.

    Near 1 the host is busy for the whole step: with launching, or with waiting inside it.
    """
    enqueue, whole = row.summary(clock=ClockName.ENQUEUE), row.summary()
    return enqueue.median / whole.median if enqueue and whole else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A relative change with its 95 % interval, fractions of 1; the ends are None where rounds are too few."""

    value: float
    low: float | None
    high: float | None
    rounds: int


def synchronising_penalty(record: Record) -> Share | None:
    """Return by how much a step is longer on the host's clock when each phase is waited for; None without probes."""
    logs = _log_ratios(record, ProbeName.SYNCHRONISED, ClockName.HOST)
    if not logs:
        return None
    shift = signed_rank(logs, alpha=ALPHA)
    low, high = _ends(shift.low, shift.high)
    return Share(value=math.expm1(shift.estimate), low=low, high=high, rounds=len(logs))


def launch_bound_share(record: Record) -> Share | None:
    """Return the part of a step's time on the device in which it waits for the host, at least 0; None without probes.

    It is 1 - queued / plain: what goes away when all work is queued before the step begins on the device.
    """
    logs = _log_ratios(record, ProbeName.QUEUED, ClockName.DEVICE)
    if not logs:
        return None
    shift = signed_rank(logs, alpha=ALPHA)
    low, high = _ends(shift.low, shift.high)
    return Share(
        value=max(0.0, -math.expm1(shift.estimate)),
        low=None if high is None else max(0.0, -high),
        high=None if low is None else max(0.0, -low),
        rounds=len(logs),
    )


def _ends(low: float, high: float) -> tuple[float | None, float | None]:
    return (math.expm1(low), math.expm1(high)) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _log_ratios(record: Record, name: ProbeName, clock: ClockName) -> list[float]:
    """Return the logarithm of a probe's time over that of the plain step of the same round, round by round."""
    times = {probe.name: probe.nanoseconds for probe in record.probes if probe.clock == clock}
    pairs = zip(times.get(name, ()), times.get(ProbeName.PLAIN, ()), strict=True)
    return [math.log(other / plain) for other, plain in pairs]
