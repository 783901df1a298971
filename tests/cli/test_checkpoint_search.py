"""`windtunnel memory --checkpoint-search` with real workers on a CPU."""

import re
from pathlib import Path

import pytest

from calling import CallCli

DEEP = ("--d-model", "16", "--d-ff", "16", "--layers", "36", "--heads", "2", "--vocab", "50", "--device", "cpu")
CELL = ("--context", "64", "--batch", "8", "--attention", "sdpa", "--mode", "forward_backward")


@pytest.mark.timeout(400)  # a dozen processes that import torch
def test_the_groups_with_the_lowest_measured_peak_are_those_of_the_law(cli: CallCli, tmp_path: Path) -> None:
    """The input of a block is here a twelfth of what it keeps, so the law says √(36 / 12), about 2."""
    outcome = cli("memory", *DEEP, *CELL, "--checkpoint-search", "--budget", "8MiB", "--store", str(tmp_path))

    assert outcome.code == 0, outcome.out + outcome.err
    peaks = dict(re.findall(r"^(every:\d+) +\S+ MiB +(\S+) MiB", outcome.out, re.MULTILINE))
    lowest = min(peaks, key=lambda name: float(peaks[name]))
    assert len(peaks) >= 4
    assert lowest in {"every:2", "every:3"}
    assert f"Lowest peak. {lowest} with {peaks[lowest]} MiB" in outcome.out
    assert re.search(r"Fastest\. \S+ within 8\.00 MiB", outcome.out)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--checkpoint-search", "--checkpoint", "ffn"), "--checkpoint and --checkpoint-search contradict"),
        (("--checkpoint-search", "--context", "8,16"), "is of one cell, and these flags make 2"),
        (("--checkpoint-search", "--mode", "forward"), "forward keeps nothing for a backward"),
        (("--checkpoint-search", "--budget", "plenty"), "budget 'plenty' is not a memory"),
        (("--checkpoint-search", "--snapshot", "here.pickle"), "--snapshot is of one step"),
        (("--budget", "8MiB"), "--budget has no effect without --checkpoint-search"),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    outcome = cli("memory", *DEEP, *arguments, "--store", str(tmp_path))

    assert outcome.code == 2
    assert part in outcome.err
