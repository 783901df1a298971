"""Search for the fastest configuration: what is known beforehand, a look at each, errors, duels, the present one last.

Nothing here measures: a `Source` gives what is asked for, from a worker or from a store, or None when its time is over.
So a search that is stored can be gone through again without measuring, and one that was stopped goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from windtunnel.records.pair import PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Record, Status
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.tuning import Tuning
from windtunnel.statistics.pairing import PairPlan
from windtunnel.statistics.racing import Duel, Ending, Look, Race, Standing
from windtunnel.sweep.candidates import Candidate, fits, work_of

FINAL_PAIRS = 64
"""The most pairs of the last comparison: the winner against the present configuration, with pairs of its own, as those
that made it the winner are those in which it was lucky."""


_ANY_SECONDS = 1.0
"""Of plans whose seconds are up to the source."""


class Place(StrEnum):
    """What has become of a candidate beside its standing in the race."""

    TOO_LARGE = "predicted not to fit"
    NOT_MEASURED = "not measured"
    FAILED = "failed"
    OVER_LIMIT = "over the memory limit"
    INEXACT = "over the error limit"
    RACED = "raced"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A candidate with what was measured of it.

    `numbers` are those of how it computes, None where nobody needed them or there was no time; `error` the largest
    relative one, None where it is not known.
    """

    candidate: Candidate
    place: Place
    record: Record | None = None
    numbers: PrecisionLook | None = None
    error: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Duelled:
    """A duel that was made: the challenger, side B, against the leader of that time; `leads` is who led afterwards."""

    duel: Duel
    record: PairRecord
    standing: Standing
    leads: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search has found.

    Attributes:
        trials: All candidates, the present configuration first.
        duels: In the order in which they were made.
        standings: How each that was raced stands.
        winners: The fastest, and all of which it is not known that they are slower; empty where nothing could race.
        ending: What is known; UNFINISHED too where a candidate was not measured.
        final: The first of the winners, side B, against the present configuration; None where it is that itself, or
            there was no time, or the present one does not run.
    """

    tuning: Tuning
    trials: tuple[Trial, ...]
    duels: tuple[Duelled, ...]
    standings: dict[str, Standing]
    winners: tuple[Candidate, ...]
    ending: Ending
    final: PairRecord | None
    limit_bytes: int | None

    @property
    def present(self) -> Trial:
        """The configuration that was asked about."""
        return self.trials[0]

    def trial(self, name: str) -> Trial:
        """Return the trial of a candidate."""
        return next(trial for trial in self.trials if trial.candidate.name == name)

    def work(self, cell: Cell) -> float:
        """Return the work of a step, that of the present configuration being 1: where batches differ, by tokens."""
        return work_of(cell, self.present.candidate.cell)


class Source(Protocol):
    """Gives what a search needs, measured or stored; None where there is no time left for it, or it is not stored."""

    def look(self, task: Task) -> Record | None:
        """Return the record of a candidate."""
        ...

    def numbers(self, request: PrecisionRequest) -> PrecisionLook | None:
        """Return how far the numbers of a step are off."""
        ...

    def compare(self, a: Task, b: Task, plan: PairPlan, *, share: int) -> PairRecord | None:
        """Return a comparison by `plan`, but for its seconds: one of `share` parts of the time left."""
        ...


class TuneObserver(Protocol):
    """Someone who watches a search, such as a progress display."""

    def looked(self, trial: Trial) -> None:
        """Hand over what became of a candidate before the race."""
        ...

    def duelled(self, duelled: Duelled, challenger: Candidate) -> None:
        """Hand over a duel that was settled."""
        ...

    def leads(self, leader: Candidate) -> None:
        """Say who leads from now on."""
        ...


def search(
    tuning: Tuning,
    candidates: Sequence[Candidate],
    source: Source,
    *,
    limit_bytes: int | None,
    observer: TuneObserver | None = None,
) -> Found:
    """Find the fastest of the candidates within the limits.

    Args:
        tuning: What was asked.
        candidates: The present configuration first.
        source: Measures, or reads what was measured.
        limit_bytes: What a candidate may hold; None: no limit.
        observer: Told about each step.
    """
    return _Search(tuning, candidates, source, limit_bytes, observer).run()


class _Search:
    """A search in progress."""

    def __init__(
        self,
        tuning: Tuning,
        candidates: Sequence[Candidate],
        source: Source,
        limit_bytes: int | None,
        observer: TuneObserver | None,
    ) -> None:
        self._tuning = tuning
        self._source = source
        self._limit = limit_bytes
        self._observer = observer
        self._present = candidates[0]
        self._candidates = {one.name: one for one in candidates}
        self._trials: dict[str, Trial] = {}
        self._duels: list[Duelled] = []

    def run(self) -> Found:
        for candidate in self._candidates.values():
            self._trials[candidate.name] = self._tried(candidate)
            if self._observer:
                self._observer.looked(self._trials[candidate.name])
        race = self._raced()
        if race is None:
            return self._found(None, None)
        final = self._compared_with_present(race.leader)
        self._note_errors_of_ends(race.leader)
        return self._found(race, final)

    def _tried(self, candidate: Candidate) -> Trial:
        if not fits(candidate, self._limit):
            return Trial(candidate=candidate, place=Place.TOO_LARGE)
        record = self._source.look(candidate.task)
        if record is None:
            return Trial(candidate=candidate, place=Place.NOT_MEASURED)
        place = Place.RACED
        if record.status is not Status.OK:
            place = Place.FAILED
        elif self._limit is not None and record.memory and (record.memory.peak_bytes or 0) > self._limit:
            place = Place.OVER_LIMIT
        return Trial(candidate=candidate, place=place, record=record)

    def _raced(self) -> Race | None:
        """Race all that may win, and return the race; None where none may."""
        looks = self._admitted()
        if not looks:
            return None
        race = Race(looks)
        self._say_who_leads(race)
        while duel := race.next_duel():
            still = sum(standing is Standing.OPEN for standing in race.standings.values())
            a, b = self._candidates[duel.leader], self._candidates[duel.challenger]
            plan = duel.plan(max_seconds=_ANY_SECONDS, work_ratio=work_of(b.cell, a.cell))
            record = self._source.compare(a.task, b.task, plan, share=still + 1)  # one is for the last comparison
            if record is None:
                break
            self._settle(race, duel, record)
        return race

    def _settle(self, race: Race, duel: Duel, record: PairRecord) -> None:
        before = race.leader
        if record.status is Status.OK:
            judgement = record.plan.judge(*record.differences())
            race.settle(duel, judgement.verdict, judgement.effect)
        else:
            race.fail(duel)
        duelled = Duelled(duel=duel, record=record, standing=race.standings[duel.challenger], leads=race.leader)
        self._duels.append(duelled)
        if self._observer:
            self._observer.duelled(duelled, self._candidates[duel.challenger])
        if race.leader != before:
            self._say_who_leads(race)

    def _say_who_leads(self, race: Race) -> None:
        if self._observer:
            self._observer.leads(self._candidates[race.leader])

    def _admitted(self) -> dict[str, Look]:
        """Return the looks at what is within the limits, the fastest first.

        Errors are measured from the fastest on, and not of what is far behind one that is exact enough already.
        """
        looks = sorted(self._looks(), key=lambda named: named[1].median)
        if self._tuning.error_limit is None:
            return dict(looks)
        admitted: dict[str, Look] = {}
        for name, look in looks:
            first = next(iter(admitted.values()), None)
            if (first and look.is_far_behind(first)) or self._is_exact(name, self._tuning.error_limit):
                admitted[name] = look
        return admitted

    def _looks(self) -> Iterator[tuple[str, Look]]:
        for name, trial in self._trials.items():
            series = trial.record.whole_series() if trial.record and trial.place is Place.RACED else None
            if series:
                work = work_of(trial.candidate.cell, self._present.cell)
                yield name, Look(times=tuple(max(1, time) * 1e-9 / work for time in series.nanoseconds))

    def _is_exact(self, name: str, limit: float) -> bool:
        """Measure how far a candidate is off; only a measured error excludes it."""
        self._note_error(name)
        error = self._trials[name].error
        if error is None or error <= limit:
            return True
        self._trials[name] = replace(self._trials[name], place=Place.INEXACT)
        if self._observer:
            self._observer.looked(self._trials[name])
        return False

    def _note_error(self, name: str) -> None:
        look = self._source.numbers(self._tuning.numerics_of(self._candidates[name].cell))
        error = None if look is None else look.largest_error
        self._trials[name] = replace(self._trials[name], numbers=look, error=error)

    def _note_errors_of_ends(self, leader: str) -> None:
        """Say of the winner and the present configuration how far they are off, where that differs."""
        ends = (self._present.name, leader)
        of_present, of_leader = (self._tuning.numerics_of(self._candidates[name].cell) for name in ends)
        if of_present == of_leader:
            return
        for name in ends:
            if self._trials[name].numbers is None and self._trials[name].record is not None:
                self._note_error(name)

    def _compared_with_present(self, leader: str) -> PairRecord | None:
        trial = self._trials[self._present.name]
        if leader == self._present.name or trial.record is None or trial.record.status is not Status.OK:
            return None
        a, b = self._present, self._candidates[leader]
        plan = PairPlan(max_pairs=FINAL_PAIRS, max_seconds=_ANY_SECONDS, work_ratio=work_of(b.cell, a.cell))
        return self._source.compare(a.task, b.task, plan, share=1)

    def _found(self, race: Race | None, final: PairRecord | None) -> Found:
        ending = race.ending if race else Ending.UNFINISHED
        if any(trial.place is Place.NOT_MEASURED for trial in self._trials.values()):
            ending = Ending.UNFINISHED
        return Found(
            tuning=self._tuning,
            trials=tuple(self._trials.values()),
            duels=tuple(self._duels),
            standings=dict(race.standings) if race else {},
            winners=tuple(self._candidates[name] for name in race.winners) if race else (),
            ending=ending,
            final=final,
            limit_bytes=self._limit,
        )
