"""What a memory ledger says: how much was held for what at each moment, and whether that is all there was."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from windtunnel.records.memory_ledger import ALIVE, Category, Label, MemoryLedger, Span

Ints = NDArray[np.int64]

_Key = TypeVar("_Key", bound=Hashable)

CATEGORIES = tuple(Category)

LEAST_KEPT_BYTES = 2**20
"""What other code keeps is named from this size on: smaller are the scaler of a loss, and tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What was held at one instant: after so many events; `is_peak` says that it is the most of its phase."""

    name: str
    event: int
    is_peak: bool
    by_category: Mapping[Category, int]

    @property
    def total(self) -> int:
        """All that was held."""
        return sum(self.by_category.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """Whether the ledger has all that the device's allocator counted; bytes at the peak of the step."""

    attributed: int
    measured: int

    @property
    def gap(self) -> int:
        """What the allocator counted and no category holds; negative where the ledger holds more."""
        return self.measured - self.attributed

    @property
    def gap_share(self) -> float:
        """The gap as a fraction of what was measured."""
        return self.gap / self.measured if self.measured else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What code other than the model's and the optimizer's keeps: bytes and number of allocations of one line."""

    site: str
    tensor: str
    size: int
    count: int


class LedgerView:
    """A ledger with its levels, each computed when it is first asked for.

    A level at event e is what was held when e events had happened. Levels are right from the beginning of the step on,
    and where the cell was built; in between allocations are missing that were of no use to the step.
    """

    def __init__(self, ledger: MemoryLedger) -> None:
        """Make arrays of the columns."""
        self.ledger: MemoryLedger = ledger
        table = ledger.allocations
        self.sizes: Ints = np.array(table.sizes, dtype=np.int64)
        self.places: Ints = np.array(table.labels, dtype=np.int64)
        self.born: Ints = np.array(table.born, dtype=np.int64)
        died = np.array(table.died, dtype=np.int64)
        self.died: Ints = np.where(died == ALIVE, ledger.num_events, died)
        category_of = np.array([CATEGORIES.index(label.category) for label in ledger.labels], dtype=np.int64)
        self.categories: Ints = category_of[self.places] if len(self.places) else self.places

    @cached_property
    def total(self) -> Ints:
        """The level at every event, from 0 to the number of events."""
        return self.levels(None)

    def levels(self, category: Category | None) -> Ints:
        """Return the level of one category at every event; None: of all together."""
        sizes, born, died = self.sizes, self.born, self.died
        if category is not None:
            chosen = self.categories == CATEGORIES.index(category)
            sizes, born, died = sizes[chosen], born[chosen], died[chosen]
        length = self.ledger.num_events + 2
        grown = np.bincount(born + 1, weights=sizes, minlength=length)
        shrunk = np.bincount(died + 1, weights=sizes, minlength=length)
        return np.cumsum(grown - shrunk).astype(np.int64)[: length - 1]

    def phase(self, name: str) -> Span | None:
        """Return a phase of the step, or None where it has none of this name or did not reach it."""
        return next((span for span in self.ledger.phases if span.name == name), None)

    @cached_property
    def step(self) -> Span | None:
        """The whole step, as far as it went; None where it did not begin."""
        phases = self.ledger.phases
        return Span(name="step", begin=phases[0].begin, end=phases[-1].end) if phases else None

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """The moments that tables show, in order of time."""
        found: list[Moment] = []
        if self.ledger.built is not None:
            found.append(self._moment("after building", self.ledger.built))
        for span in self.ledger.phases:
            if span.name == "backward":
                found.append(self._moment("before backward", span.begin))
            has_ended = not self.ledger.failure or span is not self.ledger.phases[-1]
            name = f"{span.name} peak" if has_ended else f"most in {span.name} so far"
            found.append(self._moment(name, self._peak_of(span), is_peak=has_ended))
        if self.step:
            name = "at the failure" if self.ledger.failure else "after the step"
            found.append(self._moment(name, self.step.end))
        return tuple(found)

    @cached_property
    def peak(self) -> Moment | None:
        """The instant at which the step held the most; None where it did not begin."""
        return self._moment("peak", self._peak_of(self.step), is_peak=True) if self.step else None

    @cached_property
    def peak_phase(self) -> str:
        """The phase in which the peak lies; the first of several that reach it. Empty without a step."""
        peak = self.peak
        return next((s.name for s in self.ledger.phases if peak and s.begin <= peak.event <= s.end), "")

    @cached_property
    def closing(self) -> Closing | None:
        """The ledger against the allocator's own count; None where there is no step or no count."""
        peak, device = self.peak, self.ledger.device
        if peak is None or device is None:
            return None
        return Closing(
            attributed=peak.total - peak.by_category.get(Category.NOT_ATTRIBUTED, 0),
            measured=device.peak_allocated_bytes,
        )

    def moment(self, name: str) -> Moment | None:
        """Return the moment of a name, or None."""
        return next((moment for moment in self.moments if moment.name == name), None)

    def is_live(self, event: int) -> NDArray[np.bool_]:
        """Say of each allocation whether it was there after so many events."""
        return (self.born < event) & (self.died >= event)

    def held_by(self, event: int, key: Callable[[Label], _Key]) -> dict[_Key, int]:
        """Return the bytes at an event by what `key` says of their labels, most first."""
        live = self.is_live(event)
        weights = np.bincount(self.places[live], weights=self.sizes[live], minlength=len(self.ledger.labels))
        found: dict[_Key, int] = {}
        for place in np.flatnonzero(weights):
            name = key(self.ledger.labels[int(place)])
            found[name] = found.get(name, 0) + int(weights[place])
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @cached_property
    def kept(self) -> tuple[Kept, ...]:
        """What other code keeps through the step, by line, most first; small ones are left out."""
        if self.step is None:
            return ()
        live = self.is_live(self.step.end) & (self.categories == CATEGORIES.index(Category.KEPT))
        sizes: dict[str, list[int]] = {}
        tensors: dict[str, str] = {}
        for place in np.flatnonzero(live):
            label = self.ledger.labels[int(self.places[place])]
            sizes.setdefault(label.site, []).append(int(self.sizes[place]))
            tensors.setdefault(label.site, label.tensor)
        found = (Kept(site=site, tensor=tensors[site], size=sum(each), count=len(each)) for site, each in sizes.items())
        return tuple(sorted((one for one in found if one.size >= LEAST_KEPT_BYTES), key=lambda one: -one.size))

    def _peak_of(self, span: Span) -> int:
        return span.begin + int(np.argmax(self.total[span.begin : span.end + 1]))

    def _moment(self, name: str, event: int, *, is_peak: bool = False) -> Moment:
        by_category = self.held_by(event, lambda label: label.category)
        ordered = {category: by_category[category] for category in CATEGORIES if category in by_category}
        return Moment(name=name, event=event, is_peak=is_peak, by_category=ordered)
