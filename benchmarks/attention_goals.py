"""What `flash-triton` was aimed at, and what it reached.

    python benchmarks/attention_goals.py STORES [--out FILE]

STORES is the folder in which benchmarks/attention.sh leaves its stores. Every ratio is of two medians of one run, on
the device's clock; a goal whose cells were not measured is "not measured", never met. Ends with 1 unless all are met.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from windtunnel.analysis.attention import memory_use, points_of
from windtunnel.analysis.results import Results, Row, load_results

OURS = "flash-triton"

LEAST_RATIOS = {
    ("flex", 64): 1.0,
    ("flex", 128): 1.0,
    ("sdpa-flash", 64): 1.25,
    ("sdpa-flash", 128): 1.25,
    ("sdpa-cudnn", 64): 0.84,
    ("sdpa-cudnn", 128): 0.78,
}
"""The peer's time over ours, forward + backward, by the width of a head."""

MOST_MS = 5.2
"""16 heads of width 64 on 16,384 tokens, causal, forward + backward; published on an H100: 5.364."""

MOST_OVER_LEAST = 1.05
"""Peak memory over inputs, outputs, gradients and log-sum-exp."""

LONG = 4096
"""From this length on, every float32 cell of report 004 is to be faster than eager and compiled attention."""

MOST_GROWTH = 1.1
"""Linear memory: bytes a token at the longest context over those of the context before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One line of the table; `is_met` is None where it was not measured."""

    what: str
    goal: str
    reached: str
    is_met: bool | None

    def line(self) -> str:
        """Return its row."""
        verdict = {True: "met", False: "**missed**", None: "not measured"}[self.is_met]
        return f"| {self.what} | {self.goal} | {self.reached} | {verdict} |"


def at_least(what: str, goal: float, value: float | None) -> Goal:
    """Return the goal that a ratio has reached."""
    reached = "–" if value is None else f"{value:.3f}x"
    return Goal(what=what, goal=f"≥ {goal:g}x", reached=reached, is_met=None if value is None else value >= goal)


def at_most(what: str, goal: float, value: float | None, text: Callable[[float], str]) -> Goal:
    """Return the goal that a value has stayed under."""
    reached = "–" if value is None else text(value)
    return Goal(what=what, goal=f"≤ {text(goal)}", reached=reached, is_met=None if value is None else value <= goal)


def median(row: Row | None) -> float | None:
    """Return the seconds of the whole step of a row that was measured to its end."""
    estimate = row.estimate() if row is not None and row.is_ok else None
    return estimate.value if estimate else None


def ratio(peer: Row | None, ours: Row | None) -> float | None:
    """Return how many times as long the peer takes."""
    above, below = median(peer), median(ours)
    return above / below if above and below else None


def by_backend(results: Results) -> Iterator[tuple[str, Mapping[str, Row]]]:
    """Yield the name of each point, and its rows by backend."""
    for point in points_of(row for row in results if row.cell.compile == "off"):
        row = point.first
        cell, shape = row.cell, row.cell.model
        name = f"batch {cell.batch_size}, {shape.name}, seq {cell.context_length}, {cell.precision}"
        yield name, {variant.backend: row for variant, row in point.rows.items()}


def of_workloads(results: Results) -> Iterator[Goal]:
    """Judge the large workloads."""
    for name, rows in by_backend(results):
        ours = rows.get(OURS)
        d_head = next(iter(rows.values())).cell.model.d_head
        for (peer, width), least in LEAST_RATIOS.items():
            if width == d_head:
                yield at_least(f"{peer} over {OURS}: {name}", least, ratio(rows.get(peer), ours))
        if name.startswith("batch 1, h16 d64 causal, seq 16384"):
            milliseconds = 1e3 * seconds if (seconds := median(ours)) else None
            yield at_most(f"time of {OURS}: {name}", MOST_MS, milliseconds, lambda ms: f"{ms:.3f} ms")


def of_report_004(results: Results) -> Iterator[Goal]:
    """Judge the long float32 cells of report 004."""
    for name, rows in by_backend(results):
        cell = next(iter(rows.values())).cell
        if cell.precision != "fp32" or cell.context_length < LONG:
            continue
        for peer in ("eager", "compiled"):
            yield at_least(f"{peer} over {OURS}: {name}", 1.0, ratio(rows.get(peer), rows.get(OURS)))


def of_lengths(results: Results) -> Iterator[Goal]:
    """Judge the length that eager attention cannot reach."""
    for name, rows in by_backend(results):
        if next(iter(rows.values())).cell.context_length < 65536:
            continue
        reached = "; ".join(f"{backend}: {row.record.status.value}" for backend, row in rows.items())
        ours, eager = rows.get(OURS), rows.get("eager")
        is_met = ours.is_ok and not eager.is_ok if ours and eager else None
        yield Goal(what=name, goal=f"{OURS} runs, eager cannot", reached=reached, is_met=is_met)


def of_memory(results: Results) -> Iterator[Goal]:
    """Judge the peak memory of our cells that take gradients."""
    for name, rows in by_backend(results):
        ours = rows.get(OURS)
        if ours is not None and "backward" in ours.phases:
            use = memory_use(ours) if ours.is_ok else None
            over = use.over_least if use else None
            yield at_most(f"peak over the least memory: {name}", MOST_OVER_LEAST, over, lambda value: f"{value:.3f}x")


def of_contexts(results: Results) -> Iterator[Goal]:
    """Judge how the memory of a whole step grows from one context to the next with our kernels."""
    rows = sorted(
        (row for row in results if row.cell.attention == OURS and row.record.memory),
        key=lambda row: row.cell.context_length,
    )
    grown = [
        (row.cell.context_length, row.record.memory.peak_bytes - row.record.memory.built_bytes)
        for row in rows
        if row.is_ok
    ]
    for (context, before), (longer, after) in pairwise(grown):
        growth = after / before / (longer / context)
        yield at_most(
            f"activations a token of a training step, context {longer} over {context}",
            MOST_GROWTH,
            growth,
            lambda value: f"{value:.3f}x",
        )


PARTS: Mapping[str, tuple[Callable[[Results], Iterator[Goal]], ...]] = {
    "attention-h200": (of_workloads, of_memory),
    "seed-004": (of_report_004, of_memory),
    "attention-long": (of_lengths, of_memory),
    "context": (of_contexts,),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines, verdicts = [], []
    for name, judges in PARTS.items():
        if not (args.stores / name / "store.sqlite").is_file():
            lines.append(f"\n## {name}\n\nNot measured.")
            verdicts.append(None)
            continue
        results = load_results(args.stores / name)
        goals = [goal for judge in judges for goal in judge(results)]
        if not lines and len(results):
            where = results.rows[-1].environment
            lines.append(f"# Goals\n\n{where.device_name}, torch {where.torch}, triton {where.triton}.")
        table = ["| what | goal | reached | verdict |", "|---|---|---|---|", *(goal.line() for goal in goals)]
        lines.append(f"\n## {name}\n\n" + "\n".join(table))
        verdicts += [goal.is_met for goal in goals]
    met = sum(verdict is True for verdict in verdicts)
    lines.append(f"\n{met} of {len(verdicts)} goals met.")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    sys.exit(0 if met == len(verdicts) else 1)


if __name__ == "__main__":
    main()
