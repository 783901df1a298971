"""What was asked, on which machine, how it ended, and how many numbers are not to be taken as they stand."""

from collections import Counter

from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.environment import Environment
from windtunnel.report.document import Block, Callout, CalloutKind, Paragraph, Section
from windtunnel.report.measures import mark_name
from windtunnel.report.scope import Scope
from windtunnel.units import memory


def overview(scope: Scope) -> Section:
    """Return the sentences; what follows from the numbers stands in the findings below."""
    sentences = {
        say("Asked"): _asked(scope),
        say("Machine"): _machine(scope.environment),
        say("Cells"): _cells(scope),
        say("Marks"): _marks(scope),
    }
    blocks: list[Block] = [Paragraph(lead=lead, text=text) for lead, text in sentences.items() if text]
    if scope.failed:
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=_failed(scope)))
    return Section(heading=say("Overview"), blocks=tuple(blocks))


def _asked(scope: Scope) -> str:
    last = scope.runs[-1] if scope.runs else None
    name, description = (str(last.sweep.get(field, "")).strip() if last else "" for field in ("name", "description"))
    if not name:
        return description
    if len(scope.runs) > 1:
        said = say("Sweep {name}, the last of {runs:,} runs on this machine.", name=name, runs=len(scope.runs))
    else:
        said = say("Sweep {name}.", name=name)
    return passage([said, description])


def _machine(environment: Environment) -> str:
    device_memory = environment.device_memory_bytes
    device = environment.device_name
    parts = [say("{device} with {memory}", device=device, memory=memory(device_memory)) if device_memory else device]
    if environment.device != "cpu":
        parts += [say("driver {version}", version=environment.driver)] if environment.driver else []
        parts += [f"CUDA {environment.cuda}"] if environment.cuda else []
        parts.append(say("host {cpu}", cpu=environment.host_cpu))
    parts += [counted(environment.host_cores, "host core")] if environment.host_cores else []
    parts += [f"torch {environment.torch}", f"Python {environment.python}"]
    return say("{facts}.", facts=listed(parts))


def _cells(scope: Scope) -> str:
    if not scope.failed:
        return say("{cells}, all measured to their end.", cells=counted(len(scope.rows), "cell"))
    cells = counted(len(scope.rows), "cell")
    return say("{cells}, {measured:,} measured to their end.", cells=cells, measured=len(scope.measured))


def _failed(scope: Scope) -> str:
    counts = Counter(row.record.status.value for row in scope.failed)
    said = listed(say("{n:,} {status}", n=number, status=word(status)) for status, number in counts.items())
    return say(
        "{cells} failed: {counts}. Their configurations stand under Failures.",
        cells=counted(len(scope.failed), "cell"),
        counts=said,
    )


def _marks(scope: Scope) -> str:
    """Count the cells whose numbers are not to be taken as they stand; empty where none was measured."""
    marked = [marks for row in scope.measured if (marks := scope.marks[row])]
    if not scope.measured:
        return ""
    if not marked:
        return say("No measured cell has one.")
    counts = Counter(mark for marks in marked for mark in marks)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    said = listed(say("{n:,} {mark}", n=number, mark=mark_name(mark)) for mark, number in ordered)
    cells = counted(len(scope.measured), "measured cell")
    if len(marked) == 1:
        return say(
            "1 of {cells} has a mark: {counts}. What it means stands below the complete results.",
            cells=cells,
            counts=said,
        )
    return say(
        "{marked:,} of {cells} have a mark: {counts}. What it means stands below the complete results.",
        marked=len(marked),
        cells=cells,
        counts=said,
    )
