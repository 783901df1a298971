"""`windtunnel fit` with real workers, on a CPU under a limit, and what it says to a wrong request."""

import re
import sys
from pathlib import Path

import pytest

from calling import CallCli
from windtunnel.analysis.results import load_results
from windtunnel.records.record import Status

SHAPE = ("--d-model", "64", "--layers", "1", "--heads", "4", "--vocab", "100", "--mode", "forward", "--device", "cpu")
SEARCH = ("--granularity", "256", "--most", "2048", "--memory-limit", "120MiB")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limit is Linux's")


@on_linux
def test_fit_finds_where_memory_ends_stores_every_probe_and_resumes(cli: CallCli, tmp_path: Path) -> None:
    """The scores of 4 heads and batch 4 alone are 16 T² · 4 bytes: 16 MiB at 512, 1 GiB at 4096."""
    arguments = ("fit", *SHAPE, *SEARCH, "--store", str(tmp_path / "s"))

    outcome = cli(*arguments)

    assert outcome.code == 0, outcome.out + outcome.err
    assert "Largest context that fits" in outcome.out
    rows = list(load_results(tmp_path / "s"))
    fitting = [row.cell.context_length for row in rows if row.record.status is Status.OK]
    failing = [row.cell.context_length for row in rows if row.record.status is Status.OUT_OF_MEMORY]
    assert fitting
    assert failing
    assert max(fitting) + 256 == min(failing)
    assert len(rows) <= 3 + 3
    assert all(row.record.is_first_in_process for row in rows)
    last = outcome.out.strip().splitlines()[-1]
    assert Path(last.removeprefix("report: ")).is_file()

    again = cli(*arguments)

    assert "0 probes" in again.out
    assert f"{max(fitting)} fits, {min(failing)} does not" in again.out
    assert len(list(load_results(tmp_path / "s"))) == len(rows)


@on_linux
def test_a_range_that_fits_at_all_points_and_one_that_fits_nowhere_are_said(cli: CallCli, tmp_path: Path) -> None:
    all_fit = cli("fit", *SHAPE, "--along", "batch", "--most", "2", "--memory-limit", "1GiB", "--store", str(tmp_path))
    none_fits = cli(
        *("fit", *SHAPE, "--along", "batch", "--most", "1", "--context", "4096", "--memory-limit", "64MiB"),
        *("--store", str(tmp_path)),
    )

    assert all_fit.code == none_fits.code == 0
    assert "2 fits, and no more was asked for" in " ".join(all_fit.out.split())
    assert "already the smallest that was tried, 1, does not fit" in " ".join(none_fits.out.split())


@on_linux
def test_what_cannot_run_at_all_ends_with_1_and_the_reason(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("fit", *SHAPE, *SEARCH, "--attention", "flash-triton", "--store", str(tmp_path))

    assert outcome.code == 1
    said = " ".join(outcome.out.split())
    assert "failed for another reason than memory" in said
    assert re.search(r"what fits is not known: \d+ unsupported in build: attention 'flash-triton' does not run", said)
    assert "none fits" not in said


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--size", "small", "--along", "contxt"), ("unknown axis to search along 'contxt'", "did you mean 'context'")),
        (("--size", "small", "--context", "128"), ("--context and --along context contradict", "--most")),
        (("--size", "small", "--along", "size", "--granularity", "2"), ("no effect along size",)),
        (("--size", "small", "--granularity", "64", "--most", "32"), ("leaves no value to try",)),
        (("--size", "small", "--warmup", "3"), ("--warmup",)),
        (("--size", "smal"), ("unknown size 'smal'",)),
        (("seed-004", "--size", "small"), ("seed-004 says which cells", "--size")),
        (("seed-04",), ("unknown preset 'seed-04'",)),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    outcome = cli("fit", *arguments, "--store", str(tmp_path))

    assert outcome.code == 2
    assert all(part in outcome.err for part in parts), outcome.err


@pytest.mark.parametrize(
    ("limit", "part"), [((), "give a limit, as --memory-limit"), (("--memory-limit", "much"), "'much' is not a memory")]
)
def test_a_cpu_needs_a_limit_that_is_one(cli: CallCli, tmp_path: Path, limit: tuple[str, ...], part: str) -> None:
    outcome = cli("fit", *SHAPE, *limit, "--store", str(tmp_path))

    assert outcome.code == 2
    assert part in outcome.err
