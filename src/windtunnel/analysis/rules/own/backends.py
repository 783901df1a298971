"""Attention alone: which backend is fastest where, where one overtakes another, and how far each gets."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from windtunnel.analysis.attention import SHORT_SECONDS, Variant, frontiers, is_wrong, race, variant_of
from windtunnel.analysis.comparisons import grid_point, ratio_span
from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.measured import Measured, evidence_of, seconds_of
from windtunnel.analysis.results import Row
from windtunnel.language import counted, say


def judge_backends(measured: Measured) -> Iterator[Finding]:
    """Yield the winners of each workload, the lengths at which they change, and where memory ends for each."""
    if not measured.is_attention:
        return
    for workload in reversed(measured.workloads):
        rows = [row for row in measured.warm if row.cell.workload == workload and not is_wrong(row)]
        yield from _fastest(workload, rows)
        yield from _crossovers(measured, rows)
    yield from _reach(measured)


def _fastest(workload: str, rows: Sequence[Row]) -> Iterator[Finding]:
    found = race(rows)
    if found is None:
        return
    wins = tuple(
        say("{name} {points}", name=variant.name, points=counted(number, "point"))
        for variant, number in found.wins.items()
    )
    yield Finding(
        kind="fastest",
        claim="fastest_at_points" if wins else "nothing_told_apart",
        subject=workload,
        numbers={
            "workload": workload,
            "count": found.num_points,
            "wins": wins,
            "close": found.close,
            "short": found.short,
            "limit_seconds": SHORT_SECONDS,
        },
        evidence=evidence_of(*rows),
        strength=Strength.MEASURED,
    )


def _crossovers(measured: Measured, rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield the lengths between which one backend overtakes another, only where both orders are certain."""
    series: dict[object, dict[Variant, dict[int, Row]]] = {}
    for row in rows:
        if seconds_of(row) >= SHORT_SECONDS:
            point = grid_point(row, without=("attention", "compile", "context_length"))
            series.setdefault(point, {}).setdefault(variant_of(row), {})[row.cell.context_length] = row
    for variants in series.values():
        for (first, of_first), (second, of_second) in combinations(variants.items(), 2):
            lengths = sorted(of_first.keys() & of_second.keys())
            certain = [(n, order) for n in lengths if (order := _order(of_first[n], of_second[n]))]
            for (before, was), (after, now) in pairwise(certain):
                if was != now:
                    winner, loser = (second, first) if now > 0 else (first, second)
                    members = [of[n] for n in (before, after) for of in (of_first, of_second)]
                    yield _crossover(measured, winner, loser, (before, after), members)


def _order(a: Row, b: Row) -> int:
    """Return 1 where `b` is certainly faster than `a`, -1 where it is slower, 0 where the intervals overlap."""
    span = ratio_span(a.estimate(), b.estimate())
    return 0 if span is None else (span[0] > 1) - (span[1] < 1)


def _crossover(
    measured: Measured, winner: Variant, loser: Variant, lengths: tuple[int, int], members: list[Row]
) -> Finding:
    return Finding(
        kind="crossover",
        claim="overtakes",
        subject=f"{winner.name}, {loser.name}, {measured.name(members[0])}, {lengths[0]}",
        numbers={
            "winner": winner.name,
            "loser": loser.name,
            "before": lengths[0],
            "after": lengths[1],
            "name": measured.name(members[-1]),
        },
        evidence=evidence_of(*members),
        strength=Strength.MEASURED,
    )


def _reach(measured: Measured) -> Iterator[Finding]:
    """Yield for each backend how far it ran and where it ran out, over all its series."""
    if len({row.cell.context_length for row in measured.rows}) < 2:
        return
    ends: dict[Variant, list[tuple[Row | None, Row | None]]] = {}
    for one in frontiers(measured.rows):
        ends.setdefault(variant_of(one.rows[0]), []).append((one.longest, one.out))
    for variant, found in ends.items():
        longest, out = ([pair[place] for pair in found if pair[place]] for place in (0, 1))
        ran = sorted(row.cell.context_length for row in longest if row)
        failed = sorted(row.cell.context_length for row in out if row)
        if not ran:
            continue
        numbers: dict[str, Number] = {"name": variant.name, "low": ran[0], "high": ran[-1]}
        if failed:
            numbers |= {"out_low": failed[0], "out_high": failed[-1]}
        yield Finding(
            kind="reach",
            claim="runs_out_at" if failed else "all_lengths_fit",
            subject=variant.name,
            numbers=numbers,
            evidence=evidence_of(*(row for row in (*longest, *out) if row)),
            strength=Strength.MEASURED,
        )
