"""Measure a tiny model with the library: a sweep, its rows, and the report.

    python examples/measure_a_step.py --store windtunnel-example

Runs on a CPU in seconds. Run it twice: the second run finds everything in the store and measures nothing.
"""

# ruff: noqa: T201  # an example prints
import argparse
from pathlib import Path

import windtunnel


def main() -> None:
    """Measure, print one line for each cell, write the report."""
    parser = argparse.ArgumentParser(description="Measure a tiny model and print its times.")
    parser.add_argument("--store", type=Path, default=Path("windtunnel-example"), help="folder of the store")
    store: Path = parser.parse_args().store

    sweep = windtunnel.make_sweep(
        {
            "name": "example",
            "d_model": 64,
            "layers": 2,
            "heads": 4,
            "vocab": 1000,
            "context": [32, 64],
            "mode": ["forward", "train_step"],
            "warmup": 2,
            "steps": 5,
            "device": "cpu",
        }
    )
    run = windtunnel.measure_sweep(sweep, store=store)
    print(f"{run.measured} cells measured, {run.already_stored} were stored before")

    results = windtunnel.load_results(store)
    print(f"{'workload':<12}{'context':>8}{'n':>4}{'mean (ms)':>12}{'std (ms)':>12}{'median (ms)':>13}")
    for row in results:
        name, context, summary = row.cell.workload, row.cell.context_length, row.summary()
        if summary is None or summary.std is None:  # a failure is a row too
            print(f"{name:<12}{context:>8}  {row.record.status}")
            continue
        times = (summary.mean, summary.std, summary.median)
        mean, std, median = (1e3 * seconds for seconds in times)
        print(f"{name:<12}{context:>8}{summary.n:>4}{mean:>12.3f}{std:>12.3f}{median:>13.3f}")

    for path in windtunnel.write_report(results, store / "report"):
        print(f"report: {path}")


if __name__ == "__main__":
    main()
