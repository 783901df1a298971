"""What the command line says to a wrong request: one message, exit code 2, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, make_record, make_results, make_task
from windtunnel.cli.flags import parse_cell_flags
from windtunnel.errors import SpecError

SHAPE = ("--d-model", "32", "--layers", "1", "--heads", "4", "--vocab", "11", "--device", "cpu")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("step", "--size", "smal"), ("unknown size 'smal'", "did you mean 'small'")),
        (("step", "--size", "small", "--mode", "forwad"), ("unknown mode 'forwad'", "did you mean 'forward'")),
        (("step", "--size", "small", "--attention", "spda"), ("unknown attention 'spda'", "did you mean 'sdpa'")),
        (("step", "--size", "small", "--precision", "bf61"), ("unknown precision 'bf61'", "bf16")),
        (("step", "--size", "small", "--compile", "defualt"), ("unknown compile 'defualt'", "'default'")),
        (
            ("step", "--size", "small", "--mode", "train_step", "--checkpoint", "every:13"),
            ("'every:13'", "the model's 12", "every:12"),
        ),
        (("step", "--size", "small", "--checkpoint", "none,ffn"), ("'ffn' has no effect on forward", "train_step")),
        (("step", "--size", "small", "--heads", "7"), ("7 does not divide", "nearest", "6")),
        (("step", "--size", "small", "--batch", "-4"), ("-4", "at least 1")),
        (("step", "--size", "small", "--steps", "0"), ("steps is 0", "at least 1")),
        (("step", "--size", "small", "--context", "12x"), ("'12x'",)),
        (("step", "--size", "small", "--layers", "99999999"), ("99999999", "at most 1,000,000")),
        (("step", "--size", "small", "--device", "gpu"), ("unknown device 'gpu'", "cuda:N")),
        (("step", "--size", "small", "--timeout", "soon"), ("timeout 'soon'", "90s")),
        (("step", "--size", "small", "--timeout", ""), ("timeout ''",)),
        (("step",), ("no size", "d_model")),
        (("step", "--szie", "small"), ("--szie", "--size")),
        (("rnu",), ("rnu", "run")),
        (("run", "seed-03"), ("unknown preset 'seed-03'", "did you mean 'seed-003'")),
        (("run", "nowhere.toml"), ("nowhere.toml", "No such file")),
        (("report", "/nowhere"), ("no store in /nowhere", "windtunnel run")),
        (("report", "--format", "terminal,pdf"), ("unknown report format 'pdf'", "html, latex, md, terminal")),
        (("list", "/nowhere"), ("no store in /nowhere",)),
        (("step", *SHAPE, "--store", "/proc/store"), ("/proc/store", "--store")),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(
    cli: CallCli, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    outcome = cli(*arguments)

    assert outcome.code == 2
    assert all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err


def test_a_device_that_is_not_there_is_named_with_those_that_are(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("step", *SHAPE[:-1], "cuda:93", "--store", str(tmp_path))

    assert outcome.code == 2
    assert "'cuda:93' is not there" in outcome.err
    assert "on this machine: cpu" in outcome.err


NOTHING = """\
d_model = 32
layers = 1
heads = 4
vocab = 11
context = [8]
mode = "forward"
device = "cpu"
[[exclude]]
context = 8
reason = "the only one"
"""


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("run", "nothing.toml"), "the sweep has no cells"),
        (("attention", "--seq", "16", "--device", "cuda:93"), "'cuda:93' is not there"),
        (("compare", *SHAPE, "--a", "--context 8,16", "--b", "--context 8"), "an axis in which the sides differ"),
        (("tune", *SHAPE, "--memory-limit", "999TiB"), "memory limit '999TiB'"),
        (("fit", *SHAPE), "on a CPU nothing runs out of memory"),
        (("memory", *SHAPE[:-1], "cuda:93"), "'cuda:93' is not there"),
        (("precision", *SHAPE[:-1], "cuda:93"), "'cuda:93' is not there"),
        (("profile", *SHAPE[:-1], "cuda:93"), "'cuda:93' is not there"),
        (("calibrate", "--device", "cuda:93"), "'cuda:93' is not there"),
    ],
)
def test_a_request_that_only_a_worker_can_refuse_leaves_no_store(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], part: str
) -> None:
    (tmp_path / "nothing.toml").write_text(NOTHING)
    monkeypatch.chdir(tmp_path)

    outcome = cli(*arguments, "--store", "s")

    assert outcome.code == 2
    assert part in outcome.err
    assert not (tmp_path / "s").exists()


def test_every_fault_of_a_file_is_listed_with_its_name(cli: CallCli, tmp_path: Path) -> None:
    sweep = tmp_path / "mine.toml"
    sweep.write_text('size = "smal"\nbatch = 0\nmodes = "forward"\n')

    outcome = cli("run", str(sweep))

    assert outcome.code == 2
    faults = [line for line in outcome.err.splitlines() if line]
    assert len(faults) == 3
    assert all("mine.toml" in fault for fault in faults)


def test_a_toml_syntax_error_names_file_and_line(cli: CallCli, tmp_path: Path) -> None:
    sweep = tmp_path / "mine.toml"
    sweep.write_text('size = "small"\nbatch = = 4\n')

    outcome = cli("run", str(sweep))

    assert outcome.code == 2
    assert "mine.toml" in outcome.err
    assert "line 2" in outcome.err


def test_a_store_of_a_newer_windtunnel_is_refused_before_anything_is_measured(cli: CallCli, tmp_path: Path) -> None:
    from windtunnel.records.store import open_store

    with open_store(tmp_path) as store:
        store.make()
    import sqlite3

    connection = sqlite3.connect(tmp_path / "store.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    outcome = cli("step", *SHAPE, "--store", str(tmp_path))

    assert outcome.code == 2
    assert "99" in outcome.err
    assert "update windtunnel" in outcome.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", ["list", "schema"])
def test_a_full_disk_under_the_output_is_one_message(tmp_path: Path, command: str) -> None:
    make_results(tmp_path, [(make_record(make_task()), CPU)])
    arguments = {"list": [str(tmp_path)], "schema": []}[command]

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "windtunnel", command, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 2
    assert ended.stderr.startswith("error: cannot write the output: No space left on device; make room")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("--tied", {"tied": True}),
        ("--untied --activation gelu", {"tied": False, "activation": "gelu"}),
        ("--checkpoint every:2,ffn --tied --layers 4", {"checkpoint": ["every:2", "ffn"], "tied": True, "layers": 4}),
    ],
)
def test_flags_of_a_side_are_those_of_a_cell(text: str, fields: dict[str, object]) -> None:
    assert parse_cell_flags(text) == (fields, {})


def test_a_switch_takes_no_value() -> None:
    with pytest.raises(SpecError, match="--tied takes no value; write it as '--tied'"):
        parse_cell_flags("--tied=yes")


def test_switches_are_flags_of_a_command(cli: CallCli) -> None:
    outcome = cli("step", *SHAPE, "--tied", "--activation", "relu", "--dry-run")

    assert outcome.code == 0, outcome.err
    assert "d32-l1-h4" in outcome.out
