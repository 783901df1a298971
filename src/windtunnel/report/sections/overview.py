"""What was asked, on which machine, how it ended, and how many numbers are not to be taken as they stand."""

from collections import Counter

from windtunnel.language import counted
from windtunnel.records.environment import Environment
from windtunnel.report.document import Block, Callout, CalloutKind, Paragraph, Section
from windtunnel.report.scope import Scope
from windtunnel.units import memory


def overview(scope: Scope) -> Section:
    """Return the sentences; what follows from the numbers stands in the findings below."""
    asked = {"Asked": _asked(scope), "Machine": _machine(scope.environment), "Cells": _cells(scope)}
    sentences = asked | {"Marks": _marks(scope)}
    blocks: list[Block] = [Paragraph(lead=lead, text=text) for lead, text in sentences.items() if text]
    if scope.failed:
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=_failed(scope)))
    return Section(heading="Overview", blocks=tuple(blocks))


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
