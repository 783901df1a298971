"""The JSON that pytest-benchmark saves, so that its `compare` and the services that read it read ours."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from windtunnel.analysis.flat_table import PhaseOf, phases_of
from windtunnel.analysis.results import Results, Row
from windtunnel.records.environment import Environment

FORMAT_VERSION = "5.1.0"
"""The pytest-benchmark whose files ours are like."""


def render_pytest_benchmark(results: Results, *, with_samples: bool) -> str:
    """Return one benchmark for each phase of each measured cell, times in seconds.

    The format has no place for a cell without times: failures stand under `windtunnel_failures`, a name of ours,
    which its readers pass over.
    """
    every = tuple(phases_of(results))
    environment = results.rows[-1].environment if results.rows else None
    document = {
        "machine_info": _machine(environment) if environment else {},
        "commit_info": {"id": environment.git_commit if environment else None},
        "benchmarks": [_benchmark(one, with_samples=with_samples) for one in every if one.phase],
        "windtunnel_failures": [_failure(one.row) for one in every if not one.row.is_ok],
        "datetime": max((row.record.started_at for row in results), default=None),
        "version": FORMAT_VERSION,
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _machine(environment: Environment) -> dict[str, object]:
    return {
        "node": environment.machine(),
        "machine": environment.platform,
        "python_version": environment.python,
        "system": environment.platform.partition("-")[0],
        "cpu": {"brand_raw": environment.host_cpu, "count": environment.host_cores},
        "device_name": environment.device_name,
        "torch": environment.torch,
        "cuda": environment.cuda,
    }


def _benchmark(one: PhaseOf, *, with_samples: bool) -> dict[str, Any]:
    row, cell = one.row, one.row.cell
    seconds = [value * 1e-9 for value in row.samples(one.phase)]
    return {
        "group": f"{cell.model.name} {cell.workload}",
        "name": f"{one.label} · {one.phase}",
        "fullname": f"windtunnel::{row.key}::{one.phase}",
        "params": {
            "phase": one.phase,
            "size": cell.model.name,
            "workload": cell.workload,
            "batch_size": cell.batch_size,
            "context_length": cell.context_length,
            "precision": cell.precision,
            "attention": cell.attention_name,
            "compile": cell.compile,
        },
        "param": row.key,
        "extra_info": {"clock": row.clock(one.phase or row.record.total).value, "key": row.key},
        "options": {"disable_gc": False, "timer": "windtunnel", "warmup": row.plan.warmup},
        "stats": {**_stats(seconds), **({"data": seconds} if with_samples else {})},
    }


def _stats(seconds: Sequence[float]) -> dict[str, object]:
    """Return the numbers of its `Stats`: quartiles interpolated, and fences at 1.5 times their distance."""
    values = np.asarray(seconds)
    low, middle, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    fence_low, fence_high = low - 1.5 * (high - low), high + 1.5 * (high - low)
    inside = values[(values >= fence_low) & (values <= fence_high)]
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    far = int(np.count_nonzero(np.abs(values - mean) > deviation))
    beyond = len(values) - len(inside)
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(values),
        "median": middle,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": beyond,
        "stddev_outliers": far,
        "outliers": f"{far};{beyond}",
        "ld15iqr": float(inside.min()),
        "hd15iqr": float(inside.max()),
        "ops": 1 / mean if mean else 0.0,
        "total": float(values.sum()),
        "iterations": 1,
    }


def _failure(row: Row) -> dict[str, object]:
    failure = row.record.failure
    return {
        "name": row.record.task.cell_label(),
        "key": row.key,
        "status": row.record.status.value,
        "stage": failure.stage if failure else None,
        "phase": failure.phase if failure else None,
        "message": failure.message if failure else None,
    }
