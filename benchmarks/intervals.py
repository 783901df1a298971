"""How far intervals and stopping rules can be trusted: coverage on noise with a known centre, ours and others'.

Run with `python benchmarks/intervals.py` (half a minute); prints the Markdown tables of docs/method.md. Not called
statistics.py: a script's folder comes first on the path, so that name would hide Python's own module.
"""

import platform
import time
from collections.abc import Callable

import numpy as np
import scipy
from noise import MODELS, SPREAD, Noise, Series, step
from numpy.typing import NDArray
from scipy.special import stdtrit

from windtunnel.statistics.interval import median_interval
from windtunnel.statistics.series import irregularities_of
from windtunnel.statistics.stopping import StoppingRule, StopReason

SEED = 2026
TRIALS = 2000
STOPPING_TRIALS = 2000
RESAMPLES = 500
NUM_BATCHES = 8
LONGEST = 1000
STOPPING_NOISE = [noise for name, noise in MODELS.items() if name != "ramp"]  # its centre moves with its length
CONFIDENCE = 0.95

Floats = NDArray[np.float64]
Intervals = tuple[Floats, Floats]  # the low and the high ends, [trials]; NaN where the method gives none


def main() -> None:
    """Print all tables."""
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, Python {platform.python_version()}, seed {SEED}.")
    for n in (30, 100):
        _print_coverage(n)
    _print_stopping()
    _print_labels()
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
    made = [median_interval(one, confidence=CONFIDENCE) for one in series]
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


def fixed(n: int) -> Callable[[Floats], int]:
    """Stop after `n` samples."""
    return lambda series: n


def quartiles(series: Floats) -> int:
    """Stop when the quartiles are closer than a tenth of the median, as torch.utils.benchmark.blocked_autorange.

    Looked at after every sample from the tenth on; the minimum run time of 0.2 s is left out.
    """
    for n in range(10, LONGEST):
        low, median, high = np.quantile(series[:n], (0.25, 0.5, 0.75))
        if (high - low) / median < 0.1:
            return n
    return LONGEST


def relative_deviation(series: Floats) -> int:
    """Stop when the relative standard deviation is below 0.5 %, or has settled to 5 %, as nvbench's stdrel criterion.

    Settled: its last 512 values lie within 5 % of the latest, looked at after every 16th sample; the minimum run
    time of 0.5 s is left out.
    """
    count = np.arange(1, len(series) + 1)
    sums, squares = np.cumsum(series - 1), np.cumsum((series - 1) ** 2)
    variance = np.maximum(squares - sums**2 / count, 0) / np.maximum(count - 1, 1)
    noise = np.sqrt(variance) / (1 + sums / count)
    for n in range(5, len(series) + 1):
        if noise[n - 1] < 0.005:
            return n
        last = noise[4:n][-512:]
        if len(last) > 64 and n % 16 == 0 and np.sqrt(np.mean((last - last[-1]) ** 2)) / last[-1] < 0.05:
            return n
    return LONGEST


def to_target(target: float) -> Callable[[Floats], int]:
    """Stop as windtunnel does."""
    rule = StoppingRule(target=target, max_samples=LONGEST)

    def stop(series: Floats) -> int:
        for n in range(1, LONGEST):
            end = rule.check(n, 0.0, lambda n=n: median_interval(series[:n]).relative_half_width)
            if end is not None:
                assert end.reason is StopReason.TARGET
                return n
        return LONGEST

    return stop


RULES: dict[str, tuple[Callable[[Floats], int], str]] = {
    "fixed, n = 10": (fixed(10), "mean ± t·s/√n"),
    "fixed, n = 100": (fixed(100), "mean ± t·s/√n"),
    "IQR / median < .1 (torch)": (quartiles, "mean ± t·s/√n"),
    "stdrel .5 % (nvbench)": (relative_deviation, "mean ± t·s/√n"),
    "**windtunnel, 1 %**": (to_target(0.01), "**windtunnel**"),
    "**windtunnel, .5 %**": (to_target(0.005), "**windtunnel**"),
}


def _print_stopping() -> None:
    print(
        f"\nMedian samples used / coverage in % / 95th percentile of the error in %, {STOPPING_TRIALS:,} series of at"
    )
    print(f"most {LONGEST:,} samples. The first four rules with mean ± t·s/√n, ours with our interval.\n")
    _print_head("rule", STOPPING_NOISE)
    for title, (rule, name) in RULES.items():
        cells = []
        method, centre = METHODS[name]
        for noise in STOPPING_NOISE:
            series = _series(noise, STOPPING_TRIALS, LONGEST)
            used = [rule(one) for one in series]
            ends = [method(one[None, :n]) for one, n in zip(series, used, strict=True)]
            low, high = (np.array([end[side][0] for end in ends]) for side in (0, 1))
            middle = np.mean if centre == "mean" else np.median
            values = np.array([middle(one[:n]) for one, n in zip(series, used, strict=True)])
            truth = getattr(noise, centre)
            covered = ((low <= truth) & (truth <= high)).mean()
            error = np.quantile(np.abs(values / truth - 1), 0.95)
            cells.append(f"{np.median(used):.0f} / {100 * covered:.0f} / {100 * error:.2f}")
        print(f"| {title} | {' | '.join(cells)} |")


def _print_labels() -> None:
    print(
        f"\nShare in % of {STOPPING_TRIALS:,} series with each label; a series may have `slow_first` and one other.\n"
    )
    labels = ("trend", "step", "two_states", "slow_first")
    print("| noise | n | clean | " + " | ".join(labels) + " |\n|---|--:|--:" + "|--:" * len(labels) + "|")
    kinds = (*MODELS.values(), Noise(title=f"step 3 % + iid {100 * SPREAD:.0f} %", draw=step))
    for noise in kinds:
        for n in (30, 100, 300):
            found = [irregularities_of(one) for one in _series(noise, STOPPING_TRIALS, n)]
            shares = [np.mean([one.is_clean for one in found])]
            shares += [np.mean([getattr(one, label) is not None for one in found]) for label in labels]
            print(f"| {noise.title} | {n} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |")


def _print_speed() -> None:
    series = _series(MODELS["iid"], 10_000, 100)
    print()
    for title, call in (("intervals", median_interval), ("labels", irregularities_of)):
        begin = time.perf_counter()
        for one in series:
            call(one)
        print(f"10,000 {title} of 100 samples: {time.perf_counter() - begin:.2f} s.")


def _print_head(first: str, kinds: list[Noise]) -> None:
    titles = [noise.title for noise in kinds]
    print(f"| {first} | {' | '.join(titles)} |\n|---{'|--:' * len(titles)}|")


def _series(noise: Noise, trials: int, n: int) -> Series:
    return noise.draw(np.random.default_rng(SEED), trials, n)


def _t(n: int) -> float:
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


if __name__ == "__main__":
    main()
