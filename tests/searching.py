"""Searches of what fits with known outcomes: their records and their course in a store, without measuring."""

from pathlib import Path

from factory import GPU, make_record
from windtunnel.analysis.results import Results, load_results
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import Run, open_store
from windtunnel.spec.frontier import Frontier, make_frontier
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.bracketing import Outcome, bracket
from windtunnel.sweep.frontier import FoundLine, FrontierSummary, limit_of
from windtunnel.sweep.lines import Line, lines_of

GIB = 2**30
FIELDS = {"size": ["small", "xl"], "mode": "train_step", "attention": ["eager", "sdpa"]}
LAST = {("small", "eager"): 12, ("small", "sdpa"): 20, ("xl", "eager"): 0, ("xl", "sdpa"): 31}
"""The last place that fits of 32: none fits of one line (it is moved below), and all of another."""


def record_of(line: Line, place: int, outcome: Outcome) -> Record:
    failure = Failure(
        stage="warmup",
        phase="backward",
        message="2.00 GiB asked for, 1.00 GiB free",
        requested_bytes=2 * GIB,
        free_bytes=GIB,
    )
    if outcome is Outcome.FITS:
        return make_record(line.task(place))
    status = Status.OUT_OF_MEMORY if outcome is Outcome.OUT else Status.CRASHED
    return make_record(line.task(place), status=status, failure=failure)


def searched(
    folder: Path,
    frontier: Frontier,
    last: dict[tuple[str, str], int] = LAST,
    *,
    predicted: int | None = 14,
    flaky: frozenset[int] = frozenset(),
    broken: frozenset[int] = frozenset(),
    missing: int = 0,
    ends: bool = True,
) -> Results:
    """Return the results of a search on a GPU whose lines end at the given places."""
    limit = limit_of(frontier, GPU)
    found: list[FoundLine] = []
    with open_store(folder) as store:
        for line in lines_of(frontier, device="cuda:0", memory_limit_bytes=limit):

            def probe(place: int, attempt: int, line: Line = line) -> Outcome:
                cell = line.cell(place)
                outcome = Outcome.FITS if place <= last[cell.model.name, cell.attention] else Outcome.OUT
                outcome = Outcome.OUT if place in flaky and not attempt else outcome
                outcome = Outcome.BROKEN if place in broken else outcome
                store.add(record_of(line, place, outcome), GPU)
                return outcome

            found.append(
                FoundLine(line=line, predicted=predicted, bracket=bracket(len(line), probe, predicted=predicted))
            )
        summary = FrontierSummary(
            lines=tuple(found),
            budget_bytes=limit or 100 * GIB,
            probes=1,
            stored=0,
            free_before_bytes=100 * GIB,
            free_after_bytes=100 * GIB - missing,
            wall_seconds=1.0,
            is_complete=True,
        )
        sweep = frontier.model_dump(mode="json", exclude_defaults=True) | {"kind": "fit"}
        number = store.begin_run(Run(started_at="2026-01-01", sweep=sweep, machine=GPU.machine(), summary=None))
        if ends:
            store.end_run(number, summary.as_json())
    return load_results(folder)


def asked(**fields: object) -> Frontier:
    return make_frontier(make_sweep(FIELDS), **({"granularity": 100, "most": 3200} | fields))
