"""Which cells run out of memory, predicted against measured: the grids that `windtunnel fit` searched, by doubling.

Run with `python benchmarks/frontier_sets.py STORE [STORE ...]`. A line of a search says how far its cells fit, and how
far they were predicted to. From that follows each cell of its grid, whose lengths double until both fail.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel import units
from windtunnel.analysis.frontier import FrontierLine, frontier_lines
from windtunnel.analysis.results import load_results
from windtunnel.language import counted


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How far one line fits; 0 where not even the smallest does, None where no end was found or predicted."""

    label: str
    budget_bytes: int
    smallest: int
    found: int | None
    predicted: int | None

    def values(self) -> Iterator[int]:
        """Yield the values of the grid: doubled, until both say that it fails."""
        assert self.found is not None
        assert self.predicted is not None
        value = self.smallest
        while True:
            yield value
            if value > max(self.found, self.predicted):
                return
            value *= 2


def main(stores: Sequence[Path]) -> int:
    """Print both sets for each limit, and return 1 where they differ."""
    wrong = 0
    for store in stores:
        results = load_results(store)
        rows = tuple(row for row in results if row.plan.purpose == "fit")
        lines = [_ends(line) for line in frontier_lines(rows, results.runs)]
        known = [one for one in lines if one.found is not None and one.predicted is not None]
        print(f"\n{store}: {counted(len(known), 'line')}, {len(lines) - len(known)} without an end or a prediction")
        for budget in sorted({one.budget_bytes for one in known}, reverse=True):
            wrong += _print_sets(budget, [one for one in known if one.budget_bytes == budget])
    print("\nequal" if not wrong else f"\nDIFFERENT in {counted(wrong, 'cell')}")
    return min(wrong, 1)


def _ends(line: FrontierLine) -> Ends:
    course = line.course
    is_over = course is not None and course.is_settled and not course.is_exhausted and course.broken is None
    found = None if not is_over else _number(line.value(line.largest) if line.largest else 0)
    predicted = _number(course.predicted or 0) if course and course.has_prediction else None
    first = line.line.cell(0)
    return Ends(
        label=" · ".join((first.model.name, first.workload, first.precision, first.attention_name)),
        budget_bytes=line.line.plan.memory_limit_bytes or (course.budget_bytes if course else 0),
        smallest=_number(line.line.value(0)),
        found=found,
        predicted=predicted,
    )


def _number(value: int | str) -> int:
    if not isinstance(value, int):
        sys.exit(f"{value!r} is no number: this is for searches along context, seq or batch")
    return value


def _print_sets(budget: int, lines: Sequence[Ends]) -> int:
    """Print the cells of each line by where they end, and return how many the prediction has on the wrong side."""
    print(f"  within {units.memory(budget)}")
    wrong = cells = out = 0
    for one in lines:
        assert one.found is not None
        assert one.predicted is not None
        values = list(one.values())
        missed = [value for value in values if (value <= one.found) != (value <= one.predicted)]
        first_out = next(value for value in values if value > one.found)
        cells, out, wrong = cells + len(values), out + sum(value > one.found for value in values), wrong + len(missed)
        error = units.change(one.predicted / one.found - 1) if one.found else units.NOT_KNOWN
        said = f"  predicted otherwise: {', '.join(map(str, missed))}" if missed else ""
        print(
            f"    {one.label:60} fits to {one.found:>8,}, predicted {one.predicted:>8,} ({error}); of the grid "
            f"{first_out:,} and longer run out{said}"
        )
    print(f"    {counted(cells, 'cell')}, {out:,} out of memory, {wrong:,} predicted otherwise")
    return wrong


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
