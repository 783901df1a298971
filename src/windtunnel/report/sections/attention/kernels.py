"""Which kernels ran for each backend, and whether they are what was asked for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from windtunnel.analysis.kernel_kinds import classify
from windtunnel.analysis.kernels import verdict_of
from windtunnel.analysis.results import Row
from windtunnel.language import counted
from windtunnel.records.record import Kernel
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import number_column
from windtunnel.report.scope import BACKEND, COMPILE, PRECISION, Axis, Scope
from windtunnel.units import percent

_OF = (BACKEND, COMPILE, PRECISION)
"""What chooses kernels, besides the shape."""

_SHOWN_LENGTH = 72
"""Names of templates go on for a page; so much of one tells which kernel it is."""

_NAMED_CELLS = 3


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
    left_out = f" Nobody looked into {counted(without, 'measured cell')}." if without else ""
    said = (
        "Seen in one more call, after the samples, with the profiler on: its times are in no other table. Kinds are "
        f"read from names. Main is the kernel with the most time in its phase, and its share of that.{left_out}"
    )
    blocks: list[Block] = [Paragraph(text=said), *_disagreements(scope, rows), _table(scope, rows)]
    return Section(heading="Kernels that ran", blocks=tuple(blocks))


def _disagreements(scope: Scope, rows: Iterable[Row]) -> list[Callout]:
    """Return a warning for each way in which something else ran, with the cells in which it did."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        verdict = verdict_of(row)
        if verdict and not verdict.is_as_asked:
            labels.setdefault(verdict.sentence, []).append(scope.label(row))
    return [
        Callout(kind=CalloutKind.WARNING, text=f"{sentence[0].upper()}{sentence[1:]}. {_which(cells)}.")
        for sentence, cells in labels.items()
    ]


def _which(cells: Sequence[str]) -> str:
    named = "; ".join(cells[:_NAMED_CELLS])
    return named if len(cells) <= _NAMED_CELLS else f"{named}; and {len(cells) - _NAMED_CELLS:,} more"


def _table(scope: Scope, rows: Iterable[Row]) -> Table:
    axes = [axis for axis in _OF if axis in scope.axes or axis is BACKEND]
    groups: dict[tuple[object, ...], list[tuple[Row, _Seen]]] = {}
    for row in rows:
        for phase in dict.fromkeys(kernel.phase for kernel in row.record.kernels):
            seen = _seen(row, phase)
            of = tuple(axis.get(row) for axis in axes)
            groups.setdefault((*of, phase, seen.kinds), []).append((row, seen))
    return Table(
        caption="Kernels by backend and phase",
        columns=(
            *(Column(name=axis.name, kind=axis.kind, description=axis.description) for axis in axes),
            Column(name="phase"),
            number_column("cells", description="In how many cells it was so."),
            Column(name="kinds", description="Of all kernels of the phase, by their names."),
            number_column("launches", description="Of all kernels of the phase, in one call."),
            number_column("main", "%", "Time of the main kernel over that of the phase."),
            Column(name="main kernel", description="The one with the most time in most of the cells."),
        ),
        rows=tuple(_entries(scope, members, axes) for members in groups.values()),
    )


def _entries(scope: Scope, members: Sequence[tuple[Row, _Seen]], axes: Sequence[Axis]) -> tuple[Cell, ...]:
    row, seen = members[0]
    (main, _), *others = Counter(one.main.name for _, one in members).most_common()
    launches, shares = ([getattr(one, field) for _, one in members] for field in ("launches", "share"))
    return (
        *(Cell(text=scope.value(axis, row)) for axis in axes),
        Cell(text=seen.main.phase),
        Cell(text=f"{len(members):,}"),
        Cell(text=seen.kinds),
        _range([f"{count:,}" for count in (min(launches), max(launches))], sort=max(launches)),
        _range([percent(share, 0).removesuffix(" %") for share in (min(shares), max(shares))], sort=max(shares)),
        Cell(text=f"{_short(main)}, elsewhere {counted(len(others), 'other')}" if others else _short(main)),
    )


def _range(ends: Sequence[str], *, sort: float) -> Cell:
    return Cell(text=" to ".join(dict.fromkeys(ends)), sort=sort)


def _seen(row: Row, phase: str) -> _Seen:
    found = [kernel for kernel in row.record.kernels if kernel.phase == phase]
    main = max(found, key=lambda kernel: kernel.nanoseconds)
    whole = sum(kernel.nanoseconds for kernel in found)
    return _Seen(
        kinds=", ".join(sorted({classify(kernel.name) for kernel in found})),
        main=main,
        launches=sum(kernel.launches for kernel in found),
        share=main.nanoseconds / whole if whole else 0.0,
    )


def _short(name: str) -> str:
    plain = name.removeprefix("void ")
    return plain if len(plain) <= _SHOWN_LENGTH else f"{plain[:_SHOWN_LENGTH]}…"
