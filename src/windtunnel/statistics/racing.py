"""Which of many is the fastest: a short look at each, then duels with the present leader until the rest is decided.

Successive elimination: a candidate that is slower than the leader is out, one that is faster takes its place, and one
within the margin of indifference is as good. Each duel is a comparison in pairs, which ends as soon as it has a
verdict; first all that are left have a short one, then those without a verdict a longer one. So time goes to where
intervals overlap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from windtunnel.statistics.paired import Effect, Verdict
from windtunnel.statistics.pairing import DEFAULT_DELTA, PairPlan

ERROR = 0.05
"""The largest share of races in which the fastest is taken for a slower one."""

ROUNDS = (32, 128)
"""The most pairs of a duel, round by round; each is a comparison with pairs of its own, and ends when it has a verdict.
Fewer rounds mean fewer builds: on simulated machines three of 16, 48 and 128 take a tenth more steps too."""

APART = 1.0
"""From how much slower on a look alone decides: twice the time. Looks come one after another, so what changes slowly is
in their difference. On a busy machine identical code looks up to 80 % apart, and looks that were 60 % apart were 7 % in
pairs (docs/log.md, 2026-11-25), which have nothing of that in their difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The times of some steps of one candidate, for a unit of work, in seconds."""

    times: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the times."""
        return median(self.times)

    def is_far_behind(self, leader: "Look") -> bool:
        """Whether each of its times is above each of the leader's, and the middle by more than looks can be off."""
        return min(self.times) > max(leader.times) and self.median > (1 + APART) * leader.median


class Standing(StrEnum):
    """How a candidate stands."""

    LEADS = "leads"
    OPEN = "not settled"
    """Not decided, and not yet measured as long as allowed."""
    EQUAL = "as fast"
    """Within the margin of indifference of the leader."""
    NOT_TOLD_APART = "not told apart"
    """Neither faster nor slower nor equal after all rounds."""
    NOT_COMPARED = "not compared"
    """Its duel failed."""
    BEHIND = "far behind in its look"
    SLOWER = "slower"


class Ending(StrEnum):
    """What a race has found."""

    BEST = "one is the fastest"
    SET = "several cannot be told apart"
    UNFINISHED = "not finished"


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """A comparison that the race needs: the challenger, side B, against the leader, side A."""

    leader: str
    challenger: str
    round: int
    max_pairs: int
    error: float
    delta: float

    def plan(self, *, max_seconds: float, work_ratio: float = 1.0) -> PairPlan:
        """Return how it is measured."""
        return PairPlan(
            delta=self.delta,
            max_pairs=self.max_pairs,
            max_seconds=max_seconds,
            error=self.error,
            work_ratio=work_ratio,
        )


class Race:
    """A race in progress: ask for the next duel, settle it, until there is none.

    The fastest is thrown out with a probability of at most `error`: it meets each other candidate at most once in each
    round, and each duel errs with a share of `error` for which that is the sum (Bonferroni), whoever leads. That holds
    for a candidate that keeps meeting new leaders too, as each of them it meets is another candidate.
    """

    def __init__(
        self,
        looks: Mapping[str, Look],
        *,
        error: float = ERROR,
        delta: float = DEFAULT_DELTA,
        rounds: tuple[int, ...] = ROUNDS,
    ) -> None:
        """Begin with a look at each candidate, of which there is at least one; the fastest look leads."""
        self.leader = min(looks, key=lambda name: looks[name].median)
        first = looks[self.leader]
        self._standings = {
            name: Standing.BEHIND if look.is_far_behind(first) else Standing.OPEN for name, look in looks.items()
        }
        self._standings[self.leader] = Standing.LEADS
        self._rounds = rounds
        self._taken = dict.fromkeys(looks, 0)
        # The least time, as a change from the leader's, that a candidate may still turn out to take.
        self._hope = {name: min(look.times) / first.median - 1 for name, look in looks.items()}
        self._delta = delta
        num_rivals = sum(standing is Standing.OPEN for standing in self._standings.values())
        self._error_of_duel = error / max(1, num_rivals) / len(rounds)

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How each candidate stands."""
        return self._standings

    @property
    def winners(self) -> tuple[str, ...]:
        """The leader, and all of which it is not known that they are slower."""
        out = {Standing.LEADS, Standing.BEHIND, Standing.SLOWER}
        return (self.leader, *(name for name, standing in self._standings.items() if standing not in out))

    @property
    def ending(self) -> Ending:
        """What is known by now."""
        if self.next_duel() is not None or Standing.NOT_COMPARED in self._standings.values():
            return Ending.UNFINISHED
        return Ending.BEST if len(self.winners) == 1 else Ending.SET

    def next_duel(self) -> Duel | None:
        """Return the duel that is needed next: of those measured the least, the one that may be the fastest."""
        still = [name for name, standing in self._standings.items() if standing is Standing.OPEN]
        if not still:
            return None
        challenger = min(still, key=lambda name: (self._taken[name], self._hope[name]))
        number = self._taken[challenger]
        return Duel(
            leader=self.leader,
            challenger=challenger,
            round=number,
            max_pairs=self._rounds[number],
            error=self._error_of_duel,
            delta=self._delta,
        )

    def settle(self, duel: Duel, verdict: Verdict, effect: Effect) -> None:
        """Take in what a duel has found of the challenger against the leader."""
        self._taken[duel.challenger] += 1
        self._hope[duel.challenger] = effect.low
        if verdict is Verdict.SLOWER:
            self._standings[duel.challenger] = Standing.SLOWER
        elif verdict is Verdict.EQUIVALENT:
            self._standings[duel.challenger] = Standing.EQUAL
        elif verdict is Verdict.FASTER:
            self._dethrone(duel.challenger)
        elif self._taken[duel.challenger] == len(self._rounds):
            self._standings[duel.challenger] = Standing.NOT_TOLD_APART

    def fail(self, duel: Duel) -> None:
        """Take in that a duel could not be made."""
        self._standings[duel.challenger] = Standing.NOT_COMPARED

    def _dethrone(self, successor: str) -> None:
        """Let a faster one lead; those that were as fast as the old leader have to meet the new one."""
        self._standings[self.leader] = Standing.SLOWER
        self._standings[successor] = Standing.LEADS
        self.leader = successor
        for name, standing in self._standings.items():
            if standing in {Standing.OPEN, Standing.EQUAL, Standing.NOT_TOLD_APART, Standing.NOT_COMPARED}:
                self._standings[name] = Standing.OPEN
                self._taken[name] = 0
