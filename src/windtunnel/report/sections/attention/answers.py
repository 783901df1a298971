"""The sentences about attention alone that an overview begins with; each number is one of a row."""

from collections.abc import Sequence

from windtunnel.analysis.attention import (
    SHORT_SECONDS,
    Race,
    Variant,
    frontiers,
    points_of,
    race,
    speed_up,
    variant_of,
    worst_errors,
)
from windtunnel.analysis.kernels import verdict_of
from windtunnel.analysis.results import Row
from windtunnel.report.measures import samples_text
from windtunnel.report.scope import BACKEND, COMPILE, WORKLOAD, Axis, Scope
from windtunnel.report.sections.attention.rates import fraction_of, is_calibrated
from windtunnel.units import counted, duration, known_to, percent, rate, ratio, scientific


def answers_of(scope: Scope) -> dict[str, str]:
    """Return the sentences by what they answer; an empty one has nothing to say."""
    workloads = dict.fromkeys(row.cell.workload for row in scope.measured)
    rows_of = {name: [row for row in scope.measured if row.cell.workload == name] for name in workloads}
    races = {f"Fastest in {scope.value(WORKLOAD, rows[0])}": _fastest(scope, rows) for rows in rows_of.values()}
    return {
        **races,
        "Speed-up": " ".join(filter(None, (_speed_ups(scope, rows) for rows in rows_of.values()))),
        "Highest rate": _highest_rate(scope),
        "Longest sequence": _longest(scope),
        "Largest error": _largest_error(scope),
        "Kernels": _kernels(scope),
    }


def _fastest(scope: Scope, rows: Sequence[Row]) -> str:
    found = race(rows)
    if found is None:
        return _only(scope, rows)
    if found.num_points == 1 and found.wins:
        best = min((row for row in rows if row.estimate()), key=_median)
        return f"{variant_of(best).name}, with {_time(best)}."
    wins = [f"{variant.name} at {number:,}" for variant, number in found.wins.items()]
    return f"By median, at {counted(found.num_points, 'point')} with several backends: {_listed(wins, found)}."


def _listed(wins: list[str], found: Race) -> str:
    parts = wins[:]
    if found.close:
        parts.append(f"{found.close:,} with no backend told apart from the next")
    if found.short:
        parts.append(f"{found.short:,} not ranked, as the fastest two are below {duration(SHORT_SECONDS)}")
    return "; ".join(parts)


def _only(scope: Scope, rows: Sequence[Row]) -> str:
    """Name the ends of what one backend measured, as there is nothing to rank."""
    timed = sorted((row for row in rows if row.estimate()), key=_median)
    if not timed:
        return ""
    if len(timed) == 1:
        return f"Nothing to rank: {_label(scope, timed[0])} takes {_time(timed[0])}."
    (first, last), names = (timed[0], timed[-1]), {variant_of(row).name for row in timed}
    only = f"only {names.pop()}" if len(names) == 1 else "one backend at each point"
    return (
        f"Nothing to rank, {only}: from {_time(first)}, {_label(scope, first)}, to {_time(last)}, "
        f"{_label(scope, last)}."
    )


def _label(scope: Scope, row: Row) -> str:
    """Return the label of a row without its workload, which the sentence has said."""
    without = {WORKLOAD} | ({COMPILE} if row.cell.compile == "off" else set[Axis]())
    return scope.label(row, without=without) or variant_of(row).name


def _time(row: Row) -> str:
    estimate = row.estimate()
    assert estimate is not None
    what = "a mean of process medians" if len(row.processes) > 1 else "a median"
    clock = row.clock(row.record.total).value
    known = known_to(estimate.value, estimate.relative_half_width)
    return f"{what} of {known} (n = {samples_text(row)}, {clock} clock)"


def _median(row: Row) -> float:
    estimate = row.estimate()
    return estimate.value if estimate else float("inf")


def _speed_ups(scope: Scope, rows: Sequence[Row]) -> str:
    """Give the range of each variant's speed-up over the first of the store; unpaired."""
    reference = variant_of(scope.rows[0])
    ratios: dict[Variant, list[float]] = {}
    for point in points_of(rows):
        if reference not in point.rows:
            continue
        for variant, row in point.rows.items():
            found = speed_up(point.rows[reference], row) if variant != reference else None
            if found and found.ratio:
                ratios.setdefault(variant, []).append(found.ratio)
    if not ratios:
        return ""
    said = ", ".join(f"{variant.name} {_range(values)}" for variant, values in ratios.items())
    name = scope.value(WORKLOAD, rows[0])
    return f"Of {name} over {reference.name}, medians not paired: {said}."


def _range(values: Sequence[float]) -> str:
    low, high = ratio(min(values)), ratio(max(values))
    return low if low == high else f"{low} to {high}"


def _highest_rate(scope: Scope) -> str:
    rates = {row: speed for row in scope.measured if (speed := row.flops_per_second())}
    if not rates:
        return ""
    best = max(rates, key=lambda row: rates[row])
    of_ceiling = is_calibrated(scope)
    share = fraction_of(best, of_ceiling=of_ceiling)
    whole = "that this machine reached in calibration" if of_ceiling else "of the datasheet"
    of = f", {percent(share)} of the rate {whole} for its precision" if share else ""
    return f"{rate(rates[best])}{of}: {scope.label(best)}."


def _longest(scope: Scope) -> str:
    """Say of each variant how far it got, over all its series; empty where one length was asked for."""
    if len({row.cell.context_length for row in scope.rows}) < 2:
        return ""
    found = frontiers(scope.rows)
    if not any(one.out for one in found):
        return f"All fit, up to {max(row.cell.context_length for row in scope.rows)}." if not scope.failed else ""
    series: dict[Variant, list[tuple[int | None, int | None]]] = {}
    for one in found:
        lengths = tuple(row.cell.context_length if row else None for row in (one.longest, one.out))
        series.setdefault(variant_of(one.rows[0]), []).append((lengths[0], lengths[1]))
    return "; ".join(f"{variant.name} {_reach(ends)}" for variant, ends in series.items()) + "."


def _reach(ends: Sequence[tuple[int | None, int | None]]) -> str:
    longest = sorted({length for length, _ in ends if length is not None})
    out = sorted({length for _, length in ends if length is not None})
    ran = f"ran {_lengths(longest)}" if longest else "ran nowhere"
    return f"{ran}, ran out of memory at {_lengths(out)}" if out else f"{ran}, all fit"


def _lengths(ordered: Sequence[int]) -> str:
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]} by shape"


def _largest_error(scope: Scope) -> str:
    """Give the largest error against float64 of each precision; empty where nothing was compared."""
    rows_of: dict[str, list[Row]] = {}
    for row in scope.rows:
        if row.record.errors:
            rows_of.setdefault(row.cell.precision, []).append(row)
    said: list[str] = []
    for precision, rows in rows_of.items():
        error, row = max(worst_errors(rows).values(), key=lambda pair: _size(pair[0].relative_error))
        name = " ".join(filter(None, (scope.value(BACKEND, row), _compiled(scope, row))))
        said.append(f"{precision} {scientific(error.relative_error)} in {error.tensor} ({name})")
    return f"Against float64: {', '.join(said)}." if said else ""


def _kernels(scope: Scope) -> str:
    """Say whether what ran is what was asked for; empty where nobody looked."""
    verdicts = [verdict for row in scope.rows if (verdict := verdict_of(row))]
    other = [verdict for verdict in verdicts if not verdict.is_as_asked]
    if not verdicts:
        return ""
    if not other:
        return f"As asked for in all of {counted(len(verdicts), 'cell')} that somebody looked into."
    said = "; ".join(dict.fromkeys(verdict.sentence for verdict in other))
    return f"Not what was asked for in {len(other):,} of {counted(len(verdicts), 'cell')}: {said}."


def _compiled(scope: Scope, row: Row) -> str:
    return "" if row.cell.compile == "off" else scope.phrase(COMPILE, row)


def _size(value: float) -> float:
    return value if value == value else float("inf")
