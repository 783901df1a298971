"""How far intervals and stopping rules can be trusted: coverage on noise with a known centre, ours and others'.

Run with `python benchmarks/intervals.py` (two minutes of one core); prints the Markdown tables of docs/method.md.
Not called statistics.py: a script's folder comes first on the path, so that name would hide Python's own module.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import scipy
from noise import MODELS, SPREAD, STATE_GAP, Noise, Series, step
from numpy.typing import NDArray
from scipy.special import stdtrit

from windtunnel.statistics.interval import median_intervals
from windtunnel.statistics.series import irregularities_of_each, level_intervals
from windtunnel.statistics.stopping import StoppingRule, precision_of
from windtunnel.statistics.summary import summarize

SEED = 2026
TRIALS = 2000
STOPPING_TRIALS = 2000
RESAMPLES = 500
NUM_BATCHES = 8
LONGEST = 1000
STEP_SECONDS = 0.01
BOUND = 0.005
"""What 95 % of the errors must stay within when the rules are compared by the seconds that they take."""
START_SEEDS = range(5)
STOPPING_NOISE = [noise for name, noise in MODELS.items() if name != "ramp"]  # its centre moves with its length
LEVELS = (1 - STATE_GAP / 2, 1 + STATE_GAP / 2)  # of the two clock states
CONFIDENCE = 0.95

Floats = NDArray[np.float64]
Intervals = tuple[Floats, Floats]  # the low and the high ends, [trials]; NaN where the method gives none


def main() -> None:
    """Print all tables."""
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, Python {platform.python_version()}, seed {SEED}.")
    for n in (30, 100):
        _print_coverage(n)
    _print_stopping()
    _print_seconds()
    _print_labels()
    _print_starts()
    _print_speed()


def mean_t(series: Series) -> Intervals:
    """Return mean ± t · s / √n, right for independent normal samples."""
    half = _t(series.shape[1]) * series.std(axis=1, ddof=1) / np.sqrt(series.shape[1])
    return series.mean(axis=1) - half, series.mean(axis=1) + half


def bootstrap_median(series: Series) -> Intervals:
    """Return the percentile interval of medians of samples drawn with replacement."""
    draw = np.random.default_rng(SEED)
    n, tail = series.shape[1], (1 - CONFIDENCE) / 2
    ends = [
        np.quantile(np.median(one[draw.integers(0, n, (RESAMPLES, n))], axis=1), (tail, 1 - tail)) for one in series
    ]
    low, high = np.array(ends).T
    return low, high


def batch_means(series: Series) -> Intervals:
    """Return the t interval over the means of consecutive batches."""
    return mean_t(np.stack([batch.mean(axis=1) for batch in np.array_split(series, NUM_BATCHES, axis=1)], axis=1))


def ours(series: Series) -> Intervals:
    """Return the interval that windtunnel prints."""
    made = median_intervals(series, confidence=CONFIDENCE)
    ends = [(np.nan, np.nan) if one.low is None or one.high is None else (one.low, one.high) for one in made]
    low, high = np.array(ends).T
    return low, high


METHODS: dict[str, tuple[Callable[[Series], Intervals], str]] = {
    "mean ± t·s/√n": (mean_t, "mean"),
    "median, bootstrap": (bootstrap_median, "median"),
    f"batch means, {NUM_BATCHES} batches": (batch_means, "mean"),
    "**windtunnel**": (ours, "median"),
}


def _print_coverage(n: int) -> None:
    print(
        f"\nCoverage in % / median half-width in % of the centre, n = {n}, {TRIALS:,} series. In brackets: % of series"
    )
    print("without an interval, as their samples depend too much on each other; coverage is of the others.\n")
    _print_head("method", list(MODELS.values()))
    for title, (method, centre) in METHODS.items():
        cells = []
        for noise in MODELS.values():
            low, high = method(_series(noise, TRIALS, n))
            given, truth = ~np.isnan(low), getattr(noise, centre)
            covered = ((low <= truth) & (truth <= high))[given].mean()
            cell = f"{100 * covered:.0f} / {50 * np.median((high - low)[given]) / truth:.2f}"
            cells.append(cell if given.mean() > 0.999 else f"{cell} ({100 * (1 - given.mean()):.1f})")
        print(f"| {title} | {' | '.join(cells)} |")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ends:
    """Where a rule ended each series: the samples used, the error of the answer, and whether its interval covers."""

    used: NDArray[np.intp]
    errors: Floats
    covered: NDArray[np.bool_] | None = None


def mean_after(noise: Noise, used: NDArray[np.intp]) -> Ends:
    """Answer with the mean of the samples used and mean ± t · s / √n."""
    series = _stopping_series(noise)
    values = np.array([one[:n].mean() for one, n in zip(series, used, strict=True)])
    deviations = np.array([one[:n].std(ddof=1) for one, n in zip(series, used, strict=True)])
    off = np.abs(values - noise.mean)
    return Ends(used=used, errors=off / noise.mean, covered=off <= _t(used) * deviations / np.sqrt(used))


def median_after(noise: Noise, used: NDArray[np.intp]) -> Ends:
    """Answer with the median of the samples used, as torch.utils.benchmark does; it prints no interval."""
    series = _stopping_series(noise)
    values = np.array([np.median(one[:n]) for one, n in zip(series, used, strict=True)])
    return Ends(used=used, errors=np.abs(values / noise.median - 1))


def ours_after(noise: Noise, used: NDArray[np.intp], *, with_levels: bool = True) -> Ends:
    """Answer with the median, or with both levels where the series is labelled with two states that there are."""
    taken = [one[:n] for one, n in zip(_stopping_series(noise), used, strict=True)]
    errors, covered = [], []
    has_levels = with_levels and noise is MODELS["two_states"]
    for one, found, median in zip(taken, irregularities_of_each(taken), median_intervals(taken), strict=True):
        levels = level_intervals(one, found) if has_levels else None
        answers = zip(levels, LEVELS, strict=True) if levels else [(median, noise.median)]
        judged = [(abs(made.value / truth - 1), _covers(made.low, made.high, truth)) for made, truth in answers]
        errors.append(max(error for error, _ in judged))
        covered.append(all(is_covered for _, is_covered in judged))
    return Ends(used=used, errors=np.array(errors), covered=np.array(covered))


def fixed(n: int, noise: Noise) -> NDArray[np.intp]:
    """Stop after `n` samples."""
    return np.full(len(_stopping_series(noise)), n)


def quartiles(threshold: float, noise: Noise) -> NDArray[np.intp]:
    """Stop when the quartiles are closer than `threshold` medians, as torch's adaptive_autorange.

    From the fourth sample on; its minimum run time of 0.01 s is over by then.
    """
    return _first(_quartile_distances(noise) < threshold, 4)


def run_time(seconds: float, noise: Noise) -> NDArray[np.intp]:
    """Stop when the samples have taken so long together, as torch's blocked_autorange with one step in a block."""
    return _first(np.cumsum(_stopping_series(noise), axis=1) * STEP_SECONDS >= seconds, 1)


def relative_deviation(most: float, noise: Noise, *, seconds: float = 0.0) -> NDArray[np.intp]:
    """Stop when the relative standard deviation is below `most`, or has settled to 5 %, as nvbench's stdrel criterion.

    Settled: its last 512 values lie within 5 % of the latest, looked at after every 16th sample. `seconds` is the
    minimum run time.
    """
    series = _stopping_series(noise)
    count = np.arange(1, LONGEST + 1)
    sums, squares = np.cumsum(series - 1, axis=1), np.cumsum((series - 1) ** 2, axis=1)
    variance = np.maximum(squares - sums**2 / count, 0) / np.maximum(count - 1, 1)
    deviation = np.sqrt(variance) / (1 + sums / count)
    is_end = deviation < most
    for n in range(80, LONGEST + 1, 16):
        last = deviation[:, max(4, n - 512) : n]
        is_end[:, n - 1] |= np.sqrt(np.mean((last - last[:, -1:]) ** 2, axis=1)) / last[:, -1] < 0.05
    is_end &= np.cumsum(series, axis=1) * STEP_SECONDS >= seconds
    return _first(is_end, 5)


def to_target(target: float, noise: Noise, *, look: Callable[[Noise], Floats], in_a_row: int = 1) -> NDArray[np.intp]:
    """Stop as windtunnel does, on what `look` returns for each of the looks, so many of them in a row."""
    rule, used = StoppingRule(target=target, max_samples=LONGEST), []
    for precisions in look(noise):
        reached = 0
        for n, precision in zip(LOOKS, precisions.tolist(), strict=True):
            stop = rule.check(n, 0.0, lambda precision=precision: None if np.isnan(precision) else precision)
            reached = reached + 1 if stop else 0
            if reached == in_a_row or n == LONGEST:
                used.append(n)
                break
    return np.array(used)


LOOKS = [n for n in range(1, LONGEST) if StoppingRule(target=1).is_look(n)] + [LONGEST]


@cache
def precisions(noise: Noise) -> Floats:
    """Return what windtunnel looks at, [series, looks]; NaN where it is not known yet."""
    return np.array([[precision_of(one[:n]) for n in LOOKS] for one in _stopping_series(noise)], dtype=np.float64)


@cache
def median_precisions(noise: Noise) -> Floats:
    """Return the relative half-widths of the median alone, [series, looks]; NaN where there is no interval."""
    made = [median_intervals(_stopping_series(noise)[:, :n]) for n in LOOKS]
    return np.array([[one.relative_half_width for one in look] for look in made], dtype=np.float64).T


_Rule = Callable[[Noise], NDArray[np.intp]]
_Answer = Callable[[Noise, NDArray[np.intp]], Ends]

RULES: dict[str, tuple[_Rule, _Answer]] = {
    "fixed, n = 10": (lambda noise: fixed(10, noise), mean_after),
    "fixed, n = 100": (lambda noise: fixed(100, noise), mean_after),
    "IQR / median < .1 (torch)": (lambda noise: quartiles(0.1, noise), mean_after),
    "stdrel .5 % (nvbench)": (lambda noise: relative_deviation(0.005, noise), mean_after),
    "**windtunnel, 1 %**": (lambda noise: to_target(0.01, noise, look=precisions), ours_after),
    "**windtunnel, .5 %**": (lambda noise: to_target(0.005, noise, look=precisions), ours_after),
    "by the median alone, 1 %": (
        lambda noise: to_target(0.01, noise, look=median_precisions),
        partial(ours_after, with_levels=False),
    ),
    "two looks in a row, 1 %": (lambda noise: to_target(0.01, noise, look=precisions, in_a_row=2), ours_after),
}


def _print_stopping() -> None:
    print(
        f"\nMedian samples used / coverage in % / 95th percentile of the error in %, {STOPPING_TRIALS:,} series of at"
    )
    print(f"most {LONGEST:,} samples. The first four rules with mean ± t·s/√n, the others with our interval.")
    print("Two clock states are covered by ours when they are labelled and both levels lie in their intervals.\n")
    _print_head("rule", STOPPING_NOISE)
    for title, (rule, answer) in RULES.items():
        cells = []
        for noise in STOPPING_NOISE:
            ends = answer(noise, rule(noise))
            assert ends.covered is not None
            error = np.quantile(ends.errors, 0.95)
            cells.append(f"{np.median(ends.used):.0f} / {100 * ends.covered.mean():.0f} / {100 * error:.2f}")
        print(f"| {title} | {' | '.join(cells)} |")


_COUNTS = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200, 250, 300, 400, 500, 600, 800, 1000)
_PERCENTS = (2.0, 1.5, 1.0, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
_FIRST_BLOCK = 1  # a step that torch runs to choose the size of its blocks

# Title, what the setting is, the settings from the cheapest on, the rule, the answer, steps before the first sample.
RIVALS: tuple[
    tuple[str, Callable[[float], str], tuple[float, ...], Callable[..., NDArray[np.intp]], _Answer, int], ...
] = (
    ("fixed n = 100, mean", lambda n: f"n {n:.0f}", (100,), lambda n, noise: fixed(int(n), noise), mean_after, 0),
    ("best fixed n, mean", lambda n: f"n {n:.0f}", _COUNTS, lambda n, noise: fixed(int(n), noise), mean_after, 0),
    (
        "blocked_autorange (torch)",
        lambda seconds: f"{seconds:.1f} s",
        tuple(n * STEP_SECONDS for n in _COUNTS if n >= 20),
        run_time,
        median_after,
        _FIRST_BLOCK,
    ),
    (
        "adaptive_autorange (torch)",
        lambda threshold: f"{threshold:g}",
        (0.1, 0.05, 0.03, 0.02, 0.015, 0.012, 0.01, 0.008, 0.006, 0.004),
        quartiles,
        median_after,
        _FIRST_BLOCK,
    ),
    (
        "stdrel, at least .5 s (nvbench)",
        lambda most: f"{100 * most:g} %",
        (0.02, 0.01, 0.005, 0.002, 0.001),
        lambda most, noise: relative_deviation(most, noise, seconds=0.5),
        mean_after,
        0,
    ),
    (
        "**windtunnel**",
        lambda target: f"{100 * target:g} %",
        tuple(percent / 100 for percent in _PERCENTS),
        lambda target, noise: to_target(target, noise, look=precisions),
        ours_after,
        0,
    ),
)


def _print_seconds() -> None:
    step_milliseconds, percent = 1e3 * STEP_SECONDS, 100 * BOUND
    print(
        f"\nMean seconds, for steps of {step_milliseconds:.0f} ms, until 95 % of the errors are at most {percent:g} %:"
    )
    print("with the cheapest setting (in brackets) that reaches this on that noise, then with the cheapest one setting")
    print(f"that reaches it on several. – where none does with {LONGEST:,} samples. {STOPPING_TRIALS:,} series.\n")
    titles = [noise.title for noise in STOPPING_NOISE]
    print(
        f"| rule | {' | '.join(titles)} | one for the first three | one for all |\n|---{'|--:' * len(titles)}|--:|--:|"
    )
    for title, name, settings, rule, answer, before in RIVALS:
        seconds = np.full((len(settings), len(STOPPING_NOISE)), np.inf)
        for row, setting in enumerate(settings):
            for column, noise in enumerate(STOPPING_NOISE):
                ends = answer(noise, rule(setting, noise))
                if np.quantile(ends.errors, 0.95) <= BOUND:
                    seconds[row, column] = (ends.used.mean() + before) * STEP_SECONDS
        best = seconds.argmin(axis=0)
        cells = [
            f"{seconds[row, column]:.2f} ({name(settings[row])})" if np.isfinite(seconds[row, column]) else "–"
            for column, row in enumerate(best)
        ]
        for columns in (3, 4):
            one = int(seconds[:, :columns].sum(axis=1).argmin())
            each = " / ".join(f"{value:.2f}" for value in seconds[one, :columns])
            cells.append(f"{each} ({name(settings[one])})" if np.isfinite(seconds[one, :columns]).all() else "–")
        print(f"| {title} | {' | '.join(cells)} |")


def _print_labels() -> None:
    print(
        f"\nShare in % of {STOPPING_TRIALS:,} series with each label; a series may have `slow_start` and one other.\n"
    )
    labels = ("trend", "step", "two_states", "slow_start")
    print("| noise | n | clean | " + " | ".join(labels) + " |\n|---|--:|--:" + "|--:" * len(labels) + "|")
    kinds = (*MODELS.values(), Noise(title=f"step 3 % + iid {100 * SPREAD:.0f} %", draw=step))
    for noise in kinds:
        for n in (30, 100, 300):
            found = irregularities_of_each(_series(noise, STOPPING_TRIALS, n))
            shares = [np.mean([one.is_clean for one in found])]
            shares += [np.mean([getattr(one, label) is not None for one in found]) for label in labels]
            print(f"| {noise.title} | {n} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |")


def _print_starts() -> None:
    print("\nThe lowest F1 in % over slow starts of 0 to 10 samples, each 20 to 200 % slower, 500 series of each.\n")
    cases = [(MODELS[name], n) for name in ("iid", "ar1") for n in (31, 100, 300)]
    _print_cells("seed", [f"{noise.title}, n = {n}" for noise, n in cases])
    for seed in START_SEEDS:
        cells = [f"{100 * _lowest_f1(noise, n, np.random.default_rng(seed)):.1f}" for noise, n in cases]
        print(f"| {seed} | {' | '.join(cells)} |")


def _lowest_f1(noise: Noise, n: int, draw: np.random.Generator) -> float:
    truths, found = [], []
    for count in range(11):
        series = noise.draw(draw, 500, n)
        series[:, :count] *= draw.uniform(1.2, 3, (500, count))
        truths += [count] * len(series)
        found += [one.slow_start.count if one.slow_start else 0 for one in irregularities_of_each(series)]
    truth, said = np.array(truths), np.array(found)
    return min(2 * ((truth == c) & (said == c)).sum() / ((truth == c).sum() + (said == c).sum()) for c in range(11))


def _print_speed() -> None:
    print()
    for name in ("iid", "ramp", "two_states"):
        series = [tuple(one) for one in (1e9 * _series(MODELS[name], 10_000, 100)).astype(int).tolist()]
        spent = []
        for call in (irregularities_of_each, median_intervals, lambda every: [summarize(one) for one in every]):
            begin = time.process_time()
            call(series)
            spent.append(time.process_time() - begin)
        labels, intervals, summaries = spent
        print(
            f"10,000 series of 100 samples, {MODELS[name].title}: labels {labels:.2f} s, intervals {intervals:.2f} s,"
            f" summaries {summaries:.2f} s."
        )


def _print_head(first: str, kinds: list[Noise]) -> None:
    _print_cells(first, [noise.title for noise in kinds])


def _print_cells(first: str, titles: list[str]) -> None:
    print(f"| {first} | {' | '.join(titles)} |\n|---{'|--:' * len(titles)}|")


def _series(noise: Noise, trials: int, n: int) -> Series:
    return noise.draw(np.random.default_rng(SEED), trials, n)


@cache
def _stopping_series(noise: Noise) -> Series:
    return _series(noise, STOPPING_TRIALS, LONGEST)


@cache
def _quartile_distances(noise: Noise) -> Floats:
    """Return the distance of the quartiles over the median after each number of samples, [series, LONGEST]."""
    series = _stopping_series(noise)
    distances = np.full(series.shape, np.inf)
    for n in range(4, LONGEST + 1):
        ordered = np.sort(series[:, :n], axis=1)  # np.quantile would take ten times as long
        low, median, high = (_interpolated(ordered, fraction * (n - 1)) for fraction in (0.25, 0.5, 0.75))
        distances[:, n - 1] = (high - low) / median
    return distances


def _interpolated(ordered: Floats, position: float) -> Floats:
    below = int(position)
    above = min(below + 1, ordered.shape[1] - 1)
    return ordered[:, below] + (ordered[:, above] - ordered[:, below]) * (position - below)


def _first(is_end: NDArray[np.bool_], fewest: int) -> NDArray[np.intp]:
    """Return after how many samples each series ends, at least `fewest` and at most `LONGEST`."""
    is_end = is_end[:, fewest - 1 :]
    return np.where(is_end.any(axis=1), is_end.argmax(axis=1) + fewest, LONGEST)


def _covers(low: float | None, high: float | None, truth: float) -> bool:
    return low is not None and high is not None and low <= truth <= high


def _t(n: NDArray[np.intp] | int) -> NDArray[np.float64]:
    return stdtrit(np.asarray(n) - 1, (1 + CONFIDENCE) / 2)


if __name__ == "__main__":
    main()
