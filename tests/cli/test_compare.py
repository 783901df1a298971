"""`windtunnel compare` on tiny cells with real workers, and every request that it refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from calling import CallCli
from windtunnel.analysis.results import load_results
from windtunnel.records.pair import Pairing
from windtunnel.statistics.paired import Side

SHAPE = ("--d-model", "32", "--layers", "1", "--heads", "2", "--vocab", "100", "--device", "cpu", "--context", "16")
FEW = ("--max-pairs", "16", "--max-time", "20s")
ATTENTION = """
import time
from windtunnel.attention import eager

def attend(q, k, v, *, is_causal):
    time.sleep({seconds})
    return eager.attend(q, k, v, is_causal=is_causal)
"""

KILLS = """
import os, signal
from windtunnel.attention import eager

def attend(q, k, v, *, is_causal):
    if q.shape[2] == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return eager.attend(q, k, v, is_causal=is_causal)
"""


def test_a_deeper_b_is_slower_and_the_report_says_so_again(cli: CallCli, tmp_path: Path) -> None:
    store = str(tmp_path / "s")
    arguments = (*SHAPE, "--mode", "train_step", "--a", "", "--b", "--layers 8", "--max-pairs", "32")

    outcome = cli("compare", *arguments, "--store", store)
    report = cli("report", store, "--format", "terminal")

    assert outcome.code == 0, outcome.err
    assert "B takes" in outcome.out
    assert "more time than A in the whole step" in outcome.out
    assert "A: d32-l1-h2. B: d32-l8-h2." in outcome.out
    sentence = next(line for line in outcome.out.splitlines() if "more time than A" in line)
    assert sentence.strip() in report.out


def test_a_grid_is_what_both_share(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        *("compare", *SHAPE[:-2], "--context", "8,16", "--mode", "forward", *FEW),
        *("--a", "--attention eager", "--b", "--attention=sdpa", "--store", str(tmp_path)),
    )

    assert outcome.code == 0, outcome.err
    records = [stored.record for stored in load_results(tmp_path).comparisons]
    lengths = [tuple(r.side(side).task.cell.context_length for side in Side) for r in records]
    assert lengths == [(8, 8), (16, 16)]
    assert {(r.a.task.cell.attention, r.b.task.cell.attention) for r in records} == {("eager", "sdpa")}


def test_two_files_are_the_two_sides(cli: CallCli, tmp_path: Path) -> None:
    for name, layers in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.toml").write_text(
            f'd_model = 32\nlayers = {layers}\nheads = 2\nvocab = 100\ncontext = 8\nmode = "forward"\nsteps = 3\n'
        )
    files = (str(tmp_path / "a.toml"), str(tmp_path / "b.toml"))

    outcome = cli("compare", *files, "--device", "cpu", *FEW, "--store", str(tmp_path))

    assert outcome.code == 0, outcome.err
    assert "steps in the files: no effect here" in outcome.out
    assert "A: d32-l1-h2. B: d32-l2-h2." in outcome.out


def test_the_same_on_both_sides_is_a_check(cli: CallCli, tmp_path: Path) -> None:
    """No false alarm: an effect is only called one where it is larger than what a side against itself shows."""
    outcome = cli(
        *("compare", *SHAPE, "--mode", "forward", "--a", "", "--b", "", "--json", "--store", str(tmp_path)),
        *("--max-pairs", "64"),
    )

    (one,) = json.loads(outcome.out)
    assert outcome.code == 0, outcome.err
    assert (one["a"], one["b"]) == ("", "")
    (effect,) = one["effects"]
    assert effect["verdict"] not in {"faster", "slower"} or abs(effect["change"]) < 0.2


def test_json_has_every_phase_and_nothing_else_on_standard_output(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        *("compare", *SHAPE, "--mode", "train_step", *FEW, "--b", "--layers 4", "--json", "--store", str(tmp_path))
    )

    (one,) = json.loads(outcome.out)
    assert [effect["phase"] for effect in one["effects"]] == ["step", "forward", "loss", "backward", "optimizer"]
    assert all(effect["low"] < effect["change"] < effect["high"] for effect in one["effects"])
    assert "1 comparison" in outcome.err


@pytest.mark.parametrize(("asked", "code"), [("slower", 1), ("faster,equivalent", 0)])
def test_a_verdict_that_must_not_be_makes_the_exit_code_1(cli: CallCli, tmp_path: Path, asked: str, code: int) -> None:
    outcome = cli(
        *("compare", *SHAPE, "--mode", "train_step", "--b", "--layers 12", "--max-pairs", "64"),
        *("--target", "5%", "--max-time", "30s", "--fail-if", asked, "--store", str(tmp_path)),
    )

    assert outcome.code == code, outcome.out


def test_a_pair_that_fails_is_stored_and_the_others_go_on(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        *("compare", *SHAPE, "--mode", "forward", "--precision", "tf32,fp32", *FEW),
        *("--b", "--attention sdpa", "--store", str(tmp_path)),
    )

    assert outcome.code == 1
    assert [stored.record.status.value for stored in load_results(tmp_path).comparisons] == ["unsupported", "ok"]
    assert "fp32" in outcome.out
    assert "unsupported in build of A: precision 'tf32' is a mode of NVIDIA tensor cores" in outcome.out


def test_a_process_that_is_killed_is_a_row_and_the_others_go_on(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "attention_that_kills.py").write_text(KILLS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    outcome = cli(
        *("compare", *SHAPE[:-2], "--context", "8,16", "--mode", "forward", *FEW),
        *("--b", "--attention attention_that_kills:attend", "--store", str(tmp_path)),
    )

    assert outcome.code == 1
    assert "crashed in warmup: the worker was killed by SIGKILL" in outcome.out
    assert [stored.record.status.value for stored in load_results(tmp_path).comparisons] == ["crashed", "ok"]


def test_cells_that_do_not_fit_together_say_so(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli(
        *("compare", *SHAPE, "--mode", "forward", *FEW, "--b", "--d-model 1000000 --d-ff 1000000 --vocab 1000000"),
        *("--store", str(tmp_path)),
    )

    assert outcome.code == 1
    assert "A and B do not fit together on this device (" in outcome.out
    assert "use --pair process" in outcome.out


def test_each_side_has_the_code_of_its_project(cli: CallCli, tmp_path: Path) -> None:
    """Only the first two pairs are taken, as each turn starts a process: too few for a verdict, enough to see."""
    for name, seconds in (("main", 0.0), ("branch", 0.02)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "attention_of_mine.py").write_text(ATTENTION.format(seconds=seconds))

    outcome = cli(
        *("compare", "--pair", "process", *SHAPE, "--mode", "forward", "--attention", "attention_of_mine:attend"),
        *("--a", f"--project {tmp_path / 'main'}", "--b", f"--project {tmp_path / 'branch'}"),
        *("--block-time", "0.05s", "--max-time", "0.1s", "--store", str(tmp_path)),
    )

    assert outcome.code == 0, outcome.err
    assert "A process for each turn: about" in outcome.out
    assert "2 pairs within the limit of 100 ms are too few for an interval, which takes 8" in outcome.out
    (stored,) = load_results(tmp_path).comparisons
    assert stored.record.pairing is Pairing.PROCESS
    pairs, null_pairs = stored.record.differences()
    assert len(pairs) == 2
    assert len(null_pairs) == 1
    assert min(stored.record.b.samples[0].nanoseconds) > 20e6
    assert min(stored.record.a.steps) >= 10


def test_ctrl_c_says_what_is_stored_and_ends_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "windtunnel", "compare", *SHAPE[:-2], "--context", "8,1024", "--mode", "forward"]
    command += ["--a", "", "--b", "", "--target", "0.0001%", "--max-pairs", "5000", "--max-time", "2s"]
    process = subprocess.Popen(
        [*command, "--store", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while not lines[-1].startswith("1/2"):
        assert lines[-1], lines
        lines.append(process.stdout.readline())

    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert "1 of 2 comparisons are stored" in rest
    assert "Traceback" not in errors
    assert len(load_results(tmp_path).comparisons) == 1


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("no sides: say in what they differ",)),
        (("a.toml",), ("give either two sweep files",)),
        (("a.toml", "b.toml", "--b", "--layers 2"), ("give either two sweep files",)),
        (("a.toml", "nowhere.toml"), ("a.toml", "No such file")),
        ((*SHAPE, "--b", "--atention sdpa"), ("side B: unknown flag '--atention'", "did you mean '--attention'")),
        ((*SHAPE, "--a", "--steps 3"), ("side A: --steps has no effect", "--max-pairs")),
        ((*SHAPE, "--a", "sdpa"), ("side A: unknown flag 'sdpa'",)),
        ((*SHAPE, "--a", "--attention"), ("side A: --attention has no value",)),
        ((*SHAPE, "--a", "--attention 'sdpa"), ("side A: ", "cannot be split into flags: No closing quotation")),
        ((*SHAPE, "--b", "--attention spda"), ("side B: unknown attention 'spda'", "did you mean 'sdpa'")),
        ((*SHAPE, "--b", "--layers 0"), ("side B: layers is 0; allowed: at least 1",)),
        ((*SHAPE, "--mode", "foward", "--b", "--layers 2"), ("error: unknown mode 'foward'",)),
        ((*SHAPE, "--b", "--attention eager,sdpa"), ("B attention eager, sdpa", "one value on each")),
        ((*SHAPE, "--b", "--warmup 0"), ("side B asks for warm-up 0",)),
        ((*SHAPE, "--b", "--project ."), ("use --pair process",)),
        ((*SHAPE, "--pair", "proces", "--b", ""), ("unknown pair 'proces'", "did you mean 'process'")),
        ((*SHAPE, "--pair", "process", "--b", "--project /nowhere"), ("'/nowhere' is not a folder",)),
        ((*SHAPE, "--pair", "process", "--b", "--python /no/py"), ("'/no/py' is not a program",)),
        ((*SHAPE, "--b", "", "--block-time", "1s"), ("--block-time has no effect",)),
        ((*SHAPE, "--b", "", "--delta", "2"), ("delta '2' is not a share",)),
        ((*SHAPE, "--b", "", "--max-pairs", "9"), ("max_pairs is 9; it is an even number from 8",)),
        ((*SHAPE, "--b", "", "--max-time", "soon"), ("max-time 'soon' is not a positive time",)),
        ((*SHAPE, "--b", "", "--timeout", "soon"), ("timeout 'soon'",)),
        ((*SHAPE, "--b", "", "--fail-if", "slow"), ("unknown verdict 'slow'", "did you mean 'slower'")),
        ((*SHAPE, "--b", "", "--steps", "4"), ("--steps",)),
        ((*SHAPE, "--b", "", "--processes", "3"), ("--processes",)),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(
    cli: CallCli, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    outcome = cli("compare", *arguments, "--store", str(tmp_path))

    assert outcome.code == 2
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err
