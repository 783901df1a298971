"""The search with workers and a store: all that is measured is stored at once, and the same call goes on from there."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.devices import peaks_of
from windtunnel.cost.prediction import Target, target_named
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.calibration import Calibration
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.records.environment import Environment
from windtunnel.records.store import DEFAULT_STORE, Run, Store, open_store
from windtunnel.spec.quantities import parse_memory_limit
from windtunnel.spec.tuning import Tuning
from windtunnel.sweep.candidates import Candidate, candidates_of, check_limit
from windtunnel.sweep.engine import DEFAULT_TIMEOUT_SECONDS
from windtunnel.sweep.launch import WorkerProcess
from windtunnel.sweep.measured_trials import Budget, MeasuredTrials, TrialsObserver, TuneWorker, Workers
from windtunnel.sweep.pairs import LaunchAt
from windtunnel.sweep.tuning import Found, search
from windtunnel.units import duration

MakeTuning = Callable[[str], Tuning]
"""Makes the search once the device is known."""


def target_of(environment: Environment, calibration: Calibration | None) -> Target:
    """Return the machine as a prediction needs it, with the ceilings of its calibration where it has one."""
    peaks = peaks_of(environment.device_name)
    ceilings: Ceilings | None = calibrated_ceilings(calibration, peaks) if calibration else None
    target = target_named(environment.device_name, memory_bytes=environment.device_memory_bytes, ceilings=ceilings)
    return replace(target, is_here=True)


def limit_of(tuning: Tuning, environment: Environment) -> int | None:
    """Return the memory that a candidate may hold: the limit, else all that the device has.

    Raises:
        SpecError: It is no such memory, or more than the device has.
    """
    capacity = environment.device_memory_bytes
    if tuning.memory_limit is None or capacity is None:
        return capacity
    try:
        return parse_memory_limit(tuning.memory_limit, capacity)
    except ValueError as error:
        raise SpecError(f"memory limit {error}") from None


def tune(
    make: MakeTuning,
    *,
    device: str = "auto",
    store: Path | str = DEFAULT_STORE,
    fresh: bool = False,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    observer: TrialsObserver | None = None,
    launch: Callable[[], TuneWorker] = WorkerProcess,
    launch_at: LaunchAt = WorkerProcess,
) -> Found:
    """Search for the fastest configuration within a budget of time, and store all that is measured.

    When the time is over nothing new begins, and what is running is given up; the same call goes on from there.

    Args:
        make: Makes the search for a device.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        store: Folder of the store; made when it is not there.
        fresh: Measure again what is stored already.
        timeout: Seconds that one candidate may take, building and compiling included.
        observer: Told about every step.
        launch: Starts a worker; tests put a fake here.
        launch_at: The same where two candidates have a process each.

    Raises:
        SpecError: The request is wrong, the device is not there, or the budget is too small for one candidate.
        StoreError: The store cannot be opened or written; what was stored before is safe.
        RunError: No worker can be started.
    """
    begin = time.monotonic()
    with open_store(Path(store)) as opened, Workers(launch) as workers:
        environment = workers.ready().describe(device)
        tuning = make(environment.device)
        candidates = candidates_of(
            tuning, target_of(environment, opened.calibration(environment.machine())), environment.device
        )
        _check_budget(tuning.budget, candidates[0], start_seconds=time.monotonic() - begin)
        limit = limit_of(tuning, environment)
        check_limit(candidates, limit)
        if observer:
            observer.planned(candidates, environment, limit)
        source = MeasuredTrials(
            opened,
            workers,
            environment,
            budget=Budget(tuning.budget, begin=begin),
            timeout=timeout,
            observer=observer,
            launch_at=launch_at,
            has_limit=tuning.memory_limit is not None,
            fresh=fresh,
        )
        return _run(opened, tuning, candidates, source, limit, observer)


def _check_budget(budget: float, present: Candidate, *, start_seconds: float) -> None:
    """Refuse a budget in which not even the present configuration can be looked at.

    Raises:
        SpecError: Starting a worker and the steps of one look take longer, as far as that is known.
    """
    plan = present.task.plan
    needed = start_seconds + (present.predicted_seconds or 0.0) * plan.fewest_steps
    if budget <= needed:
        raise SpecError(
            f"budget {duration(budget)} is too small for one candidate: starting a worker and "
            f"{plan.fewest_steps} steps take about {duration(needed)}; give at least {duration(10 * needed, 1)}"
        )


def _run(
    store: Store,
    tuning: Tuning,
    candidates: tuple[Candidate, ...],
    source: "MeasuredTrials",
    limit: int | None,
    observer: TrialsObserver | None,
) -> Found:
    sweep = tuning.model_dump(mode="json", exclude_defaults=True) | {"kind": tuning.kind, "name": tuning.name}
    number = store.begin_run(Run(started_at=source.started_at, sweep=sweep, machine=source.machine, summary=None))
    try:
        found = search(tuning, candidates, source, limit_bytes=limit, observer=observer)
    except StoreError:
        raise  # nothing more can be stored, also not the summary
    except BaseException:
        store.end_run(number, source.course(is_complete=False))
        raise
    store.end_run(number, source.course(is_complete=True))
    return found
