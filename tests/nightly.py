"""A store that grows by one run a night."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from factory import CPU, make_record, make_task
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import Run, open_store
from windtunnel.spec.cell import Task

TASK = make_task(workload="train_step")


def nightly(
    folder: Path,
    factors: list[float],
    *,
    task: Task = TASK,
    environments: list[Environment] | None = None,
    first: int = 0,
) -> Path:
    """Store one run a night; a factor of 0 is a failure."""
    draw = np.random.default_rng(0)
    with open_store(folder) as store:
        for night, factor in enumerate(factors, first):
            environment = environments[night - first] if environments else CPU
            day = f"2026-{1 + night // 28:02}-{1 + night % 28:02}"
            started_at = f"{day}T02:00:00+00:00"
            store.begin_run(
                Run(started_at=started_at, sweep={"name": "nightly"}, machine=environment.machine(), summary=None)
            )
            if factor:
                values = [10 * factor * (1 + 0.004 * draw.standard_normal()) for _ in range(10)]
                record = make_record(task, milliseconds=values)
            else:
                failure = Failure(stage="measure", message="out of memory")
                record = make_record(task, status=Status.OUT_OF_MEMORY, failure=failure)
            store.add(replace(record, started_at=f"{day}T02:00:07.5+00:00"), environment)
    return folder
