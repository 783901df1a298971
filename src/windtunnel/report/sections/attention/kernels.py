"""Which kernels ran for each backend, and whether they are what was asked for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from windtunnel.analysis.kernel_kinds import classify
from windtunnel.analysis.kernels import verdict_of
from windtunnel.analysis.results import Row
from windtunnel.language import apart, counted, listed, passage, say, word
from windtunnel.records.record import Kernel
from windtunnel.report.axes import BACKEND, COMPILE, PRECISION, Axis
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import Scope
from windtunnel.units import Scale

_OF = (BACKEND, COMPILE, PRECISION)
"""What chooses kernels, besides the shape."""

_SHOWN_LENGTH = 72
"""Names of templates go on for a page; so much of one tells which kernel it is."""

_NAMED_CELLS = 3
_SHARES = Scale(size=0.01, unit="%", decimals=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """The kernels of one phase of a row; `main` is the one with the most time."""

    kinds: str
    main: Kernel
    launches: int
    share: float


def kernels(scope: Scope) -> Section | None:
    """Return what ran by backend; None where nobody looked."""
    rows = [row for row in scope.rows if row.record.kernels]
    if not rows:
        return None
    without = len(scope.measured) - sum(row.is_ok for row in rows)
    said = say(
        "Seen in one more call, after the samples, with the profiler on: its times are in no other table. Kinds are "
        "read from names. Main is the kernel with the most time in its phase, and its share of that."
    )
    left_out = say("Nobody looked into {cells}.", cells=counted(without, "measured cell")) if without else ""
    blocks: list[Block] = [Paragraph(text=passage((said, left_out))), *_disagreements(scope, rows), _table(scope, rows)]
    return Section(heading=say("Kernels that ran"), blocks=tuple(blocks))


def _disagreements(scope: Scope, rows: Iterable[Row]) -> list[Callout]:
    """Return a warning for each way in which something else ran, with the cells in which it did."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        verdict = verdict_of(row)
        if verdict and not verdict.is_as_asked:
            labels.setdefault(verdict.sentence, []).append(scope.label(row))
    return [
        Callout(
            kind=CalloutKind.WARNING,
            text=say("{claim}. {cells}.", claim=f"{sentence[0].upper()}{sentence[1:]}", cells=_which(cells)),
        )
        for sentence, cells in labels.items()
    ]


def _which(cells: Sequence[str]) -> str:
    named = apart(cells[:_NAMED_CELLS])
    if len(cells) <= _NAMED_CELLS:
        return named
    return say("{cells}; and {number} more", cells=named, number=f"{len(cells) - _NAMED_CELLS:,}")


def _table(scope: Scope, rows: Iterable[Row]) -> Table:
    axes = [axis for axis in _OF if axis in scope.axes or axis is BACKEND]
    groups: dict[tuple[object, ...], list[tuple[Row, _Seen]]] = {}
    for row in rows:
        for phase in dict.fromkeys(kernel.phase for kernel in row.record.kernels):
            seen = _seen(row, phase)
            of = tuple(axis.get(row) for axis in axes)
            groups.setdefault((*of, phase, seen.kinds), []).append((row, seen))
    return Table(
        caption=say("Kernels by backend and phase"),
        columns=(
            *(Column(name=axis.name, kind=axis.kind, description=axis.description) for axis in axes),
            Column(name=say("phase")),
            number_column(say("cells"), description=say("In how many cells it was so.")),
            Column(name=say("kinds"), description=say("Of all kernels of the phase, by their names.")),
            number_column(say("launches"), description=say("Of all kernels of the phase, in one call.")),
            number_column(say("main"), "%", say("Time of the main kernel over that of the phase.")),
            Column(name=say("main kernel"), description=say("The one with the most time in most of the cells.")),
        ),
        rows=tuple(_entries(scope, members, axes) for members in groups.values()),
    )


def _entries(scope: Scope, members: Sequence[tuple[Row, _Seen]], axes: Sequence[Axis]) -> tuple[Cell, ...]:
    row, seen = members[0]
    (main, _), *others = Counter(one.main.name for _, one in members).most_common()
    launches, shares = ([getattr(one, field) for _, one in members] for field in ("launches", "share"))
    return (
        *(Cell(text=scope.value(axis, row)) for axis in axes),
        Cell(text=word(seen.main.phase)),
        Cell(text=f"{len(members):,}"),
        Cell(text=seen.kinds),
        _range([f"{count:,}" for count in (min(launches), max(launches))], sort=max(launches)),
        _range([_SHARES.text(share) for share in (min(shares), max(shares))], sort=max(shares)),
        Cell(
            text=say("{kernel}, elsewhere {others}", kernel=_short(main), others=counted(len(others), "other"))
            if others
            else _short(main)
        ),
    )


def _range(ends: Sequence[str], *, sort: float) -> Cell:
    low, high = ends
    return Cell(text=low if low == high else say("{low} to {high}", low=low, high=high), sort=sort)


def _seen(row: Row, phase: str) -> _Seen:
    found = [kernel for kernel in row.record.kernels if kernel.phase == phase]
    main = max(found, key=lambda kernel: kernel.nanoseconds)
    whole = sum(kernel.nanoseconds for kernel in found)
    return _Seen(
        kinds=listed(sorted({classify(kernel.name) for kernel in found})),
        main=main,
        launches=sum(kernel.launches for kernel in found),
        share=main.nanoseconds / whole if whole else 0.0,
    )


def _short(name: str) -> str:
    plain = name.removeprefix("void ")
    return plain if len(plain) <= _SHOWN_LENGTH else f"{plain[:_SHOWN_LENGTH]}…"
