"""What was asked, on which machine, how it ended, and the few sentences that its numbers support."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from windtunnel.analysis.comparisons import StepRatio, grid_point
from windtunnel.analysis.results import Row
from windtunnel.records.environment import Environment
from windtunnel.report.document import Block, Callout, CalloutKind, Paragraph, Section
from windtunnel.report.measures import samples_text
from windtunnel.report.scope import Scope
from windtunnel.report.sections.attention.answers import answers_of
from windtunnel.statistics.interval import Estimate
from windtunnel.units import counted, known_to, memory, percent_scale, ratio


def overview(scope: Scope) -> Section:
    """Return the sentences; each holds only numbers that are in rows, and none names a cause."""
    asked = {"Asked": _asked(scope), "Machine": _machine(scope.environment), "Cells": _cells(scope)}
    found = answers_of(scope) | asked if scope.is_attention else asked | _of_steps(scope)
    sentences = found | {"Marks": _marks(scope)}
    blocks: list[Block] = [Paragraph(lead=lead, text=text) for lead, text in sentences.items() if text]
    if scope.failed:
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=_failed(scope)))
    return Section(heading="Overview", blocks=tuple(blocks))


def _of_steps(scope: Scope) -> dict[str, str]:
    pairs = scope.step_ratios
    return {
        "Times": _extremes(scope),
        "Forward + backward over forward": _step_ratio(pairs),
        "Backward over forward in one step": _phase_ratio(pairs),
        "Of the datasheet's peak": _peak(scope.measured),
    }


def _asked(scope: Scope) -> str:
    last = scope.runs[-1] if scope.runs else None
    name, description = (str(last.sweep.get(field, "")).strip() if last else "" for field in ("name", "description"))
    others = f", the last of {len(scope.runs):,} runs on this machine" if len(scope.runs) > 1 else ""
    said = f"Sweep {name}{others}." if name else ""
    return " ".join(part for part in (said, description) if part)


def _machine(environment: Environment) -> str:
    device_memory = environment.device_memory_bytes
    parts = [environment.device_name + (f" with {memory(device_memory)}" if device_memory else "")]
    if environment.device != "cpu":
        parts += [f"driver {environment.driver}"] if environment.driver else []
        parts += [f"CUDA {environment.cuda}"] if environment.cuda else []
        parts.append(f"host {environment.host_cpu}")
    parts += [f"{environment.host_cores} host cores"] if environment.host_cores else []
    parts += [f"torch {environment.torch}", f"Python {environment.python}"]
    return f"{', '.join(parts)}."


def _cells(scope: Scope) -> str:
    if not scope.failed:
        return f"{counted(len(scope.rows), 'cell')}, all measured to their end."
    return f"{counted(len(scope.rows), 'cell')}, {len(scope.measured):,} measured to their end."


def _failed(scope: Scope) -> str:
    counts = Counter(row.record.status.value for row in scope.failed)
    listed = ", ".join(f"{number:,} {status}" for status, number in counts.items())
    return f"{counted(len(scope.failed), 'cell')} failed: {listed}. Their configurations stand under Failures."


def _extremes(scope: Scope) -> str:
    estimates = {row: estimate for row in scope.measured if (estimate := row.estimate())}
    if not estimates:
        return ""
    fastest, slowest = (choose(estimates, key=lambda row: estimates[row].value) for choose in (min, max))
    if len(estimates) == 1:
        return f"The step ({scope.label(fastest)}) takes {_median_text(fastest, estimates[fastest])}."
    return (
        f"The fastest cell is {scope.label(fastest)} with {_median_text(fastest, estimates[fastest])}, "
        f"the slowest {scope.label(slowest)} with {_median_text(slowest, estimates[slowest])}."
    )


def _median_text(row: Row, estimate: Estimate) -> str:
    what = "a mean of process medians" if len(row.processes) > 1 else "a median"
    known = known_to(estimate.value, estimate.relative_half_width)
    return f"{what} of {known} (n = {samples_text(row)}, host clock)"


def _marks(scope: Scope) -> str:
    """Count the cells whose numbers are not to be taken as they stand; empty where none was measured."""
    marked = [marks for row in scope.measured if (marks := scope.marks[row])]
    if not scope.measured:
        return ""
    if not marked:
        return "No measured cell has one."
    counts = Counter(mark for marks in marked for mark in marks)
    listed = ", ".join(f"{number:,} {mark}" for mark, number in sorted(counts.items(), key=lambda item: -item[1]))
    has = "has" if len(marked) == 1 else "have"
    return (
        f"{len(marked):,} of {counted(len(scope.measured), 'measured cell')} {has} a mark: {listed}. "
        "What it means stands below the complete results."
    )


def _step_ratio(pairs: tuple[StepRatio, ...]) -> str:
    if not pairs:
        return ""
    trend = _trend([(pair, pair.ratio) for pair in pairs])
    return f"{_range(pair.ratio for pair in pairs)} over {counted(len(pairs), 'pair')} of cells, whole steps{trend}."


def _phase_ratio(pairs: tuple[StepRatio, ...]) -> str:
    inside = [(pair, pair.phase_ratio) for pair in pairs if pair.phase_ratio is not None]
    if not inside:
        return ""
    return f"{_range(value for _, value in inside)} over {counted(len(inside), 'cell')}, both timed{_trend(inside)}."


def _range(values: Iterable[float]) -> str:
    ordered = sorted(values)
    low, high = ratio(ordered[0]), ratio(ordered[-1])
    return low if low == high else f"{low} to {high}"


def _trend(ratios: Sequence[tuple[StepRatio, float]]) -> str:
    """Say whether a ratio rises with size at every step, in the series of cells that differ in size only."""
    series: dict[object, list[tuple[int, float]]] = {}
    for pair, value in ratios:
        point = grid_point(pair.forward, without=("model",))
        series.setdefault(point, []).append((pair.forward.size_rank, value))
    long = [[value for _, value in sorted(entries)] for entries in series.values() if len(entries) > 2]
    if not long:
        return ""
    rising = sum(all(before < after for before, after in pairwise(values)) for values in long)
    falling = sum(all(before > after for before, after in pairwise(values)) for values in long)
    if len(long) == 1:
        way = "rises" if rising else "falls" if falling else "neither rises nor falls"
        return f"; it {way} with the number of parameters at every step"
    ways = {"rises": rising, "falls": falling}
    if all_of := [way for way, number in ways.items() if number == len(long)]:
        return (
            f"; in each of {len(long):,} series over sizes it {all_of[0]} with the number of parameters at every step"
        )
    return (
        f"; of {len(long):,} series over sizes, {rising:,} rise and {falling:,} fall with the number of parameters "
        "at every step"
    )


def _peak(rows: tuple[Row, ...]) -> str:
    fractions = sorted(fraction for row in rows if (fraction := row.peak_fraction()) is not None)
    if not fractions:
        return ""
    scale = percent_scale(fractions)
    low, high = scale.text(fractions[0]), scale.text(fractions[-1])
    reached = f"{low} {scale.unit}" if low == high else f"{low} to {high} {scale.unit}"
    return (
        f"Cells reach {reached} of the dense rate that the datasheet gives for their precision; "
        "matrix products only are counted."
    )
