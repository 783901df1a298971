"""What rules look at of our own records: the rows of one machine and one kind, and what else was seen of them."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from windtunnel.analysis.comparisons import grid_point
from windtunnel.analysis.finding import Finding
from windtunnel.analysis.ledger import launch_bound_share
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.observed import Observed
from windtunnel.analysis.observed_results import observed_of
from windtunnel.analysis.pairs import Compared, judge_runs
from windtunnel.analysis.predictions import Predictions
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.results import Row
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.pair import PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.profile import Profile
from windtunnel.records.record import Status
from windtunnel.records.store import StoredComparison
from windtunnel.spec.cell import Cell

KEY_LENGTH = 12
"""So many hex digits of a key name a record in evidence: `windtunnel show` takes them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """All that is known of one machine and one kind of cells; what is computed of it is computed once.

    Attributes:
        rows: Every row, failures among them, in the order in which they were measured.
        name: What to call a row; no other one here has this name.
        cell_name: What to call a cell that a look is of.
        is_attention: Whether the rows are attention alone.
        comparisons: Those whose side A ran here.
    """

    rows: tuple[Row, ...]
    name: Callable[[Row], str]
    cell_name: Callable[[Cell], str]
    is_attention: bool
    predictions: Predictions
    comparisons: tuple[StoredComparison, ...] = ()
    ledgers: tuple[StoredLook[MemoryLedger], ...] = ()
    precision_looks: tuple[StoredLook[PrecisionLook], ...] = ()
    profiles: tuple[StoredLook[Profile], ...] = ()

    @cached_property
    def timed(self) -> tuple[Row, ...]:
        """The rows that were measured to their end and have a location of the whole step."""
        return tuple(row for row in self.rows if row.is_ok and row.estimate())

    @cached_property
    def warm(self) -> tuple[Row, ...]:
        """Those of them that had a warm-up."""
        return tuple(row for row in self.timed if not row.plan.is_cold)

    @cached_property
    def out_of_memory(self) -> tuple[Row, ...]:
        """The rows that ran out of memory."""
        return tuple(row for row in self.rows if row.record.status is Status.OUT_OF_MEMORY)

    @cached_property
    def by_evidence(self) -> Mapping[str, Row]:
        """Each row by what names it in evidence."""
        return {row.key[:KEY_LENGTH]: row for row in self.rows}

    def rows_behind(self, finding: Finding) -> tuple[Row, ...]:
        """Return the rows that a rule of published tables named as evidence, by row and phase."""
        return tuple(self.by_evidence[place.partition(",")[0]] for place in finding.evidence)

    @cached_property
    def observed(self) -> Observed:
        """The warm rows, and those that ran out of memory, as rules of published tables see them.

        Warm-up is no work: of rows that differ in it only, those with the most stand for all.
        """
        most: dict[Hashable, Row] = {}
        for row in self.rows:
            point = grid_point(row, without=("warmup",))
            other = most.get(point)
            if other is None or row.plan.warmup_rank > other.plan.warmup_rank:
                most[point] = row
        return observed_of((row for row in most.values() if not row.plan.is_cold), self.name)

    @cached_property
    def wholes(self) -> Observed:
        """The same of whole steps only."""
        totals = {key: row.record.total for key, row in self.by_evidence.items()}
        times = tuple(one for one in self.observed.times if one.phase == totals[one.source.split(",")[0]])
        return replace(self.observed, times=times)

    @cached_property
    def compared(self) -> tuple[Compared, ...]:
        """The comparisons that ended, judged together run by run."""
        return tuple(one for run in judge_runs(self.comparisons).values() for one in run if one.effects)

    @cached_property
    def profile_views(self) -> tuple[tuple[str, Cell, ProfileView], ...]:
        """The profiles of cells in which anything ran, with their evidence."""
        return tuple(
            (f"profile {stored.key[:KEY_LENGTH]}", stored.look.cell, view)
            for stored in self.profiles
            if stored.look.cell and stored.look.steps and (view := ProfileView(stored.look)).total
        )

    @cached_property
    def ledger_views(self) -> tuple[tuple[str, Cell, LedgerView], ...]:
        """The memory ledgers of cells that reached their end, with their evidence."""
        return tuple(
            (f"memory {stored.key[:KEY_LENGTH]}", stored.look.cell, LedgerView(stored.look))
            for stored in self.ledgers
            if stored.look.cell and stored.look.status is Status.OK
        )

    @cached_property
    def heaviest(self) -> Row | None:
        """The warm row of the workload that does the most, with the longest step: the one to look at first."""
        last = [row for row in self.warm if row.cell.workload == self.workloads[-1]]
        return max(last, key=seconds_of, default=None)

    @cached_property
    def workloads(self) -> tuple[str, ...]:
        """The workloads of warm rows, the one that does the most last."""
        return tuple(sorted({row.cell.workload for row in self.warm}, key=_WEIGHTS.index))


_WEIGHTS = ("forward", "forward_backward", "train_step", "attention_forward", "attention_forward_backward")


def seconds_of(row: Row) -> float:
    """Return the location of the whole step of a timed row, in seconds."""
    estimate = row.estimate()
    assert estimate is not None  # `Measured.timed` has no others
    return estimate.value


def waits_of(rows: Iterable[Row]) -> Mapping[Row, float]:
    """Return the share of a step in which the device waits for the host, of each row whose probes say."""
    return {row: share.value for row in rows if (share := launch_bound_share(row.record))}


def evidence_of(*rows: Row) -> tuple[str, ...]:
    """Return what names rows in evidence, each once."""
    return tuple(dict.fromkeys(row.key[:KEY_LENGTH] for row in rows))


def comparison_evidence(record: PairRecord) -> str:
    """Return what names a comparison in evidence; the store gives it no key."""
    text = f"{record.a.task.key()} {record.b.task.key()} {record.started_at}"
    return f"comparison {sha256(text.encode()).hexdigest()[:KEY_LENGTH]}"
