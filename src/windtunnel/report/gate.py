"""A gate as a document: the answer, every cell, what moved inside, what was not compared, and how it was judged."""

from collections import Counter
from collections.abc import Iterator

from windtunnel.analysis.gate import CellVerdict, Gate, KernelChange, PhaseChange, has_failed
from windtunnel.analysis.results import Row
from windtunnel.analysis.selection import names_of
from windtunnel.language import counted
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Document, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.statistics.paired import Verdict
from windtunnel.units import NOT_KNOWN, Scale, change, duration, percent, time_scale

_BETWEEN = " · "
_CLAIMS = (Verdict.SLOWER, Verdict.FASTER)


def gate_document(gate: Gate) -> Document:
    """Return the whole document; its first paragraph answers the question."""
    names = _names(gate)
    sections = [
        Section(heading="Verdict", blocks=tuple(_answer(gate, names))),
        *_section("Cells", _cells(gate, names)),
        *_section("What moved", _moved(gate, names)),
        *_section("Measured again in pairs", _confirmed(gate, names)),
        *_section("Failures", _failures(gate)),
        *_section("Not compared", _unmatched(gate)),
        Section(heading="How this was judged", blocks=tuple(_method(gate))),
    ]
    return Document(title="Gate: NEW against BASE", sections=tuple(sections))


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
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]) or "none measured twice"
    worst = [cell for cell in gate.cells if cell.verdict is Verdict.SLOWER]
    kind = CalloutKind.FAILURE if worst or gate.broken else CalloutKind.NOTE
    failed = f"; {counted(len(gate.broken), 'cell')} failed in NEW only" if gate.broken else ""
    yield Callout(kind=kind, text=f"{counted(len(gate.cells), 'cell')}: {said}{failed}.")
    for cell in sorted(worst, key=lambda one: -(one.whole.difference.value or 0.0))[:5]:
        yield Paragraph(lead=names[cell.base], text=f"{_sentence(cell)} {_blame(cell)}")
    reasons = Counter(_reason(cell) for cell in gate.cells if cell.verdict is Verdict.INCONCLUSIVE)
    if reasons := {reason: number for reason, number in reasons.items() if reason}:
        listed = "; ".join(f"{counted(number, 'cell')}: {reason}" for reason, number in reasons.items())
        yield Paragraph(lead="Inconclusive", text=f"{listed}.")
    yield Paragraph(lead="BASE", text=f"{gate.base.text}: {names_of(gate.base.rows)}.")
    yield Paragraph(lead="NEW", text=f"{gate.new.text}: {names_of(gate.new.rows)}.")
    if gate.software:
        differing = ", ".join(map(str, gate.software))
        yield Paragraph(lead="What differs", text=f"{differing}. The verdict is on all of that together.")


def _reason(cell: CellVerdict) -> str:
    paired = cell.confirmed.whole if cell.confirmed else None
    return paired.reason if paired else cell.whole.difference.reason


def _sentence(cell: CellVerdict) -> str:
    paired = cell.confirmed.whole if cell.confirmed else None
    if paired:
        return f"{paired.sentence('BASE', 'NEW', ' in the whole step')}, in pairs."
    found = cell.whole.difference
    if found.value is None:
        return "not known: too few samples."
    more = "more" if found.value > 0 else "less"
    return (
        f"NEW takes {percent(abs(found.value))} {more} time [{_ends(cell.whole)}]: "
        f"{duration(cell.whole.base_seconds)} became {duration(cell.whole.new_seconds)}."
    )


def _blame(cell: CellVerdict) -> str:
    """Say which phases moved, or that none did by more than the margin."""
    if cell.moved:
        listed = ", ".join(
            f"{one.phase} {change(one.difference.value)} ({_signed(one.change_seconds)})" for one in cell.moved
        )
        return f"It lies in: {listed}."
    if not cell.phases:
        return "Its phases were not timed in both."
    largest = max(cell.phases, key=lambda one: abs(one.change_seconds))
    size = f"{_signed(largest.change_seconds)} in {largest.phase}"
    return f"No phase by itself changed beyond the margin; the largest change is {size}."


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
        caption="Whole steps",
        columns=(Column(name="cell"), *_number_columns(time), Column(name="verdict"), Column(name="measured")),
        rows=tuple(
            (
                Cell(text=names[cell.base]),
                *_numbers(cell.whole, time),
                Cell(text=cell.verdict.value, is_failure=cell.verdict is Verdict.SLOWER),
                Cell(text=_how(cell)),
            )
            for cell in gate.cells
        ),
        note="The interval holds the change with 95 % confidence, as far as the samples of these runs can tell.",
    )


def _how(cell: CellVerdict) -> str:
    if cell.confirmed and cell.confirmed.whole:
        return "in pairs"
    return "several processes" if cell.whole.difference.is_by_process else "apart, one process"


def _number_columns(time: Scale) -> tuple[Column, ...]:
    return (
        number_column("BASE", time.unit),
        number_column("NEW", time.unit),
        number_column("change", description="+2 % is 2 % more time for NEW."),
        number_column("interval"),
        number_column("claimed beyond", description="Faster below the first, slower above the second."),
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
            caption="Phases of cells that changed, or may have",
            columns=(Column(name="cell"), Column(name="phase"), *_number_columns(time), Column(name="verdict")),
            rows=tuple(
                (
                    Cell(text=name),
                    Cell(text=one.phase),
                    *_numbers(one, time),
                    Cell(text=one.difference.verdict.value, is_failure=one.difference.verdict is Verdict.SLOWER),
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
        caption="Kernels whose time changed most",
        columns=(
            Column(name="cell"),
            Column(name="phase"),
            Column(name="kernel"),
            number_column("BASE", time.unit),
            number_column("NEW", time.unit),
            number_column("launches"),
        ),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=one.phase),
                Cell(text=one.name),
                Cell(text=time.text(one.base_seconds)),
                Cell(text=time.text(one.new_seconds)),
                Cell(text=f"{one.base_launches} → {one.new_launches}", sort=one.new_launches),
            )
            for name, one in kernels
        ),
        note="One step of each side, slowed by being watched: no interval, no test.",
    )


def _confirmed(gate: Gate, names: dict[Row, str]) -> Iterator[Block]:
    for cell in gate.cells:
        if cell.confirmed is None:
            continue
        if has_failed(cell):
            failure = cell.confirmed.record.failure
            text = failure.message if failure else cell.confirmed.record.status.value
            yield Callout(kind=CalloutKind.FAILURE, text=f"{names[cell.base]}: no pairs: {text}")
        elif cell.confirmed.whole:
            text = f"{cell.confirmed.whole.sentence('BASE', 'NEW', ' in the whole step')}."
            yield Paragraph(lead=names[cell.base], text=f"{text[0].upper()}{text[1:]}")


def _failures(gate: Gate) -> Iterator[Block]:
    for _, row in gate.broken:
        yield Callout(kind=CalloutKind.FAILURE, text=f"Failed in NEW only: {_failure(row)}")
    for row, _ in gate.mended:
        yield Callout(kind=CalloutKind.NOTE, text=f"Failed in BASE only: {_failure(row)}")
    for _, row in gate.failing:
        yield Callout(kind=CalloutKind.WARNING, text=f"Failed in both: {_failure(row)}")


def _failure(row: Row) -> str:
    failure = row.record.failure
    said = f" in {failure.stage}: {failure.message}" if failure else ""
    return f"{row.record.task.cell_label()}: {row.record.status.value}{said}"


def _unmatched(gate: Gate) -> Iterator[Block]:
    if gate.unmatched:
        yield Table(
            caption="Cells of one side only",
            columns=(Column(name="cell"), Column(name="in"), Column(name="the nearest of the other side differs in")),
            rows=tuple(
                (
                    Cell(text=one.row.record.task.cell_label()),
                    Cell(text="BASE" if one.is_of_base else "NEW"),
                    Cell(text=", ".join(map(str, one.differs_in)) or NOT_KNOWN),
                )
                for one in gate.unmatched
            ),
        )


def _equivalent(gate: Gate) -> str:
    margins = sorted({cell.whole.difference.margin for cell in gate.cells})
    return f"Equivalent means within ± {' or '.join(percent(margin, 0) for margin in margins)}." if margins else ""


def _method(gate: Gate) -> Iterator[Block]:
    apart = [cell for cell in gate.cells if not cell.whole.difference.is_by_process]
    yield Paragraph(
        text="BASE and NEW were measured one after the other, so whatever the machine did in between is in the "
        "difference. A cell is slower or faster only if its whole interval lies beyond what is claimed, which is "
        "counted from what all cells did together, and survives Benjamini and Hochberg's correction over all cells. "
        f"{_equivalent(gate)}"
    )
    if apart:
        yield Callout(
            kind=CalloutKind.WARNING,
            text=f"{counted(len(apart), 'cell')} measured in fewer than 3 processes on a side: what processes differ "
            "by was not measured there, and the scatter of the whole grid stands in for it. Measure with "
            "--processes 5, or settle what is suspicious with --confirm, in pairs.",
        )
    suspicious = [cell for cell in gate.cells if cell.whole.difference.is_suspicious and cell.confirmed is None]
    if suspicious:
        yield Paragraph(
            lead="Worth measuring in pairs",
            text=f"{counted(len(suspicious), 'cell')}: add --confirm --base-project DIR --new-project DIR.",
        )
