"""OpenMetrics 1.0 text, which Prometheus and its kin read: gauges with the cell in their labels."""

import math
from collections.abc import Callable, Iterator, Mapping

from windtunnel.analysis.flat_table import PhaseOf, phases_of
from windtunnel.analysis.results import Results
from windtunnel.report.document import printable


def render_openmetrics(results: Results, *, with_samples: bool) -> str:
    """Return one family after the other and the end mark; a failed cell has `windtunnel_cell_failed` 1."""
    assert not with_samples
    every = tuple(phases_of(results))
    lines = [line for name, family in _FAMILIES.items() for line in _lines(name, *family, every)]
    return "\n".join([*lines, "# EOF", ""])


def _lines(
    name: str, unit: str, text: str, get: Callable[[PhaseOf], float | None], every: tuple[PhaseOf, ...]
) -> Iterator[str]:
    """Yield a family's head and one line for each value that is known; no head without any."""
    values = [(one, value) for one in every if (value := get(one)) is not None]
    if not values:
        return
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"
    for one, value in values:
        yield f"{name}{{{_labels(one, has_phase='phase' in name)}}} {_number(value)}"


def _labels(one: PhaseOf, *, has_phase: bool) -> str:
    row, cell = one.row, one.row.cell
    labels: Mapping[str, object] = {
        "key": row.key,
        "machine": row.machine,
        "device_name": row.environment.device_name,
        "size": cell.model.name,
        "workload": cell.workload,
        "batch_size": cell.batch_size,
        "context_length": cell.context_length,
        "precision": cell.precision,
        "attention": cell.attention_name,
        "compile": cell.compile,
        "checkpoint": cell.checkpoint_name,
        "status": row.record.status.value,
        **({"phase": one.phase} if has_phase else {}),
    }
    return ",".join(f'{name}="{escaped(str(value))}"' for name, value in labels.items())


def escaped(text: str) -> str:
    r"""Escape a label's value: a backslash, a quote and a newline become `\\`, `\"` and `\n`.

    Source: OpenMetrics 1.0, section "ABNF", escaped-string.
    """
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")


def _whole(get: Callable[[PhaseOf], float | None]) -> Callable[[PhaseOf], float | None]:
    """Ask once a cell: at its whole step, or where it failed."""
    return lambda one: get(one) if one.phase in {None, one.row.record.total} else None


def _end(name: str) -> Callable[[PhaseOf], float | None]:
    def get(one: PhaseOf) -> float | None:
        estimate = one.row.estimate(one.phase) if one.phase else None
        return getattr(estimate, name) if estimate else None

    return get


def _flops(one: PhaseOf) -> float | None:
    return one.row.flops(one.phase) if one.phase else None


def _peak(one: PhaseOf) -> float | None:
    return one.row.record.memory.peak_bytes if one.row.record.memory else None


_FAMILIES: Mapping[str, tuple[str, str, Callable[[PhaseOf], float | None]]] = {
    "windtunnel_phase_time_seconds": ("seconds", "Median time of one phase of a step.", _end("value")),
    "windtunnel_phase_time_low_seconds": ("seconds", "Lower end of its 95 % interval.", _end("low")),
    "windtunnel_phase_time_high_seconds": ("seconds", "Upper end of its 95 % interval.", _end("high")),
    "windtunnel_phase_samples": ("", "Samples, or processes, behind that interval.", _end("n")),
    "windtunnel_phase_flops": ("", "Matrix-product FLOPs.", _flops),
    "windtunnel_cell_peak_memory_bytes": ("bytes", "Most memory held at once, of the whole cell.", _whole(_peak)),
    "windtunnel_cell_failed": ("", "1 where the cell failed, else 0.", _whole(lambda one: float(not one.row.is_ok))),
}
"""Family to its unit, its help and how its value is read; families of phases have the phase as a label."""
