"""What two stores say of one another, cell by cell: slower, faster, equivalent or not known, and where it lies."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

from windtunnel.analysis.alike import (
    Field,
    differing_software,
    forbidding,
    nearest,
    point_of,
)
from windtunnel.analysis.pairs import Compared
from windtunnel.analysis.results import Row
from windtunnel.analysis.selection import Chosen
from windtunnel.errors import SpecError
from windtunnel.language import counted
from windtunnel.records.record import Status
from windtunnel.statistics.paired import Verdict
from windtunnel.statistics.unpaired import Difference, judge_unpaired

FALSE_DISCOVERY_RATE = 0.05
"""Of the differences that one gate claims, at most this share is expected to be false."""

MISSING = "missing"
"""What a cell of BASE is that NEW has not: said where verdicts are asked for, and none, as nothing was measured."""

_MOST_KERNELS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseChange:
    """One phase of one cell on both sides: the medians in seconds, and what is said of the change."""

    phase: str
    base_seconds: float
    new_seconds: float
    difference: Difference

    @property
    def change_seconds(self) -> float:
        """How much longer the phase takes."""
        return self.new_seconds - self.base_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelChange:
    """A kernel in one pass over one step of each side, watched and so slowed; 0 where it did not run. No test."""

    phase: str
    name: str
    base_seconds: float
    new_seconds: float
    base_launches: int
    new_launches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CellVerdict:
    """A cell that both sides measured. `confirmed` is the same cell in pairs, where that was asked for."""

    base: Row
    new: Row
    whole: PhaseChange
    phases: tuple[PhaseChange, ...]
    kernels: tuple[KernelChange, ...]
    confirmed: Compared | None = None

    @property
    def verdict(self) -> Verdict:
        """What is said in the end: by the pairs where there are any."""
        paired = self.confirmed.whole if self.confirmed else None
        return paired.verdict if paired else self.whole.difference.verdict

    @property
    def moved(self) -> tuple[PhaseChange, ...]:
        """The phases that changed in the direction of the whole step by themselves, the largest change first."""
        verdict = self.whole.difference.verdict
        same = [one for one in self.phases if one.difference.verdict is verdict]
        if verdict not in {Verdict.SLOWER, Verdict.FASTER}:
            return ()
        return tuple(sorted(same, key=lambda one: -abs(one.change_seconds)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmatched:
    """A cell that one side has alone, with what the nearest cell of the other side differs in (none: it is empty)."""

    row: Row
    is_of_base: bool
    differs_in: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Everything that is said of NEW against BASE.

    Attributes:
        base: What was chosen of the first store.
        new: What was chosen of the second.
        cells: The cells that both measured to their end.
        broken: Cells that failed in NEW only.
        mended: Cells that failed in BASE only.
        failing: Cells that failed in both.
        unmatched: Cells of one side only.
        software: In which versions the sides differ.
    """

    base: Chosen
    new: Chosen
    cells: tuple[CellVerdict, ...]
    broken: tuple[tuple[Row, Row], ...]
    mended: tuple[tuple[Row, Row], ...]
    failing: tuple[tuple[Row, Row], ...]
    unmatched: tuple[Unmatched, ...]
    software: tuple[Field, ...]

    @property
    def missing(self) -> tuple[Row, ...]:
        """The cells of BASE that NEW has not."""
        return tuple(one.row for one in self.unmatched if one.is_of_base)

    def is_no(self, unwanted: Collection[str]) -> bool:
        """Say whether a cell failed in NEW only, or has one of the verdicts, or is missing where that is unwanted."""
        has_lost = MISSING in unwanted and bool(self.missing)
        return bool(self.broken) or has_lost or any(cell.verdict in unwanted for cell in self.cells)


def judge_stores(base: Chosen, new: Chosen, *, margin: float | None = None, rate: float = FALSE_DISCOVERY_RATE) -> Gate:
    """Match the cells of two sides and judge those that both measured.

    Args:
        base: What is compared with.
        new: What is compared.
        margin: Of `judge_unpaired`.
        rate: The false-discovery budget of the whole steps; that of each phase is the same.

    Raises:
        SpecError: No cell is in both, a side has a cell of two machines, or cells that match were measured on other
            hardware, in other timed regions or do other work; the message lists the fields that differ.
    """
    of_base, of_new = _by_point(base, "BASE"), _by_point(new, "NEW")
    pairs = [(of_base[point], of_new[point]) for point in of_base if point in of_new]
    if not pairs:
        raise SpecError(_no_match(base, new))
    _refuse_unlike(pairs)
    ended = [(a, b) for a, b in pairs if a.is_ok and b.is_ok]
    return Gate(
        base=base,
        new=new,
        cells=_judged(ended, margin=margin, rate=rate),
        broken=tuple((a, b) for a, b in pairs if a.is_ok and not b.is_ok),
        mended=tuple((a, b) for a, b in pairs if b.is_ok and not a.is_ok),
        failing=tuple((a, b) for a, b in pairs if not a.is_ok and not b.is_ok),
        unmatched=(*_alone(of_base, of_new, is_of_base=True), *_alone(of_new, of_base, is_of_base=False)),
        software=tuple(dict.fromkeys(field for a, b in pairs for field in differing_software(a, b))),
    )


def _by_point(side: Chosen, name: str) -> dict[Hashable, Row]:
    """Return the timed rows of a side by their point; of several plans for one point the latest row.

    Raises:
        SpecError: A point was measured on two machines.
    """
    found: dict[Hashable, Row] = {}
    for row in sorted((row for row in side.rows if row.plan.purpose == "time"), key=lambda row: row.record.started_at):
        before = found.get(point := point_of(row))
        if before and before.machine != row.machine:
            machines = dict.fromkeys(
                f"{one.machine} ({one.environment.device_name}, torch {one.environment.torch})" for one in side.rows
            )
            raise SpecError(
                f"{name} has {row.record.task.cell_label()} of several machines, which are not one: "
                f"{', '.join(machines)}; choose one with {side.folder}@machine=HASH"
            )
        found[point] = row
    return found


def _no_match(base: Chosen, new: Chosen) -> str:
    timed = [row for row in base.rows if row.plan.purpose == "time"]
    others = [row for row in new.rows if row.plan.purpose == "time"]
    if not timed or not others:
        return f"{'BASE' if not timed else 'NEW'} has no times: {base.text if not timed else new.text}"
    found = [(row, *near) for row in timed if (near := nearest(row, others))]
    row, _, fields = min(found, key=lambda one: len(one[2]))
    return (
        f"no cell of BASE is in NEW; the nearest to {row.record.task.cell_label()} differs in "
        f"{', '.join(map(str, fields))}: numbers of different cells are not compared here (windtunnel compare does)"
    )


def _refuse_unlike(pairs: Sequence[tuple[Row, Row]]) -> None:
    """Raise where a pair differs in what its outcome depends on besides the code."""
    faults: dict[str, list[str]] = {}
    for base, new in pairs:
        for field in forbidding(base, new):
            faults.setdefault(str(field), []).append(base.record.task.cell_label())
    if faults:
        said = [
            f"BASE and NEW differ in {fault}" + (f" (in {counted(len(cells), 'cell')}, as {cells[0]})")
            for fault, cells in faults.items()
        ]
        raise SpecError(*said, "such results are not compared: measure both sides alike, on one machine")


def _alone(
    of_side: Mapping[Hashable, Row], of_other: Mapping[Hashable, Row], *, is_of_base: bool
) -> tuple[Unmatched, ...]:
    return tuple(
        Unmatched(row=row, is_of_base=is_of_base, differs_in=near[1] if near else ())
        for point, row in of_side.items()
        if point not in of_other
        for near in (nearest(row, of_other.values()),)
    )


def _judged(pairs: Sequence[tuple[Row, Row]], *, margin: float | None, rate: float) -> tuple[CellVerdict, ...]:
    """Judge the whole steps of a grid together, and the phases of one name together."""
    wholes = _changes([(a, b, a.record.total) for a, b in pairs], margin, rate)
    inner: dict[tuple[Row, str], PhaseChange] = {}
    for phase in dict.fromkeys(phase for a, _ in pairs for phase in a.phases):
        having = [(a, b, phase) for a, b in pairs if _has(a, phase) and _has(b, phase)]
        inner |= {(a, phase): change for (a, _, _), change in zip(having, _changes(having, margin, rate), strict=True)}
    return tuple(
        CellVerdict(
            base=a,
            new=b,
            whole=whole,
            phases=tuple(inner[a, phase] for phase in a.phases if (a, phase) in inner),
            kernels=kernel_changes(a, b),
        )
        for (a, b), whole in zip(pairs, wholes, strict=True)
    )


def _has(row: Row, phase: str) -> bool:
    return phase in row.phases and phase != row.record.total and bool(row.samples(phase))


def _changes(of: Sequence[tuple[Row, Row, str]], margin: float | None, rate: float) -> list[PhaseChange]:
    samples = [(a.samples_by_process(phase), b.samples_by_process(phase)) for a, b, phase in of]
    differences = judge_unpaired(samples, margin=margin, rate=rate)
    return [
        PhaseChange(phase=phase, base_seconds=_seconds(a, phase), new_seconds=_seconds(b, phase), difference=difference)
        for (a, b, phase), difference in zip(of, differences, strict=True)
    ]


def _seconds(row: Row, phase: str) -> float:
    estimate = row.estimate(phase)
    assert estimate is not None  # a row that ended has samples
    return estimate.value


def kernel_changes(base: Row, new: Row) -> tuple[KernelChange, ...]:
    """Return the kernels whose time changed most, where one step of both sides was watched; else nothing."""
    of_base, of_new = _kernels(base), _kernels(new)
    if not of_base or not of_new:
        return ()
    nothing = (0.0, 0)
    changes = [
        KernelChange(
            phase=phase,
            name=name,
            base_seconds=of_base.get((phase, name), nothing)[0],
            new_seconds=of_new.get((phase, name), nothing)[0],
            base_launches=of_base.get((phase, name), nothing)[1],
            new_launches=of_new.get((phase, name), nothing)[1],
        )
        for phase, name in dict.fromkeys([*of_base, *of_new])
    ]
    changes.sort(key=lambda one: -abs(one.new_seconds - one.base_seconds))
    return tuple(changes[:_MOST_KERNELS])


def _kernels(row: Row) -> dict[tuple[str, str], tuple[float, int]]:
    found: dict[tuple[str, str], tuple[float, int]] = {}
    for kernel in row.record.kernels:
        seconds, launches = found.get((kernel.phase, kernel.name), (0.0, 0))
        found[kernel.phase, kernel.name] = (seconds + kernel.nanoseconds * 1e-9, launches + kernel.launches)
    return found


def worth_confirming(gate: Gate, *, most: int) -> tuple[CellVerdict, ...]:
    """Return the cells to measure again in pairs: those claimed or suspicious, the most slowed first."""
    suspicious = [cell for cell in gate.cells if cell.whole.difference.is_suspicious]
    return tuple(sorted(suspicious, key=lambda cell: -(cell.whole.difference.value or 0.0))[:most])


def has_failed(cell: CellVerdict) -> bool:
    """Say whether the pairs of a cell were asked for and could not be taken."""
    return cell.confirmed is not None and cell.confirmed.record.status is not Status.OK
