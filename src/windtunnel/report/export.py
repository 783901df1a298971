"""The table of formats for other programs, and results written in one of them."""

from dataclasses import dataclass, replace
from typing import Protocol

from windtunnel.analysis.results import Results
from windtunnel.errors import SpecError, unknown_name
from windtunnel.report.exports.bencher import render_bencher
from windtunnel.report.exports.csv_table import render_csv
from windtunnel.report.exports.github_action import render_github_action
from windtunnel.report.exports.openmetrics import render_openmetrics
from windtunnel.report.exports.parquet import render_parquet
from windtunnel.report.exports.pytest_benchmark import render_pytest_benchmark


class _Render(Protocol):
    def __call__(self, results: Results, *, with_samples: bool) -> str | bytes: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFormat:
    """How results are written for one kind of program.

    `takes_samples`: whether raw samples have a place in it. `is_of_one_machine`: whether names in it say nothing of the
    machine, so that two would be merged. `is_binary`: whether it is no text for a terminal.
    """

    render: _Render
    takes_samples: bool = False
    is_of_one_machine: bool = False
    is_binary: bool = False


EXPORTS: dict[str, ExportFormat] = {
    "csv": ExportFormat(render=render_csv, takes_samples=True),
    "parquet": ExportFormat(render=render_parquet, takes_samples=True, is_binary=True),
    "pytest-benchmark": ExportFormat(render=render_pytest_benchmark, takes_samples=True, is_of_one_machine=True),
    "bencher": ExportFormat(render=render_bencher, is_of_one_machine=True),
    "github-action-benchmark": ExportFormat(render=render_github_action, is_of_one_machine=True),
    "openmetrics": ExportFormat(render=render_openmetrics),
}
"""Name to format."""


def export_results(results: Results, name: str, *, with_samples: bool = False, machine: str = "") -> bytes:
    """Return results in a format, as UTF-8 where it is text; failures are rows like all others.

    Args:
        results: What a store holds.
        name: A format of `EXPORTS`.
        with_samples: Every raw sample instead of what is computed from them, or beside it.
        machine: The beginning of a machine's hash, to take only its rows; empty: all.

    Raises:
        SpecError: The format is not known or has no place for samples, the machine is not there, or the format can
            hold one machine only and there are several.
        UnsupportedError: A package for the format is not installed.
    """
    if name not in EXPORTS:
        raise SpecError(unknown_name("export format", name, EXPORTS))
    kind, results = EXPORTS[name], _of_machine(results, machine)
    if with_samples and not kind.takes_samples:
        fitting = ", ".join(known for known, one in EXPORTS.items() if one.takes_samples)
        raise SpecError(f"{name} has no place for raw samples; leave --samples out, or choose one of: {fitting}")
    machines = results.by_machine()
    if kind.is_of_one_machine and len(machines) > 1:
        raise SpecError(f"{name} holds one machine, and there are {_listed(results)}; choose one with --machine HASH")
    written = kind.render(results, with_samples=with_samples)
    return written if isinstance(written, bytes) else written.encode()


def _of_machine(results: Results, machine: str) -> Results:
    rows = tuple(row for row in results if row.machine.startswith(machine))
    if machine and not rows:
        there = _listed(results) if results.rows else "none"
        raise SpecError(f"no machine begins with {machine!r}; there are: {there}")
    return replace(results, rows=rows)


def _listed(results: Results) -> str:
    machines = results.by_machine()
    return ", ".join(f"{machine} ({rows[-1].environment.device_name})" for machine, rows in machines.items())
