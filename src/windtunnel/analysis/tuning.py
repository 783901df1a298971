"""Searches for the fastest configuration as a store holds them: each is gone through again, without measuring."""

import json
from collections.abc import Sequence

from pydantic import ValidationError

from windtunnel.analysis.pairs import effects_of
from windtunnel.analysis.results import Row, in_seconds
from windtunnel.errors import SpecError, StoreError
from windtunnel.language import say, word
from windtunnel.records.looks import StoredLook
from windtunnel.records.pair import PairRecord
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.record import Record, Status
from windtunnel.records.store import Run, StoredComparison
from windtunnel.spec.cell import Cell
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.spec.faults import faults_of
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tuning import TUNED_AXES, Tuning
from windtunnel.statistics.interval import Estimate, median_interval
from windtunnel.statistics.pairing import Finding
from windtunnel.statistics.racing import Standing
from windtunnel.sweep.candidates import candidates_of
from windtunnel.sweep.stored_trials import StoredTrials
from windtunnel.sweep.trials import limit_of, target_of
from windtunnel.sweep.tuning import Found, Place, Trial, search

KIND = "tune"


def searches_of(
    runs: Sequence[Run],
    rows: Sequence[Row],
    comparisons: Sequence[StoredComparison],
    looks: Sequence[StoredLook[PrecisionLook]],
) -> tuple[Found, ...]:
    """Return what the searches of one machine found, as far as its store has it; the same one asked again once.

    Raises:
        StoreError: A run cannot be read as a search.
    """
    latest = {_question(run): run for run in runs if run.sweep.get("kind") == KIND}
    if not latest or not rows:
        return ()
    first = rows[0]
    stored = StoredTrials(
        first.machine,
        records=[one for row in rows for one in row.processes],
        comparisons=comparisons,
        looks=looks,
    )
    return tuple(_again(run, first, stored) for run in latest.values())


def _question(run: Run) -> str:
    """Return what tells searches apart: all that was asked but the time for it."""
    return json.dumps({name: value for name, value in run.sweep.items() if name != "budget"}, sort_keys=True)


def _again(run: Run, row: Row, stored: StoredTrials) -> Found:
    try:
        tuning = Tuning.model_validate(dict(run.sweep))
        device = row.environment.device
        candidates = candidates_of(tuning, target_of(row.environment, row.calibration), device)
        return search(tuning, candidates, stored, limit_bytes=limit_of(tuning, row.environment))
    except ValidationError as error:
        raise _unreadable(run, "; ".join(faults_of(error, Tuning))) from error
    except SpecError as error:
        raise _unreadable(run, "; ".join(error.faults)) from error


def _unreadable(run: Run, why: str) -> StoreError:
    return StoreError(f"the search of {run.started_at} cannot be read: {why}; choose another --store")


def label_of(cell: Cell, tuning: Tuning) -> str:
    """Return what tells a candidate apart from the others."""
    varying = [axis for axis in TUNED_AXES if _has_choice(axis, tuning)]
    if isinstance(cell.model, OwnModel):
        varying = [axis for axis in varying if axis not in {"attention", "checkpoint"}]
    said = {
        "attention": cell.attention,
        "compile": "" if cell.compile == "off" else say("compile {value}", value=cell.compile),
        "precision": cell.precision,
        "checkpoint": "" if cell.checkpoint == NO_CHECKPOINT else say("checkpoint {value}", value=cell.checkpoint),
        "batch": say("batch {value}", value=cell.batch_size),
    }
    parts = [said[axis] for axis in varying if said[axis]]
    return " · ".join(parts) or say("the present configuration")


def _has_choice(axis: str, tuning: Tuning) -> bool:
    return len({*tuning.present.axes()[axis], *tuning.tried.axes()[axis]}) > 1


def estimate_of(record: Record | None) -> Estimate | None:
    """Return the time of a step in a look, in seconds, with its interval; None where it has none."""
    series = record.whole_series() if record and record.status is Status.OK else None
    return in_seconds(median_interval(series.nanoseconds)) if series else None


def finding_of(record: PairRecord) -> Finding | None:
    """Return what a comparison says of the whole step; None where it failed."""
    effects = effects_of(record)
    return effects[0].finding if effects else None


def outcome_of(trial: Trial, found: Found) -> str:
    """Return what became of a candidate: how it stands in the race, or why it is not in it."""
    standing = found.standings.get(trial.candidate.name)
    if standing is None:
        return word(trial.place.value)
    if standing is Standing.LEADS:
        return say("the fastest") if len(found.winners) == 1 else word(standing.value)
    return word(standing.value if trial.place is Place.RACED else trial.place.value)
