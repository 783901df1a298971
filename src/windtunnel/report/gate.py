"""A gate as a document: the answer, every cell, what moved inside, what was not compared, and how it was judged."""

from collections import Counter
from collections.abc import Iterator

from windtunnel.analysis.gate import CellVerdict, Gate, KernelChange, PhaseChange, has_failed
from windtunnel.analysis.results import Row
from windtunnel.analysis.selection import names_of
from windtunnel.language import alternatives, apart, counted, listed, passage, say, word
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Document, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.sections.failures import stage_name
from windtunnel.statistics.paired import Verdict
from windtunnel.units import NOT_KNOWN, Scale, change, duration, percent, time_scale

_BETWEEN = " · "
_CLAIMS = (Verdict.SLOWER, Verdict.FASTER)


def gate_document(gate: Gate) -> Document:
    """Return the whole document; its first paragraph answers the question."""
    names = _names(gate)
    sections = [
        Section(heading=say("Verdict"), blocks=tuple(_answer(gate, names))),
        *_section(say("Cells"), _cells(gate, names)),
        *_section(say("What moved"), _moved(gate, names)),
        *_section(say("Measured again in pairs"), _confirmed(gate, names)),
        *_section(say("Failures"), _failures(gate)),
        *_section(say("Not compared"), _unmatched(gate)),
        Section(heading=say("How this was judged"), blocks=tuple(_method(gate))),
    ]
    return Document(title=say("Gate: NEW against BASE"), sections=tuple(sections))


def _section(heading: str, blocks: Iterator[Block]) -> Iterator[Section]:
    if found := tuple(blocks):
        yield Section(heading=heading, blocks=found)


def _names(gate: Gate) -> dict[Row, str]:
    """Return what tells each compared cell apart, of the parts of its label; the whole label of a single one."""
    labels = {cell.base: cell.base.record.task.cell_label() for cell in gate.cells}
    parts = [label.split(_BETWEEN) for label in labels.values()]
    same = {part for part in parts[0] if all(part in other for other in parts)} if len(parts) > 1 else set[str]()
    return {
        row: _BETWEEN.join(part for part in label.split(_BETWEEN) if part not in same) or label
        for row, label in labels.items()
    }


def _answer(gate: Gate, names: dict[Row, str]) -> Iterator[Block]:
    counts = Counter(cell.verdict for cell in gate.cells)
    said = listed(
        say("{number} {verdict}", number=counts[verdict], verdict=word(verdict.value))
        for verdict in Verdict
        if counts[verdict]
    )
    worst = [cell for cell in gate.cells if cell.verdict is Verdict.SLOWER]
    cells = say("{what}: {text}", what=counted(len(gate.cells), "cell"), text=said or say("none measured twice"))
    failed = [say("{cells} failed in NEW only", cells=counted(len(gate.broken), "cell"))] if gate.broken else []
    lost = [say("{cells} of BASE missing from NEW", cells=counted(len(gate.missing), "cell"))] if gate.missing else []
    kind = CalloutKind.FAILURE if worst or failed else CalloutKind.WARNING if lost else CalloutKind.NOTE
    yield Callout(kind=kind, text=say("{message}.", message=apart([cells, *failed, *lost])))
    for cell in sorted(worst, key=lambda one: -(one.whole.difference.value or 0.0))[:5]:
        yield Paragraph(lead=names[cell.base], text=passage((_sentence(cell), _blame(cell))))
    reasons = Counter(_reason(cell) for cell in gate.cells if cell.verdict is Verdict.INCONCLUSIVE)
    if reasons := {reason: number for reason, number in reasons.items() if reason}:
        said = apart(
            say("{what}: {text}", what=counted(number, "cell"), text=reason) for reason, number in reasons.items()
        )
        yield Paragraph(lead=say("Inconclusive"), text=say("{message}.", message=said))
    yield Paragraph(lead="BASE", text=say("{what}: {text}.", what=gate.base.text, text=names_of(gate.base.rows)))
    yield Paragraph(lead="NEW", text=say("{what}: {text}.", what=gate.new.text, text=names_of(gate.new.rows)))
    if gate.software:
        differing = listed(map(str, gate.software))
        yield Paragraph(
            lead=say("What differs"),
            text=say("{fields}. The verdict is on all of that together.", fields=differing),
        )


def _reason(cell: CellVerdict) -> str:
    paired = cell.confirmed.whole if cell.confirmed else None
    return paired.reason if paired else cell.whole.difference.reason


def _sentence(cell: CellVerdict) -> str:
    paired = cell.confirmed.whole if cell.confirmed else None
    if paired:
        return say("{claim}, in pairs.", claim=paired.sentence("BASE", "NEW", say(" in the whole step")))
    found = cell.whole.difference
    if found.value is None:
        return say("not known: too few samples.")
    fields = {
        "share": percent(abs(found.value)),
        "ends": _ends(cell.whole),
        "base": duration(cell.whole.base_seconds),
        "new": duration(cell.whole.new_seconds),
    }
    if found.value > 0:
        return say("NEW takes {share} more time [{ends}]: {base} became {new}.", **fields)
    return say("NEW takes {share} less time [{ends}]: {base} became {new}.", **fields)


def _blame(cell: CellVerdict) -> str:
    """Say which phases moved, or that none did by more than the margin."""
    if cell.moved:
        phases = listed(
            say(
                "{phase} {change} ({seconds})",
                phase=word(one.phase),
                change=change(one.difference.value),
                seconds=_signed(one.change_seconds),
            )
            for one in cell.moved
        )
        return say("It lies in: {phases}.", phases=phases)
    if not cell.phases:
        return say("Its phases were not timed in both.")
    largest = max(cell.phases, key=lambda one: abs(one.change_seconds))
    return say(
        "No phase by itself changed beyond the margin; the largest change is {seconds} in {phase}.",
        seconds=_signed(largest.change_seconds),
        phase=word(largest.phase),
    )


def _signed(seconds: float) -> str:
    return f"{'+' if seconds >= 0 else '−'}{duration(abs(seconds))}"


def _ends(one: PhaseChange) -> str:
    low, high = one.difference.low, one.difference.high
    return NOT_KNOWN if low is None else f"{change(low)}, {change(high)}"


def _cells(gate: Gate, names: dict[Row, str]) -> Iterator[Block]:
    if not gate.cells:
        return
    wholes = [cell.whole for cell in gate.cells]
    time = time_scale(seconds for one in wholes for seconds in (one.base_seconds, one.new_seconds))
    yield Table(
        caption=say("Whole steps"),
        columns=(
            Column(name=say("cell")),
            *_number_columns(time),
            Column(name=say("verdict")),
            Column(name=say("measured")),
        ),
        rows=tuple(
            (
                Cell(text=names[cell.base]),
                *_numbers(cell.whole, time),
                Cell(text=word(cell.verdict.value), is_failure=cell.verdict is Verdict.SLOWER),
                Cell(text=_how(cell)),
            )
            for cell in gate.cells
        ),
        note=say("The interval holds the change with 95 % confidence, as far as the samples of these runs can tell."),
    )


def _how(cell: CellVerdict) -> str:
    if cell.confirmed and cell.confirmed.whole:
        return say("in pairs")
    return say("several processes") if cell.whole.difference.is_by_process else say("apart, one process")


def _number_columns(time: Scale) -> tuple[Column, ...]:
    return (
        number_column("BASE", time.unit),
        number_column("NEW", time.unit),
        number_column(say("change"), description=say("+2 % is 2 % more time for NEW.")),
        number_column(say("interval")),
        number_column(say("claimed beyond"), description=say("Faster below the first, slower above the second.")),
    )


def _numbers(one: PhaseChange, time: Scale) -> tuple[Cell, ...]:
    found = one.difference
    return (
        Cell(text=time.text(one.base_seconds)),
        Cell(text=time.text(one.new_seconds)),
        Cell(text=change(found.value), sort=found.value),
        Cell(text=_ends(one), sort=found.low),
        Cell(text=f"{change(found.faster_from, 0)}, {change(found.slower_from, 0)}", sort=found.slower_from),
    )


def _moved(gate: Gate, names: dict[Row, str]) -> Iterator[Block]:
    changed = [cell for cell in gate.cells if cell.verdict in _CLAIMS or cell.whole.difference.is_suspicious]
    entries = [(names[cell.base], one) for cell in changed for one in cell.phases]
    if entries:
        time = time_scale(seconds for _, one in entries for seconds in (one.base_seconds, one.new_seconds))
        yield Table(
            caption=say("Phases of cells that changed, or may have"),
            columns=(
                Column(name=say("cell")),
                Column(name=say("phase")),
                *_number_columns(time),
                Column(name=say("verdict")),
            ),
            rows=tuple(
                (
                    Cell(text=name),
                    Cell(text=word(one.phase)),
                    *_numbers(one, time),
                    Cell(text=word(one.difference.verdict.value), is_failure=one.difference.verdict is Verdict.SLOWER),
                )
                for name, one in entries
            ),
        )
    kernels = [(names[cell.base], kernel) for cell in changed for kernel in cell.kernels]
    if kernels:
        yield _kernel_table(kernels)


def _kernel_table(kernels: list[tuple[str, KernelChange]]) -> Table:
    time = time_scale(seconds for _, one in kernels for seconds in (one.base_seconds, one.new_seconds) if seconds)
    return Table(
        caption=say("Kernels whose time changed most"),
        columns=(
            Column(name=say("cell")),
            Column(name=say("phase")),
            Column(name=say("kernel")),
            number_column("BASE", time.unit),
            number_column("NEW", time.unit),
            number_column(say("launches")),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=word(one.phase)),
                Cell(text=one.name),
                Cell(text=time.text(one.base_seconds)),
                Cell(text=time.text(one.new_seconds)),
                Cell(text=f"{one.base_launches} → {one.new_launches}", sort=one.new_launches),
            )
            for name, one in kernels
        ),
        note=say("One step of each side, slowed by being watched: no interval, no test."),
    )


def _confirmed(gate: Gate, names: dict[Row, str]) -> Iterator[Block]:
    for cell in gate.cells:
        if cell.confirmed is None:
            continue
        if has_failed(cell):
            failure = cell.confirmed.record.failure
            reason = failure.message if failure else word(cell.confirmed.record.status.value)
            text = say("{cell}: no pairs: {reason}", cell=names[cell.base], reason=reason)
            yield Callout(kind=CalloutKind.FAILURE, text=text)
        elif cell.confirmed.whole:
            claim = cell.confirmed.whole.sentence("BASE", "NEW", say(" in the whole step"))
            text = say("{message}.", message=claim)
            yield Paragraph(lead=names[cell.base], text=f"{text[0].upper()}{text[1:]}")


def _failures(gate: Gate) -> Iterator[Block]:
    for _, row in gate.broken:
        yield Callout(kind=CalloutKind.FAILURE, text=say("Failed in NEW only: {failure}", failure=_failure(row)))
    for row, _ in gate.mended:
        yield Callout(kind=CalloutKind.NOTE, text=say("Failed in BASE only: {failure}", failure=_failure(row)))
    for _, row in gate.failing:
        yield Callout(kind=CalloutKind.WARNING, text=say("Failed in both: {failure}", failure=_failure(row)))


def _failure(row: Row) -> str:
    failure = row.record.failure
    cell, status = row.record.task.cell_label(), word(row.record.status.value)
    if failure is None:
        return say("{what}: {text}", what=cell, text=status)
    return say(
        "{cell}: {status} in {where}: {message}",
        cell=cell,
        status=status,
        where=stage_name(failure.stage),
        message=failure.message,
    )


def _unmatched(gate: Gate) -> Iterator[Block]:
    if gate.unmatched:
        yield Table(
            caption=say("Cells of one side only"),
            columns=(
                Column(name=say("cell")),
                Column(name=say("in")),
                Column(name=say("the nearest of the other side differs in")),
            ),
            rows=tuple(
                (
                    Cell(text=one.row.record.task.cell_label()),
                    Cell(text="BASE" if one.is_of_base else "NEW"),
                    Cell(text=listed(map(str, one.differs_in)) or NOT_KNOWN),
                )
                for one in gate.unmatched
            ),
        )


def _equivalent(gate: Gate) -> str:
    margins = sorted({cell.whole.difference.margin for cell in gate.cells})
    if not margins:
        return ""
    return say("Equivalent means within ± {margins}.", margins=alternatives(percent(margin, 0) for margin in margins))


def _method(gate: Gate) -> Iterator[Block]:
    alone = [cell for cell in gate.cells if not cell.whole.difference.is_by_process]
    yield Paragraph(
        text=passage(
            (
                say(
                    "BASE and NEW were measured one after the other, so whatever the machine did in between is in the "
                    "difference. A cell is slower or faster only if its whole interval lies beyond what is claimed, "
                    "which is counted from what all cells did together, and survives Benjamini and Hochberg's "
                    "correction over all cells."
                ),
                _equivalent(gate),
            )
        )
    )
    if alone:
        yield Callout(
            kind=CalloutKind.WARNING,
            text=say(
                "{cells} measured in fewer than 3 processes on a side: what processes differ by was not measured "
                "there, and the scatter of the whole grid stands in for it. Measure with --processes 5, or settle what "
                "is suspicious with --confirm, in pairs.",
                cells=counted(len(alone), "cell"),
            ),
        )
    suspicious = [cell for cell in gate.cells if cell.whole.difference.is_suspicious and cell.confirmed is None]
    if suspicious:
        yield Paragraph(
            lead=say("Worth measuring in pairs"),
            text=say(
                "{cells}: add --confirm --base-project DIR --new-project DIR.", cells=counted(len(suspicious), "cell")
            ),
        )
