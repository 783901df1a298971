"""What samples cannot show of a cell: steps that are run after them, in other ways or under observation."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from windtunnel.bench.clock import Clock
from windtunnel.bench.failing import is_out_of_memory, printable
from windtunnel.bench.loop import StepError
from windtunnel.bench.memory import MemoryMeter
from windtunnel.bench.numerics import find_errors
from windtunnel.bench.phase_memory import read_phase_memory
from windtunnel.bench.probes import can_probe, probe_steps, time_growth
from windtunnel.bench.workload import Workload
from windtunnel.errors import UnsupportedError, WindtunnelError
from windtunnel.records.record import ClockName, ColdCause, Kernel, PhaseMemory, Probe, Samples, TensorError
from windtunnel.spec.cell import Task

PROBE_SHARE = 0.3
MIN_PROBE_SECONDS = 0.5
MAX_PROBE_SECONDS = 5.0
"""Probes take this share of the time of warm-up and samples, within these limits, or the fewest rounds they need."""

LONGEST_PROBED_SECONDS = 5.0
"""Longer steps of a model are not probed: the fewest rounds are nine steps, which must not cost a cell its time limit.

Attention alone is run three times more at most, however long it takes.
"""

Look = Callable[[Sequence[tuple[str, Callable[[], None]]], Callable[[], None], torch.device], tuple[Kernel, ...]]
"""Sees which kernels run in the named phases of a step, given what resets the step, and the device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """A cell whose samples are complete, and what is needed to run more steps of it."""

    task: Task
    workload: Workload
    clock: Clock
    meter: MemoryMeter
    samples: tuple[Samples, ...]
    spent_seconds: float

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device(self.task.cell.device)

    def totals(self, clock: ClockName) -> tuple[int, ...]:
        """Return the whole steps on a clock, in nanoseconds."""
        total = self.workload.total
        return next((s.nanoseconds for s in self.samples if (s.phase, s.clock) == (total, clock)), ())


@dataclass
class Findings:
    """What has been found so far; `is_broken` says that the device's context may be, so that the process has to go."""

    probes: tuple[Probe, ...] = ()
    cold_causes: dict[str, float] = field(default_factory=dict)
    phase_memory: tuple[PhaseMemory, ...] = ()
    errors: tuple[TensorError, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    warnings: list[str] = field(default_factory=list)
    is_broken: bool = False


class Inspection:
    """The passes over one cell, each of which adds to the findings."""

    def __init__(self, sampled: Sampled, look: Look | None, findings: Findings) -> None:
        """Say what is looked at, and what takes what is found."""
        self._sampled = sampled
        self._look = look
        self._findings = findings

    def passes(self) -> tuple[Callable[[], None], ...]:
        """Return what is to be done; nothing for a model whose steps are too long, or whose device has no queue."""
        look = (self._look_at_kernels,) if self._look else ()
        if self._sampled.task.cell.is_attention:
            return (self._read_memory, self._find_errors, *look)
        if not can_probe(self._sampled.device):
            return ()
        is_long = statistics.median(self._sampled.totals(ClockName.HOST)) * 1e-9 > LONGEST_PROBED_SECONDS
        return () if is_long else (self._probe, *look)

    def run(self) -> None:
        """Do it all; as the samples are good, whatever goes wrong is a warning only.

        A refusal of ours and memory that ran out leave the device's context whole, so the next pass is tried. Any other
        error may have broken it.
        """
        for act in self.passes():
            try:
                act()
            except (StepError, RuntimeError, MemoryError, WindtunnelError) as error:  # a broken device is in events too
                cause = error.__cause__ or error
                text = printable(f"{type(cause).__name__}: {cause}")
                self._findings.warnings.append(f"the samples are complete, but a probe after them failed: {text}")
                if not isinstance(cause, WindtunnelError) and not is_out_of_memory(cause):
                    self._findings.is_broken = True
                    return

    def _probe(self) -> None:
        sampled = self._sampled
        cell, plan, workload, clock = sampled.task.cell, sampled.task.plan, sampled.workload, sampled.clock
        if plan.is_cold and not workload.is_compiled and (others := sampled.totals(ClockName.HOST)[1:]):
            rest = statistics.median(others) * 1e-9
            self._findings.cold_causes[ColdCause.ALLOCATOR] = time_growth(workload, clock) - rest
        self._findings.probes = probe_steps(
            workload,
            clock,
            sampled.device,
            enqueue_seconds=statistics.median(sampled.totals(ClockName.ENQUEUE)) * 1e-9,
            seconds=min(MAX_PROBE_SECONDS, max(MIN_PROBE_SECONDS, PROBE_SHARE * sampled.spent_seconds)),
            seed=cell.seed,
        )

    def _read_memory(self) -> None:
        self._findings.phase_memory = read_phase_memory(self._sampled.workload, self._sampled.meter)

    def _find_errors(self) -> None:
        """Run one more step and compare its results with float64; say so where that would take too long."""
        workload = self._sampled.workload
        assert workload.tensors is not None
        workload.reset()
        for phase in workload.phases:
            phase.run()
        try:
            self._findings.errors = find_errors(self._sampled.task.cell, workload.tensors())
        except UnsupportedError as error:
            self._findings.warnings.append(f"the results were not compared with float64: {error}")

    def _look_at_kernels(self) -> None:
        assert self._look is not None
        workload = self._sampled.workload
        workload.reset()
        phases = [(phase.name, phase.run) for phase in workload.phases]
        self._findings.kernels = self._look(phases, workload.reset, self._sampled.device)
