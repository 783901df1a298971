"""What a store has of a search: looks, errors and comparisons of one machine, found again by what was asked."""

from collections.abc import Iterable
from dataclasses import replace

from windtunnel.records.looks import StoredLook
from windtunnel.records.pair import PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Record, Status
from windtunnel.records.store import Store, StoredComparison, StoredRecord
from windtunnel.spec.cell import Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.sides import as_side
from windtunnel.statistics.paired import Verdict
from windtunnel.statistics.pairing import PairPlan


class StoredTrials:
    """Gives a search what was measured for it before, the latest of each; it never measures."""

    def __init__(
        self,
        machine: str,
        *,
        records: Iterable[StoredRecord],
        comparisons: Iterable[StoredComparison],
        looks: Iterable[StoredLook[PrecisionLook]],
    ) -> None:
        """Keep what is of this machine; of what is there several times, the last is kept."""
        self._records = {one.key: one.record for one in records if one.environment.machine() == machine}
        self._looks = {one.key: one.look for one in looks if one.environment.machine() == machine}
        self._comparisons = {
            _asked(one.record.a.task, one.record.b.task, one.record.plan): one.record
            for one in comparisons
            if one.environment_a.machine() == one.environment_b.machine() == machine
        }

    @classmethod
    def of_store(cls, store: Store, machine: str) -> "StoredTrials":
        """Return what an open store has."""
        return cls(machine, records=store.records(), comparisons=store.comparisons(), looks=store.looks(PrecisionLook))

    def look(self, task: Task) -> Record | None:
        """Return the record of a candidate."""
        return self._records.get(task.key())

    def numbers(self, request: PrecisionRequest) -> PrecisionLook | None:
        """Return how far the numbers of a step are off."""
        return self._looks.get(request.key())

    def compare(self, a: Task, b: Task, plan: PairPlan, *, share: int) -> PairRecord | None:
        """Return a comparison by this plan, whatever time it was given."""
        del share  # it takes none
        return self._comparisons.get(_asked(a, b, plan))


_Asked = tuple[str, str, PairPlan]


def _asked(a: Task, b: Task, plan: PairPlan) -> _Asked:
    return as_side(a).key(), as_side(b).key(), replace(plan, max_seconds=1.0)


def was_cut_short(record: PairRecord) -> bool:
    """Whether a comparison ended by its time without a verdict: with more of it there may be one."""
    if record.status is not Status.OK:
        return False
    pairs, null_pairs = record.differences()
    return len(pairs) < record.plan.max_pairs and record.plan.judge(pairs, null_pairs).verdict is Verdict.INCONCLUSIVE
