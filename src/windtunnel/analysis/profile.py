"""What a profile says: how long what ran, by phase, part, kind and name; for how long anything ran at all."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from windtunnel.analysis.kernel_kinds import WorkKind, is_product, work_kind
from windtunnel.analysis.profile_gaps import Gaps, StepTime
from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.part_work import pass_bytes, product_flops, softmax_flops
from windtunnel.records.profile import Instrument, Part, Place, Profile
from windtunnel.spec.tables import PRECISIONS

_Key = TypeVar("_Key", bound=Hashable)

_NEARLY_ALL = 0.9
"""A kernel that takes so much of the time of its part's passes is taken to move all their bytes."""

_INSIDE_ATTENTION = (Part.SCORES, Part.SOFTMAX, Part.WEIGHTED_SUM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum:
    """What some work takes in one step: seconds of its own, and how often it runs; means over the steps."""

    seconds: float
    calls: float

    @property
    def per_call(self) -> float:
        """Seconds of one call."""
        return self.seconds / self.calls


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How fast some work is, and the fraction that it is of what the device can do; None where that is not known."""

    value: float
    is_flops: bool
    of_ceiling: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What an instrument adds to a step: the median over the pairs of watched / plain, and the range of it."""

    name: str
    ratio: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxAgainstProducts:
    """Softmax of scores beside both products of attention, in forward; FLOPs are None where they are not known."""

    softmax_seconds: float
    product_seconds: float
    softmax_flops: int | None
    product_flops: int | None


class ProfileView:
    """A profile with its sums, each computed when it is first asked for; times are seconds of one step."""

    def __init__(self, profile: Profile, ceilings: Ceilings | None = None) -> None:
        """Make arrays of the columns; `ceilings` are those of the device that it ran on, or None."""
        self.profile = profile
        self.gaps = Gaps(profile)
        self._ceilings = ceilings
        work = profile.work
        self._names: NDArray[np.int64] = np.array(work.names, dtype=np.int64)
        self._places: NDArray[np.int64] = np.array(work.places, dtype=np.int64)
        self._owns: NDArray[np.float64] = np.array(work.owns, dtype=np.float64) * 1e-9
        self.kinds: tuple[WorkKind, ...] = tuple(work_kind(name) for name in profile.names)

    @property
    def num_steps(self) -> int:
        """How many steps were profiled."""
        return len(self.profile.steps)

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases in which anything ran, in the order of a step."""
        named = dict.fromkeys(phase.name for phase in self.profile.phases)
        ran = dict.fromkeys(self.profile.places[place].phase for place in dict.fromkeys(self.profile.work.places))
        return (*(name for name in named if name in ran), *(name for name in ran if name not in named))

    def sums(self, key: Callable[[Place, str, WorkKind], _Key | None]) -> dict[_Key, Sum]:
        """Return the time and the calls of one step by what `key` says of place, name and kind, the longest first.

        What it says None of is left out.
        """
        seconds: dict[_Key, float] = {}
        calls: dict[_Key, float] = {}
        for place, name, spent, count in self._cells:
            found = key(self.profile.places[place], self.profile.names[name], self.kinds[name])
            if found is not None:
                seconds[found] = seconds.get(found, 0.0) + spent
                calls[found] = calls.get(found, 0.0) + count
        order = sorted(seconds, key=lambda one: -seconds[one])
        return {one: Sum(seconds=seconds[one], calls=calls[one]) for one in order}

    @cached_property
    def _cells(self) -> list[tuple[int, int, float, float]]:
        """Place, name, seconds and calls of one step: everything else is a sum of these."""
        if not len(self._names):
            return []
        width = len(self.profile.names)
        keys, inverse = np.unique(self._places * width + self._names, return_inverse=True)
        seconds = np.bincount(inverse, weights=self._owns) / self.num_steps
        calls = np.bincount(inverse) / self.num_steps
        return [
            (int(key) // width, int(key) % width, float(spent), float(count))
            for key, spent, count in zip(keys, seconds, calls, strict=True)
        ]

    @cached_property
    def total(self) -> float:
        """Seconds of all work of one step, at once or not."""
        return sum(spent for _, _, spent, _ in self._cells)

    @cached_property
    def calls(self) -> float:
        """Kernels or operators of one step."""
        return sum(count for _, _, _, count in self._cells)

    def kind_sums(self, phase: str | None = None) -> dict[WorkKind, Sum]:
        """Return what each kind takes in a phase; None: in the whole step."""
        return self.sums(lambda place, _, kind: kind if phase in {None, place.phase} else None)

    def share(self, kind: WorkKind, phase: str | None = None) -> float:
        """Return the share that a kind has of all work of a phase; None: of the whole step."""
        sums = self.kind_sums(phase)
        everything = sum(one.seconds for one in sums.values())
        return sums[kind].seconds / everything if kind in sums and everything else 0.0

    @cached_property
    def median_step(self) -> StepTime:
        """The step of the median wall time, which stands for all: its busy and idle times make its own wall time."""
        return sorted(self.gaps.steps, key=lambda step: step.wall)[(self.num_steps - 1) // 2]

    @property
    def wall(self) -> float:
        """Seconds of the median step."""
        return self.median_step.wall * 1e-9

    @property
    def busy(self) -> float:
        """Seconds of the median step in which anything ran."""
        return self.median_step.busy * 1e-9

    @property
    def idle_share(self) -> float:
        """The share of the median step in which nothing ran."""
        return self.median_step.idle / self.median_step.wall if self.median_step.wall else 0.0

    @cached_property
    def stopwatch(self) -> float | None:
        """Seconds of a step without any instrument; None where there is no stopwatch."""
        return median(self.profile.stopwatch) if self.profile.stopwatch else None

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each instrument adds."""
        return tuple(_cost(instrument) for instrument in self.profile.instruments if instrument.plain)

    @cached_property
    def flops(self) -> Mapping[tuple[str, str], int]:
        """FLOPs of the products of each phase and part; empty where no closed form knows them."""
        return product_flops(self.profile.cell) if self.profile.cell else {}

    @cached_property
    def _bytes(self) -> Mapping[tuple[str, str], int]:
        return pass_bytes(self.profile.cell) if self.profile.cell else {}

    @cached_property
    def _products(self) -> dict[tuple[str, Part], Sum]:
        """What the products of each phase and part take."""
        return self.sums(lambda place, name, _: (place.phase, place.part) if is_product(name) else None)

    def product_rate(self, phase: str, part: Part) -> Rate | None:
        """Return the rate of the products of a part; None where the FLOPs are not known or nothing ran."""
        flops = self.flops.get((phase, part.value))
        found = self._products.get((phase, part))
        return self._flops_rate(flops / found.seconds) if flops and found else None

    def kernel_rate(self, phase: str, name: str) -> Rate | None:
        """Return the rate of a kernel in a phase; None where the work of a part of its calls is not known.

        The FLOPs of a part are shared out to its products by their number: not known where several run for each.
        """
        kind = work_kind(name)
        parts = self.sums(lambda place, one, _: place.part if (place.phase, one) == (phase, name) else None)
        if not parts:
            return None
        seconds = sum(one.seconds for one in parts.values())
        if is_product(name):
            each = [
                one.calls / self._products[phase, part].calls * self.flops[phase, part.value]
                for part, one in parts.items()
                if (phase, part.value) in self.flops
            ]
            return self._flops_rate(sum(each) / seconds) if len(each) == len(parts) else None
        moved = [self._bytes.get((phase, part.value)) for part in parts]
        if kind not in {WorkKind.SOFTMAX, WorkKind.OPTIMIZER} or len(moved) != 1 or moved[0] is None:
            return None
        every = self.sums(
            lambda place, _, one: one if (place.phase, place.part) == (phase, next(iter(parts))) else None
        )
        if seconds < _NEARLY_ALL * every[kind].seconds:
            return None  # several kernels share the traffic, and how is not known
        ceiling = self._ceilings.memory_bytes_per_second if self._ceilings else None
        rate = moved[0] / seconds
        return Rate(value=rate, is_flops=False, of_ceiling=rate / ceiling if ceiling else None)

    def _flops_rate(self, rate: float) -> Rate:
        cell = self.profile.cell
        assert cell is not None  # FLOPs are known of cells only
        ceiling = self._ceilings.flops_per_second[PRECISIONS[cell.precision].peak] if self._ceilings else None
        return Rate(value=rate, is_flops=True, of_ceiling=rate / ceiling if ceiling else None)

    @cached_property
    def softmax_against_products(self) -> SoftmaxAgainstProducts | None:
        """Softmax beside the products around it, in forward; None where they are not apart."""

        def key(place: Place, _: str, kind: WorkKind) -> WorkKind | None:
            return kind if place.phase == "forward" and place.part in _INSIDE_ATTENTION else None

        sums = self.sums(key)
        if WorkKind.SOFTMAX not in sums or WorkKind.MATMUL not in sums:
            return None
        products = [self.flops.get(("forward", part.value)) for part in (Part.SCORES, Part.WEIGHTED_SUM)]
        cell = self.profile.cell
        return SoftmaxAgainstProducts(
            softmax_seconds=sums[WorkKind.SOFTMAX].seconds,
            product_seconds=sums[WorkKind.MATMUL].seconds,
            softmax_flops=softmax_flops(cell) if cell else None,
            product_flops=sum(filter(None, products)) or None,
        )


def _cost(instrument: Instrument) -> Cost:
    ratios = [b / a for a, b in zip(instrument.plain, instrument.watched, strict=True)]
    return Cost(name=instrument.name, ratio=median(ratios), low=min(ratios), high=max(ratios), pairs=len(ratios))
