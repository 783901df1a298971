"""How near predictions come: each cell of a store beside what was predicted of it, memory and time with signed errors.

Run with `python benchmarks/predictions.py STORE [STORE ...]`, of one CUDA machine; prints tables and the worst cases.
Times are predicted from the latest calibration of the machine in each store, or from its datasheet where there is none.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel import units
from windtunnel.analysis.predictions import Beside, Compared, predictions_of
from windtunnel.analysis.results import load_results

MEMORY_GOAL = 0.05
TIME_GOAL = 0.25
ALL_CELLS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity of one cell."""

    label: str
    pair: Compared
    error: float
    note: str = ""


def main(stores: Sequence[Path]) -> None:
    """Print the tables."""
    beside = [one for store in stores for one in _of_store(store)]
    known = [one for one in beside if not one.unknown]
    print(
        f"{len(known)} cells; {len(beside) - len(known)} without a closed form; those of a CPU and failures but for "
        "memory are left out"
    )
    _print("Peak memory", _lines(known, lambda one: one.peak, lambda one: ""), units.memory, MEMORY_GOAL)
    for title, is_bound, goal in (
        ("Time of a step that the GPU bounds", True, TIME_GOAL),
        ("Time of a step that the host bounds, in part or whole", False, None),
    ):
        these = [one for one in known if one.is_device_bound is is_bound]
        _print(title, _lines(these, lambda one: one.step, _bound), units.duration, goal)
    _print_fits(known)


def _of_store(store: Path) -> Sequence[Beside]:
    rows = [row for row in load_results(store) if row.cell.device != "cpu" and row.plan.purpose != "fit"]
    found = predictions_of(rows, most_cells=ALL_CELLS)
    print(f"{store}: rates from the {found.source}" if found.source else f"{store}: no cell, or rates not known")
    return found.beside


def _bound(one: Beside) -> str:
    return one.bound.value if one.bound else ""


def _lines(
    beside: Sequence[Beside], pair_of: Callable[[Beside], Compared], note_of: Callable[[Beside], str]
) -> Sequence[Line]:
    found: list[Line] = []
    for one in beside:
        pair = pair_of(one)
        if pair.error is not None:
            found.append(Line(label=one.row.record.task.cell_label(), pair=pair, error=pair.error, note=note_of(one)))
    return found


def _print(title: str, lines: Sequence[Line], text: Callable[[float | None], str], goal: float | None) -> None:
    print(f"\n{title}")
    for line in lines:
        print(
            f"  {line.label:90} measured {text(line.pair.measured):>10}  predicted {text(line.pair.predicted):>10}  "
            f"{units.change(line.error):>8}  {line.note}"
        )
    if not lines:
        print("  no cell")
        return
    worst = max(lines, key=lambda line: abs(line.error))
    print(f"  worst: {units.change(worst.error)}, {worst.label}")
    if goal is not None:
        inside = sum(abs(line.error) <= goal for line in lines)
        print(
            f"  within {units.percent(goal, 0)}: {inside} of {len(lines)}: {'ok' if inside == len(lines) else 'MISSED'}"
        )


def _print_fits(beside: Sequence[Beside]) -> None:
    """Print each cell of which it was predicted wrongly whether it fits."""
    wrong = [one for one in beside if one.fit is not None and one.fit.value != ("yes" if one.row.is_ok else "no")]
    ended = sum(not one.row.is_ok for one in beside)
    print(f"\nOut of memory: {ended} of {len(beside)} cells; predicted otherwise, or too near to tell: {len(wrong)}")
    for one in wrong:
        print(f"  {one.row.record.task.cell_label():90} {one.row.record.status.value}, predicted to fit: {one.fit}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([Path(name) for name in sys.argv[1:]])
